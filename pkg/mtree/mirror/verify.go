package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/directory"
)

// Verify compares everything in the copy with the source, every byte by its
// SHA-256, and writes a line to Out for each path that differs, then how many
// were compared. It takes no lock, so a mirror may run meanwhile; a directory
// that differs is looked at twice, for what is under way is no difference. With
// repair, which needs the lock, it then mends what it found. The error carries
// exit.Failed if something differs and was not mended. Without a Source it is
// the one that the copy was made from, with its filters.
func Verify(ctx context.Context, c Config, repair bool) error {
	c = c.withDefaults()
	if c.Source == "" {
		if err := c.recall(); err != nil {
			return err
		}
	}
	c.DryRun = !repair // opens the copy without the lock
	m, err := open(c)
	if err != nil {
		return err
	}
	defer m.close()
	root, err := m.source.Root(ctx, source.Poll{})
	if err != nil {
		return unreachable(ctx, err)
	}
	if t := m.replica.Tree(); t.ID == "" || !t.NoID && t.ID != root.Tree.ID {
		return exit.With(exit.Refused, fmt.Errorf("%q is no copy of this source", c.Dest), "give the source it was made from")
	}
	v := &verifier{mirror: m, root: root}
	if err := v.dir(ctx, "", root.Listing); err != nil {
		return unreachable(ctx, err)
	}
	fmt.Fprintf(m.config.Out, "compared %d directories, %d files (%d bytes), %d differ\n", v.dirs, v.files, v.bytes, v.differ)
	switch {
	case v.differ == 0:
		return nil
	case !repair:
		return exit.With(exit.Failed, fmt.Errorf("%d paths differ", v.differ), "mirror --verify --repair DEST mends them, while no mirror runs")
	}
	return v.mend(ctx)
}

// recall takes source and selection from the copy at c.Dest.
func (c *Config) recall() error {
	l, err := replica.LookAt(c.Dest, c.StateDir)
	if err != nil {
		return err
	}
	defer l.Close()
	c.Source = l.Tree.Upstream
	c.restore(l.Tree.Filters)
	return nil
}

// verifier walks source and copy together.
type verifier struct {
	*mirror
	root                       source.Root // the source's
	dirs, files, bytes, differ int64
	bad                        []badDir
}

// badDir is a directory with differences.
type badDir struct {
	path  string
	files []string // whose bytes differ while size and mtime do not
}

