package mirror

import (
	"strings"

	"slices"

	"tidemark/pkg/mtree"
)

// parcel is files of one directory that are to be fetched, or compared by sums.
type parcel struct {
	n       *node
	changes []mtree.Change
	aside   bool // the directory is to be filled aside
}

// pool gathers parcels of several directories for one request: where one file
// changed in each of a thousand directories, a request for each would take most
// of the time.
type pool struct {
	parcels []parcel
	files   int
	bytes   int64
}

// So many files or bytes are asked for at once, whichever comes first.
const (
	batchFiles = 128
	batchBytes = 4 << 20
)

// fewOfMany is from which share of a listing on its changes are kept without it:
// one file that changed among a hundred would hold 22 KB.
const fewOfMany = 4

// detached returns the changes in memory of their own.
func detached(changes []mtree.Change) []mtree.Change {
	out := make([]mtree.Change, len(changes))
	for i, c := range changes {
		want := *c.Want
		want.Name, want.Link = strings.Clone(want.Name), strings.Clone(want.Link)
		out[i] = mtree.Change{What: c.What, Want: &want}
		if c.Have != nil {
			have := *c.Have
			have.Name, have.Link = want.Name, strings.Clone(have.Link)
			out[i].Have = &have
		}
	}
	return out
}

// pack adds a parcel to a pool, and ships what is full. The parcel keeps its
// node open.
func (p *pass) pack(to *pool, one parcel) {
	one.n.open++
	if len(one.changes) < one.n.entries/fewOfMany {
		one.changes = detached(one.changes)
	}
	to.parcels = append(to.parcels, one)
	to.files += len(one.changes)
	for i := range one.changes {
		to.bytes += one.changes[i].Want.Size
	}
	if to.files >= batchFiles || to.bytes >= batchBytes {
		p.shipOne(to)
	}
}

// ship makes steps of what the pools hold: there is nothing else to do.
func (p *pass) ship() {
	p.shipOne(&p.checks)
	p.shipOne(&p.fetches)
}

func (p *pass) shipOne(from *pool) {
	if len(from.parcels) == 0 {
		return
	}
	parcels := from.parcels
	*from = pool{}
	nodes := make([]*node, len(parcels))
	for i := range parcels {
		nodes[i] = parcels[i].n
	}
	work := p.fetch
	if from == &p.checks {
		work = p.check
	}
	p.steps = append(p.steps, task{nodes: nodes, step: work(parcels)})
}

// batchFetches packs files to fetch, a full batch at a time. Those larger than a
// batch are put off.
func (p *pass) batchFetches(n *node, changes []mtree.Change) {
	changes = slices.DeleteFunc(changes, func(c mtree.Change) bool {
		if c.Want.Size > batchBytes {
			p.putOff(n, c)
		}
		return c.Want.Size > batchBytes
	})
	from, bytes := 0, int64(0)
	for i := range changes {
		if i-from == batchFiles || i > from && bytes+changes[i].Want.Size > batchBytes {
			p.pack(&p.fetches, parcel{n: n, changes: changes[from:i]})
			from, bytes = i, 0
		}
		bytes += changes[i].Want.Size
	}
	if from < len(changes) {
		p.pack(&p.fetches, parcel{n, changes[from:], from == 0 && n.fillsAside(len(changes))})
	}
}
