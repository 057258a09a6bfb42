package mirror

import (
	"context"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// A large file that is missing may be one that is doomed under another name:
// somebody renamed it, or a directory above it. Size proposes, the source's
// SHA-256 decides, and no data moves.

// largeFile is from which size on a file is worth two sums, in bytes.
const largeFile = 64 << 10

// deferred are large files that wait until all that is doomed is known.
type deferred struct {
	n       *node
	changes []mtree.Change
}

// mayTakeOver reports whether a file to fetch may be in the copy under another
// name.
func (p *pass) mayTakeOver(c *mtree.Change) bool {
	return c.Have == nil && c.Want.Size >= largeFile && !p.source.foreign && p.dest.Counters().Entries > 0
}

// deferLarge keeps files back; they keep n open.
func (p *pass) deferLarge(n *node, changes []mtree.Change) {
	if len(changes) > 0 {
		n.open++
		p.large = append(p.large, deferred{n, changes})
	}
}

// takeOver looks for the deferred files among what is doomed, and fetches what
// is not there.
func (p *pass) takeOver(ctx context.Context) error {
	large := p.large
	p.large = nil
	if len(large) == 0 {
		return nil
	}
	sizes := map[int64]bool{}
	for _, d := range large {
		for _, c := range d.changes {
			sizes[c.Want.Size] = true
		}
	}
	found := &finds{bySize: map[int64][]string{}, sums: map[string]sum{}}
	for _, n := range p.deleting {
		for i := range n.deletions {
			p.findLarge(n.deletions[i].Path, n.deletions[i].Kind, sizes, found)
		}
	}
	for _, d := range large {
		p.steps = append(p.steps, task{nodes: []*node{d.n}, step: p.takeSome(d.n, d.changes, found)})
	}
	return p.work(ctx)
}

// finds are the doomed files of the sizes wanted.
type finds struct {
	bySize map[int64][]string // paths
	mu     sync.Mutex
	sums   map[string]sum // by path
}

// findLarge adds the file at path, or those below the directory there.
func (p *pass) findLarge(path string, kind mtree.Kind, sizes map[int64]bool, found *finds) {
	if kind == mtree.File {
		dir, err := p.dest.Dir(mtree.ParentPath(path))
		if err != nil {
			return
		}
		defer dir.Close()
		if info, err := dir.Stat(mtree.BaseName(path)); err == nil && sizes[info.Size] {
			found.bySize[info.Size] = append(found.bySize[info.Size], path)
		}
		return
	}
	if kind != mtree.Dir {
		return
	}
	dir, err := p.dest.Dir(path)
	if err != nil {
		return
	}
	var below []string
	_ = dir.ScanStat(func(raw []byte, info disk.Info) error {
		switch name := mtree.JoinPath(path, string(raw)); {
		case p.filters.Excluded(name, info.Kind == mtree.Dir):
		case info.Kind == mtree.Dir:
			below = append(below, name)
		case info.Kind == mtree.File && sizes[info.Size]:
			found.bySize[info.Size] = append(found.bySize[info.Size], name)
		}
		return nil
	})
	_ = dir.Close()
	for _, name := range below {
		p.findLarge(name, mtree.Dir, sizes, found)
	}
}

// takeSome takes over what it can of the deferred files of one directory; the rest
// is fetched.
func (p *pass) takeSome(n *node, changes []mtree.Change, found *finds) step {
	return func(ctx context.Context) func() {
		h := &haul{}
		rest := changes
		if names := found.worthSumming(n, changes); len(names) > 0 {
			if theirs, err := p.mirror.source.sums(ctx, names); err == nil {
				rest = p.takeEach(ctx, n, changes, theirs, found, h)
			}
		}
		return func() {
			p.brought(n, h)
			p.batchFetches(n, rest)
		}
	}
}

func (f *finds) worthSumming(n *node, changes []mtree.Change) (paths []string) {
	for i := range changes {
		if len(f.bySize[changes[i].Want.Size]) > 0 {
			paths = append(paths, mtree.JoinPath(n.path, changes[i].Want.Name))
		}
	}
	return paths
}

func (p *pass) takeEach(ctx context.Context, n *node, changes []mtree.Change, theirs map[string]summed, found *finds, h *haul) (rest []mtree.Change) {
	dir, err := p.openToChange(n)
	if err != nil {
		h.err = replica.Local(err)
		return nil
	}
	defer dir.Close()
	for _, c := range changes {
		their, ok := theirs[mtree.JoinPath(n.path, c.Want.Name)]
		ok = ok && their.of(c.Want)
		taken := false
		for _, path := range found.bySize[c.Want.Size] {
			if taken || !ok || ctx.Err() != nil {
				break
			}
			if our, err := found.sum(ctx, p.dest, path); err == nil && our == their.sum {
				taken = p.takeFile(ctx, dir, c, path) == nil
			}
		}
		if !taken {
			rest = append(rest, c)
			continue
		}
		p.arrived.Add(c.Want.Size)
		h.names = append(h.names, c.Want.Name)
		h.made++
		h.taken++
		h.seen = append(h.seen, c.Want)
	}
	return rest
}

// sum hashes a doomed file, once.
func (f *finds) sum(ctx context.Context, d *replica.Replica, path string) (sum, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s, ok := f.sums[path]; ok {
		return s, nil
	}
	dir, err := d.Dir(mtree.ParentPath(path))
	if err != nil {
		return sum{}, err
	}
	defer dir.Close()
	s, err := sumFile(ctx, dir, mtree.BaseName(path))
	if err == nil {
		f.sums[path] = s.sum
	}
	return s.sum, err
}

// takeFile gives the file at path the name in dir too, by a hard link where
// time and mode agree, else by a copy. The doomed name goes with the deletions,
// if these are allowed.
func (p *pass) takeFile(ctx context.Context, dir *disk.Dir, c mtree.Change, path string) error {
	from, err := p.dest.Dir(mtree.ParentPath(path))
	if err != nil {
		return err
	}
	defer from.Close()
	file, info, err := from.OpenFile(mtree.BaseName(path))
	if err != nil {
		return err
	}
	defer file.Close()
	mode := p.fileMode(c)
	if !p.config.Owner && info.Links == 1 && info.Mode == mode && info.MTime == p.dest.Times.Stored(c.Want.MTime) {
		if err := from.Link(mtree.BaseName(path), dir, c.Want.Name); err == nil {
			return nil
		}
	}
	draft, err := p.dest.Staging.Create(dir, c.Want.Name, true, mode)
	if err != nil {
		return err
	}
	defer draft.Discard()
	size, err := copyBody(draft, endable{ctx, file})
	if err == nil && size != c.Want.Size {
		err = errMoved
	}
	if err == nil {
		err = p.dress(draft, c, c.Want, mode)
	}
	if err != nil {
		return err
	}
	return draft.Place(dir, c.Want.Name)
}
