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
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/directory"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// Verify compares everything in the copy with the source, file contents by SHA-256. It
// writes a line to Out (a repair with Print: to Log) for each path that differs, and then how many were compared. It
// takes no lock, so a mirror may run meanwhile. A directory that differs is compared
// twice, because a change that is under way does not count as a difference. With repair,
// which needs the lock, Verify then mends what it found. The error carries exit.Failed if
// something differs and was not mended. Without a Source, Verify takes the one that the
// copy was made from; without options that select entries, those of the copy (Config.recall).
func Verify(ctx context.Context, c Config, repair bool) error {
	c = c.withDefaults()
	if err := c.recall(repair); err != nil && (repair || c.Source == "") {
		return err
	}
	c.DryRun, c.repair = !repair, repair // without repair, the copy is opened without the lock
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
	m.printer = m.config.newPrinter()
	return errors.Join(m.verify(ctx, &root, repair), m.printer.CloseAll(ctx))
}

// verify compares the copy with the source whose root this is, and mends it.
func (m *mirror) verify(ctx context.Context, root *source.Root, repair bool) error {
	v := &verifier{env: m.newEnv(root), say: m.config.say}
	if err := v.walk(ctx, "", root.Dir); err != nil {
		return unreachable(ctx, err)
	}
	if !m.config.Quiet || v.differ > 0 {
		v.say(fmt.Sprintf("compared %d directories, %d files (%d bytes), %d differ", v.dirs, v.files, v.bytes, v.differ))
	}
	switch {
	case v.differ == 0:
		return nil
	case !repair:
		return exit.With(exit.Failed, fmt.Errorf("%d paths differ", v.differ), "mirror --verify --repair DEST mends them, while no mirror runs")
	}
	if err := v.mark(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	r, err := m.once(ctx)
	if r == nil {
		return err
	}
	m.summary(r)
	if err = errors.Join(append(r.Errs, err, r.Verdict())...); err == nil && v.unread > 0 {
		err = exit.With(exit.Failed, fmt.Errorf("%d directories were not compared", v.unread), "run it as a user who may read them")
	}
	return err
}

// verifier walks source and copy together.
type verifier struct {
	env *work.Env
	say func(line string)

	dirs, files, bytes int64 // compared
	differ             int64 // paths
	unread             int64 // of these: directories that were not compared
	bad                []badDir
	older              []string // names in the directory that was compared last: Plan.Older
}

// badDir is a directory with differences.
type badDir struct {
	path  string
	files []string // names of files whose bytes differ, but not size or mtime
}

// difference is one entry that differs from the source.
type difference struct {
	name  string
	what  string
	bytes bool // only the bytes differ
}

// walk compares the directory at path with the source's listing of it, and then those
// below.
func (v *verifier) walk(ctx context.Context, path string, listing source.Dir) error {
	v.dirs++
	files, bytes := v.files, v.bytes
	diffs, err := v.compare(ctx, path, &listing)
	if err != nil {
		return err
	}
	if len(diffs) > 0 {
		if listing, err = v.listAgain(ctx, path); err != nil {
			return err
		}
		v.files, v.bytes = files, bytes // guard: TestVerifyComparesOwners
		if diffs, err = v.compare(ctx, path, &listing); err != nil {
			return err
		}
		v.report(path, diffs)
	}
	for _, name := range v.older {
		v.say("older version, left out by --min-size, --max-size or --max-age: " + mtree.QuotePath(mtree.JoinPath(path, name)))
	}
	for i := range listing.Entries {
		e := &listing.Entries[i]
		below := mtree.JoinPath(path, e.Name)
		if e.Kind != mtree.Dir || len(below) > plan.MaxPath || v.env.Filters.Excluded(below, true) || !v.isInCopy(below) {
			continue
		}
		if !v.mayRead(below) { // guard: verify-unreadable.txtar
			v.report(path, []difference{{name: e.Name, what: cannotRead}})
			v.unread++
			continue
		}
		a, err := v.env.Source.List(ctx, below, e.MTime)
		if errors.Is(err, source.ErrDenied) || errors.Is(err, source.ErrGone) && !v.isListed(ctx, path, e.Name) {
			continue
		}
		if err != nil {
			return err
		}
		if err := v.walk(ctx, below, a); err != nil {
			return err
		}
	}
	return nil
}

// isInCopy reports whether the copy has a directory at path, or may have. If not, the
// listing above told it, and nothing below is asked for: a source that lists a directory in
// itself has no end.
func (v *verifier) isInCopy(path string) bool {
	dir, err := v.env.Replica.Dir(path)
	if err == nil {
		_ = dir.Close()
	}
	return !errors.Is(err, fs.ErrNotExist) && !disk.IsGone(err) // guard (returns true): TestVerifyEndsWhereTheCopyDoes
}

// cannotRead says that this process has no rights to something in the copy, and cannot compare it.
const cannotRead = "cannot read"

// mayRead reports whether this process may read and enter the directory of the copy at path.
func (v *verifier) mayRead(path string) bool {
	dir, err := v.env.Replica.Dir(path)
	if err == nil {
		_, err = dir.Stat(mtree.MarkerName)
		_ = dir.Close()
	}
	return !disk.IsDenied(err)
}

// listAgain asks for a listing and bypasses all caches.
func (v *verifier) listAgain(ctx context.Context, path string) (source.Dir, error) {
	return v.env.Source.List(ctx, path, source.Fresh)
}

// isListed reports whether a directory that is said to be gone is still listed, or may
// be. Then that answer did not come from the source.
func (v *verifier) isListed(ctx context.Context, path, name string) bool {
	l, err := v.listAgain(ctx, path)
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

// report writes the differences of a directory, and remembers them.
func (v *verifier) report(path string, diffs []difference) {
	bad := badDir{path: path}
	for _, d := range diffs {
		v.differ++
		v.say(d.what + " " + mtree.QuotePath(mtree.JoinPath(path, d.name)))
		if d.bytes {
			bad.files = append(bad.files, d.name)
		}
	}
	if len(diffs) > 0 {
		v.bad = append(v.bad, bad)
	}
}

// compare returns what differs in one directory.
func (v *verifier) compare(ctx context.Context, path string, listing *source.Dir) ([]difference, error) {
	v.older = nil
	dir, err := v.env.Replica.Dir(path)
	if errors.Is(err, fs.ErrNotExist) || disk.IsGone(err) {
		return nil, nil // its parent reports it
	}
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	defer dir.Close()
	todo, err := v.env.PlanToVerify(dir, path, listing)
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	for _, c := range todo.Older {
		v.older = append(v.older, c.Want.Name)
	}
	diffs := differences(&todo)
	more, err := v.compareSums(ctx, path, todo.Check)
	return append(diffs, more...), err
}

// differences names what a plan would change.
func differences(todo *plan.Plan) (diffs []difference) {
	for _, list := range [][]mtree.Change{todo.MakeDirs, todo.MakeLinks, todo.Fetch} {
		for _, c := range list {
			what := "missing"
			if c.Have != nil {
				what = "differs"
			}
			diffs = append(diffs, difference{name: c.Want.Name, what: what})
		}
	}
	for _, c := range todo.SetModes {
		diffs = append(diffs, difference{name: c.Want.Name, what: "mode of"})
	}
	for _, e := range todo.Extra {
		diffs = append(diffs, difference{name: e.Name, what: "extra"})
	}
	return diffs
}

// compareSums compares the bytes of files of one directory.
func (v *verifier) compareSums(ctx context.Context, path string, files []mtree.Change) (diffs []difference, err error) {
	paths := make([]string, len(files))
	for i, c := range files {
		paths[i] = mtree.JoinPath(path, c.Want.Name)
		v.bytes += c.Want.Size
		if plan.ModeDiffers(c, v.env.Owner) { // guard (plan.ModeDiffers(c, v.env.Owner) -> c.What&mtree.Mode != 0): TestVerifyComparesOwners
			diffs = append(diffs, difference{name: c.Want.Name, what: "mode of"})
		}
	}
	v.files += int64(len(files))
	if len(paths) == 0 {
		return diffs, nil
	}
	theirs, err := v.env.Source.Sums(ctx, paths)
	if err != nil {
		return nil, err
	}
	ours, err := directory.SumFiles(ctx, v.env.Replica.Root, paths)
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	for i, path := range paths {
		their, ok := theirs[path]
		our, have := ours[path]
		switch {
		case !ok || !their.Of(files[i].Want): // guard: TestVerifyPassesNothingOver
			// The source may not read the file, or it is gone, or it is another file
			// now, or a proxy lost its line.
			diffs = append(diffs, difference{name: files[i].Want.Name, what: "no sum of"})
		case !have: // guard: verify-unreadable.txtar
			diffs = append(diffs, difference{name: files[i].Want.Name, what: cannotRead, bytes: true})
		case their.SHA256 != our.SHA256:
			diffs = append(diffs, difference{name: files[i].Want.Name, what: "differs", bytes: true})
		}
	}
	return diffs, nil
}

// mark makes the next pass look at what differs: files whose bytes differ are doubted
// (Replica.Doubt), and their directories, with all above, become unfinished.
func (v *verifier) mark() error {
	r := v.env.Replica
	for _, bad := range v.bad {
		dir, err := r.Dir(bad.path)
		if err != nil {
			return err
		}
		err = r.Doubt(dir, bad.path, bad.files) // guard: TestVerifySparesOtherNames
		_ = dir.Close()
		if err = errors.Join(err, r.MarkUnfinished(bad.path)); err != nil {
			return err
		}
	}
	return nil
}
