package mirror

import (
	"context"

	"tidemark/pkg/mtree"
)

// checked is what comparing by sums found.
type checked struct {
	err    error
	equal  []mtree.Change
	differ []mtree.Change
	modes  int
	failed []failure
}

// check compares files of equal size and mtime by their sums.
func (p *pass) check(n *node, changes []mtree.Change) step {
	return func(ctx context.Context) func() {
		var c checked
		c.err = p.compareSums(ctx, n, changes, &c)
		return func() { p.checked(n, &c) }
	}
}

func (p *pass) compareSums(ctx context.Context, n *node, changes []mtree.Change, c *checked) error {
	names := make([]string, len(changes))
	for i := range changes {
		names[i] = changes[i].Want.Name
	}
	theirs, err := p.mirror.source.sums(ctx, n.path, names)
	if err != nil {
		return err
	}
	dir, err := p.openCopy(n)
	if err != nil {
		return local(err)
	}
	defer dir.Close()
	ours, err := sumFiles(ctx, dir, names)
	if err != nil {
		return local(err)
	}
	for _, change := range changes {
		name := change.Want.Name
		their, ok := theirs[name]
		our, have := ours[name]
		if !ok || !have || their != our {
			// One that the source did not sum is fetched: the fetch says why.
			c.differ = append(c.differ, change)
			continue
		}
		c.equal = append(c.equal, change)
		if change.What&(mtree.Mode|mtree.Owner) == 0 {
			continue
		}
		err := p.dest.begin(dir, n.path, n.record, n.deep)
		if err == nil {
			err = p.setMode(dir, change)
		}
		if err != nil {
			c.failed = append(c.failed, failure{mtree.JoinPath(n.path, name), local(err)})
		}
		c.modes++
	}
	return nil
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
