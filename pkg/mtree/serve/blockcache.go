package serve

import (
	"slices"
	"sync"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// blockCache keeps the sums of the blocks of files that were asked for last: all mirrors of a
// tree ask for the same file when it changed. The zero value is empty. Many goroutines may
// use it at once.
type blockCache struct {
	mu    sync.Mutex
	known map[blocksKey]blocksKnown
	order []blocksKey // the oldest first
	held  int         // sums of all
}

// blocksKey is a file, whatever its name, and the size of its blocks.
type blocksKey struct {
	node  disk.Node
	block int64
}

// blocksKnown is what is known of a file: the sums of one version.
type blocksKnown struct {
	tag  wire.FileTag
	sums []wire.BlockSum
}

// mostBlocksHeld bounds the sums in memory, to 8 MiB; of one file, to a quarter of that.
const (
	mostBlocksHeld = 256 << 10
	mostBlocksKept = mostBlocksHeld / 4
)

// get returns the sums of a version of a file; nil if they are not known.
func (c *blockCache) get(key blocksKey, tag wire.FileTag) []wire.BlockSum {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.known[key]; known.tag == tag { // guard: TestBlocksOfEachVersion
		return known.sums
	}
	return nil
}

// put keeps the sums of a version, in place of those of another version of the file.
func (c *blockCache) put(key blocksKey, tag wire.FileTag, sums []wire.BlockSum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[blocksKey]blocksKnown{}
	}
	c.drop(key)
	for len(c.order) > 0 && c.held+len(sums) > mostBlocksHeld { // guard: TestBlockCacheIsBounded
		c.drop(c.order[0])
	}
	c.known[key] = blocksKnown{tag, sums}
	c.order = append(c.order, key)
	c.held += len(sums)
}

// drop forgets a file. It needs c.mu.
func (c *blockCache) drop(key blocksKey) {
	known, is := c.known[key]
	if !is {
		return
	}
	c.held -= len(known.sums)
	delete(c.known, key)
	c.order = slices.DeleteFunc(c.order, func(k blocksKey) bool { return k == key })
}
