package serve

import (
	"container/list"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/render"
)

// pageKey names a listing apart from the times of its directory.
type pageKey struct {
	path   string
	format render.Format
	coding render.Coding
}

// pageTime is what must be the same for a page to be true still. A watcher
// stamps the directory for every change in it, hence the cache is asked only
// where one is at work; the ctime shows a stamp that was set twice.
type pageTime struct {
	node         disk.Node
	mtime, ctime mtree.Stamp
	e            string // tree, epoch and options
}

func (v *view) key() pageKey { return pageKey{v.path, v.format, v.coding} }

func (v *view) time() pageTime {
	return pageTime{v.self.Node, v.self.MTime, v.self.CTime, v.snap.e}
}

// cache keeps the pages used last, up to a number of bytes. It may be used by
// many goroutines at once.
type cache struct {
	most  int64 // bytes; below 0: keep nothing
	stats *Stats

	mu    sync.Mutex
	bytes int64
	pages map[pageKey]*list.Element // of *cached
	order *list.List                // the one used last in front
}

type cached struct {
	key  pageKey
	time pageTime
	page *page
}

// overhead is what a page costs beside its bytes: map, list, keys.
const overhead = 400 // bytes

func newCache(most int64, stats *Stats) *cache {
	return &cache{most: most, stats: stats, pages: map[pageKey]*list.Element{}, order: list.New()}
}

// get returns the page, nil if there is none for these times.
func (c *cache) get(key pageKey, time pageTime) *page {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.pages[key]
	if e == nil {
		return nil
	}
	have := e.Value.(*cached)
	if have.time != time {
		c.drop(e)
		return nil
	}
	c.order.MoveToFront(e)
	return have.page
}

// put keeps a page and lets go of those used longest ago. A page of more than
// a quarter of the cache is not kept: it would push out all others.
func (c *cache) put(key pageKey, time pageTime, p *page) {
	key.path = p.key.path // that of the view may be a piece of a request's header
	size := p.cost(key)
	if size > c.most/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.pages[key]; e != nil {
		c.drop(e)
	}
	c.pages[key] = c.order.PushFront(&cached{key, time, p})
	c.bytes += size
	for c.bytes > c.most {
		c.drop(c.order.Back())
	}
	c.stats.CacheBytes.Store(c.bytes)
}

func (c *cache) drop(e *list.Element) {
	old := c.order.Remove(e).(*cached)
	delete(c.pages, old.key)
	c.bytes -= old.page.cost(old.key)
	c.stats.CacheBytes.Store(c.bytes)
}

func (p *page) cost(key pageKey) int64 {
	return p.size + int64(len(p.tag)+len(key.path)+overhead)
}
