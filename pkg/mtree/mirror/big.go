package mirror

import "tidemark/pkg/mtree"

// Files are fetched in the order of their sizes, as far as they are known: small
// ones in batches as they are found, and those larger than a batch, the smallest
// first, when nothing else is to do. Meanwhile a quarter of the jobs begins with
// the large ones, so that a slow stream is not left for the end; with few jobs
// none does.

// bigFile is a file larger than a batch that waits for its turn.
type bigFile struct {
	size int64
	task task
}

// mostBig is how many large files wait, at most: it bounds the memory, half a
// kilobyte each. Beyond it they go first.
const mostBig = 10_000

// putOff keeps a large file back; it keeps its node open.
func (p *pass) putOff(n *node, c mtree.Change) {
	want := *c.Want // not the whole listing
	c.Want = &want
	if c.Have != nil {
		have := *c.Have
		c.Have = &have
	}
	n.open++
	p.big = append(p.big, bigFile{want.Size, task{nodes: []*node{n}, step: p.fetch([]parcel{{n: n, changes: []mtree.Change{c}}}), big: true}})
	for i := len(p.big) - 1; i > 0 && p.big[i].size < p.big[(i-1)/2].size; i = (i - 1) / 2 {
		p.big[i], p.big[(i-1)/2] = p.big[(i-1)/2], p.big[i]
	}
}

// mayBegin reports whether it is a large file's turn.
func (p *pass) mayBegin() bool {
	switch {
	case len(p.big) == 0:
		return false
	case len(p.steps) == 0 && p.running == p.bigRunning, len(p.big) > mostBig:
		return true
	}
	return p.bigRunning < p.config.Jobs/4
}

// smallest takes the smallest of the large files that wait: p.big is a heap.
func (p *pass) smallest() task {
	first, last := p.big[0], len(p.big)-1
	p.big[0], p.big[last] = p.big[last], bigFile{}
	p.big = p.big[:last]
	for i := 0; ; {
		least := i
		for _, below := range []int{2*i + 1, 2*i + 2} {
			if below < last && p.big[below].size < p.big[least].size {
				least = below
			}
		}
		if least == i {
			return first.task
		}
		p.big[i], p.big[least] = p.big[least], p.big[i]
		i = least
	}
}