// dir compares the directory at path and those below.
func (v *verifier) dir(ctx context.Context, path string, listing mtree.Listing) error {
	v.dirs++
	diffs, err := v.compare(ctx, path, &listing)
	if err != nil {
		return err
	}
	if len(diffs) > 0 {
		if listing, err = v.again(ctx, path); err != nil {
			return err
		}
		if diffs, err = v.compare(ctx, path, &listing); err != nil {
			return err
		}
		v.note(path, diffs)
	}
	for i := range listing.Entries {
		e := &listing.Entries[i]
		below := mtree.JoinPath(path, e.Name)
		if e.Kind != mtree.Dir || len(below) > plan.MaxPath || v.filters.Excluded(below, true) {
			continue
		}
		a, err := v.source.List(ctx, below, e.MTime)
		if errors.Is(err, source.ErrDenied) || errors.Is(err, source.ErrGone) && !v.stands(ctx, path, e.Name) {
			continue
		}
		if err != nil {
			return err
		}
		if err := v.dir(ctx, below, a.Listing); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) again(ctx context.Context, path string) (mtree.Listing, error) {
	a, err := v.source.List(ctx, path, source.Fresh)
	return a.Listing, err
}

// stands reports whether a directory that is said to be gone is still listed, or
// may be: then it is somebody else who says so.
func (v *verifier) stands(ctx context.Context, path, name string) bool {
	l, err := v.again(ctx, path)
	if err != nil {
		return !errors.Is(err, source.ErrGone)
	}
	for i := range l.Entries {
		if l.Entries[i].Name == name && l.Entries[i].Kind == mtree.Dir {
			return true
		}
	}
	return false
}

// difference is one path that is not as at the source.
type difference struct {
	name  string
	what  string
	bytes bool // only the bytes differ
}

func (v *verifier) note(path string, diffs []difference) {
	bad := badDir{path: path}
	for _, d := range diffs {
		v.differ++
		fmt.Fprintf(v.config.Out, "%s %s\n", d.what, mtree.QuotePath(mtree.JoinPath(path, d.name)))
		if d.bytes {
			bad.files = append(bad.files, d.name)
		}
	}
	if len(diffs) > 0 {
		v.bad = append(v.bad, bad)
	}
}

// compare returns what differs in one directory.
func (v *verifier) compare(ctx context.Context, path string, listing *mtree.Listing) ([]difference, error) {
	dir, err := v.replica.Dir(path)
	if errors.Is(err, fs.ErrNotExist) || disk.IsGone(err) {
		return nil, nil // its parent says so
	}
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	defer dir.Close()
	w := v.newEnv(&v.root)
	todo, err := w.PlanToVerify(dir, path, listing)
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	diffs := differences(&todo)
	more, err := v.sums(ctx, path, todo.Check)
	return append(diffs, more...), err
}

// differences names what a plan would change.
func differences(pl *plan.Plan) (diffs []difference) {
	for _, list := range [][]mtree.Change{pl.MakeDirs, pl.MakeLinks, pl.Fetch} {
		for _, c := range list {
			if what := "differs"; c.Have != nil {
				diffs = append(diffs, difference{name: c.Want.Name, what: what})
			} else {
				diffs = append(diffs, difference{name: c.Want.Name, what: "missing"})
			}
		}
	}
	for _, c := range pl.SetModes {
		diffs = append(diffs, difference{name: c.Want.Name, what: "mode of"})
	}
	for _, e := range pl.Extra {
		diffs = append(diffs, difference{name: e.Name, what: "extra"})
	}
	return diffs
}

// sums compares the bytes of files.
func (v *verifier) sums(ctx context.Context, path string, files []mtree.Change) (diffs []difference, err error) {
	names := make([]string, len(files))
	for i, c := range files {
		names[i] = mtree.JoinPath(path, c.Want.Name)
		v.bytes += c.Want.Size
		if c.What&mtree.Mode != 0 {
			diffs = append(diffs, difference{name: c.Want.Name, what: "mode of"})
		}
	}
	v.files += int64(len(files))
	if len(names) == 0 {
		return diffs, nil
	}
	theirs, err := v.source.Sums(ctx, names)
	if err != nil {
		return nil, err
	}
	ours, err := directory.SumFiles(ctx, v.replica.Root, names)
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	for i, name := range names {
		their, ok := theirs[name]
		switch {
		case !ok || !their.Of(files[i].Want):
			// It may not be read, or is gone, or another one, or somebody swallowed
			// its line.
			diffs = append(diffs, difference{name: mtree.BaseName(name), what: "no sum of"})
		case their.SHA256 != ours[name].SHA256:
			diffs = append(diffs, difference{name: mtree.BaseName(name), what: "differs", bytes: true})
		}
	}
	return diffs, nil
}

// mend makes the pass that follows look at what differs: files of other bytes
// get a time that no source lists, and the directories above are unfinished.
func (v *verifier) mend(ctx context.Context) error {
	for _, bad := range v.bad {
		dir, err := v.replica.Dir(bad.path)
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
		for _, name := range bad.files {
			err = errors.Join(err, dir.SetEntryTime(name, replica.Doubtful))
		}
		_ = dir.Close()
		if err = errors.Join(err, v.replica.MarkUnfinished(bad.path)); err != nil {
			return exit.With(exit.Local, err, "")
		}
	}
	r, err := v.once(ctx)
	if r == nil {
		return err
	}
	v.summary(r)
	return errors.Join(append(r.Errs, err, r.Verdict())...)
}
