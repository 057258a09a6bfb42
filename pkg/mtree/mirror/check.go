package mirror

import (
	"context"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// checked is what comparing by sums found.
type checked struct {
	err    error
	equal  []mtree.Change
	differ []mtree.Change
	modes  int
	failed []failure
}

// check compares files of equal size and mtime by their sums, those of several
// directories with one request.
func (p *pass) check(parcels []parcel) step {
	return func(ctx context.Context) func() {
		found := make([]checked, len(parcels))
		theirs, ours, err := p.bothSums(ctx, parcels)
		for i := range parcels {
			found[i].err = err
			if err == nil {
				p.compareSums(&parcels[i], theirs, ours, &found[i])
			}
		}
		return func() {
			for i := range parcels {
				p.checked(parcels[i].n, &found[i])
			}
		}
	}
}

func (p *pass) bothSums(ctx context.Context, parcels []parcel) (theirs, ours map[string]summed, err error) {
	var paths []string
	for _, parcel := range parcels {
		for i := range parcel.changes {
			paths = append(paths, mtree.JoinPath(parcel.n.path, parcel.changes[i].Want.Name))
		}
	}
	if theirs, err = p.mirror.source.sums(ctx, paths); err != nil {
		return nil, nil, err
	}
	ours, err = sumFiles(ctx, p.dest.Root, false, paths)
	return theirs, ours, replica.Local(err)
}

func (p *pass) compareSums(parcel *parcel, theirs, ours map[string]summed, c *checked) {
	n := parcel.n
	for _, change := range parcel.changes {
		path := mtree.JoinPath(n.path, change.Want.Name)
		their, ok := theirs[path]
		our, have := ours[path]
		if !ok || !have || their.sum != our.sum || !their.of(change.Want) {
			// One that the source did not sum, or another one, is fetched: the
			// fetch says why.
			c.differ = append(c.differ, change)
			continue
		}
		c.equal = append(c.equal, change)
		if change.What&(mtree.Mode|mtree.Owner) == 0 {
			continue
		}
		dir, err := p.openToChange(n)
		if err == nil {
			err = p.setMode(dir, change)
			_ = dir.Close()
		}
		if err != nil {
			c.failed = append(c.failed, failure{path, replica.Local(err)})
		}
		c.modes++
	}
}

func (p *pass) checked(n *node, c *checked) {
	if c.err != nil {
		p.fail(n, n.path, c.err)
		return
	}
	for _, change := range c.equal {
		p.sighted(n, change.Want)
	}
	for _, f := range c.failed {
		p.fail(n, f.path, f.err)
	}
	if c.modes > 0 {
		n.changed = true
		p.touch(n.path)
	}
	p.addFetches(n, c.differ)
}
