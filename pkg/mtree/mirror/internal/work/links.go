package work

import (
	"context"
	"errors"
	"io/fs"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/links"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/directory"
)

// Names with one `same` are one file at the source. The first of them is fetched, the others are linked
// to it; later ones to a name that Replica.Links remembers. Nothing is linked to that is not what it was
// when it was noted: inode, size, mtime and ctime. If only its ctime differs (the number of its links
// changed), or that of the source's file does, the sums of both decide.
//
// A file of the copy with several names is never written to, and keeps its mode: a new file takes its
// place under each name.

// MayLink reports whether a file to fetch is a name of a file that has others, so that it may be linked.
func (env *Env) MayLink(t *Target, c *mtree.Change) bool {
	return env.Replica.Links != nil && !env.DryRun &&
		!t.Nested && // guard: TestNothingIsLinkedInANestedCopy
		c.Want.Has&mtree.HasSame != 0 && c.Want.Has&mtree.HasCTime != 0 &&
		(c.Have == nil || c.Have.Kind != mtree.Dir)
}

// KnowsName reports whether the copy has, or had, a name that a file may be linked to.
func (env *Env) KnowsName(e *mtree.Entry) bool {
	f, ok := env.Replica.Links.Find(e.Same)
	return ok && f.Looks(e)
}

// mayBeBehind reports whether what one of the directory's names shows may have been changed under another
// name: no stamp tells of that, so who keeps listings may have this one from before.
func (env *Env) mayBeBehind(v *VisitResult) bool {
	return env.Replica.Links != nil && v.Had && v.Before.IsUnfinished()
}

// isLinked reports whether a file with the bytes of the source, in the directory at path dir, is one with
// the right other names, and has the right mode; then it is noted.
func (env *Env) isLinked(dir string, nested bool, c mtree.Change) bool {
	index, path := env.Replica.Links, mtree.JoinPath(dir, c.Want.Name)
	if nested || env.DryRun || c.Have == nil || c.Have.Kind != mtree.File {
		return true
	}
	if c.Want.Has&mtree.HasSame == 0 {
		f, is := index.Of(path)
		if is && f.Node != c.Have.Same {
			index.Leave(path)
		}
		return !is || f.Node != c.Have.Same // guard (returns true): TestALinkThatIsTakenApart
	}
	defer index.Lock(c.Want.Same)() // or two names that nobody knew would both be taken for the one to link to
	f, known := index.Find(c.Want.Same)
	switch {
	case plan.ModeDiffers(c, env.Owner):
		return false
	case !known:
		was, is := index.Of(path)
		if is && was.Same != c.Want.Same && was.Node == c.Have.Same && c.Have.Has&mtree.HasSame != 0 { // guard: TestALinkThatIsTakenApart
			return false
		}
	case f.Node != c.Have.Same:
		return false
	}
	kept := c.Have.CTime
	if known {
		kept = mtree.Later(kept, f.Kept) // another name may have been linked since it was read
	}
	index.Note(links.FileOf(path, c.Want, c.Have.Same, kept))
	return true
}

// relink makes a file with the bytes of the source one file with the right other names, with the right
// mode: it is linked to one of them, or it gets a file of its own, to which they are linked when they are
// visited. Where there can be no link it stays, and is not changed.
func (env *Env) relink(ctx context.Context, dir *disk.Dir, t *fetch.Target, c mtree.Change) (changed bool, err error) {
	index, path := env.Replica.Links, mtree.JoinPath(t.Path, c.Want.Name)
	if c.Want.Has&mtree.HasSame == 0 {
		if err = env.separate(ctx, dir, c); err == nil {
			index.Leave(path)
		}
		if disk.IsDenied(err) || disk.IsFull(err) { // guard (without disk.IsFull): TestALinkThatStaysOnAFullDisk
			return false, nil
		}
		return err == nil, err
	}
	defer index.Lock(c.Want.Same)()
	was, is := index.Of(path)
	l := link{env: env, dir: dir, t: t, c: c, own: true}
	why := l.join(ctx)
	if why == nil {
		return true, nil
	}
	switch apart := is && was.Same != c.Want.Same && was.Node == c.Have.Same; {
	case apart:
		err = env.separate(ctx, dir, c)
		changed = err == nil
		if disk.IsDenied(err) || disk.IsFull(err) { // guard (without disk.IsFull): TestALinkThatStaysOnAFullDisk
			return false, nil // it has the right bytes, and stays a name of the other file
		}
	case plan.ModeDiffers(c, env.Owner):
		err = env.setMode(ctx, dir, c)
		changed = err == nil
		if info, statErr := dir.Stat(c.Want.Name); changed && statErr == nil && !l.hasMode(info) {
			return false, errModeNotKept
		}
	}
	if err != nil {
		return false, err
	}
	if !changed && index.KnowsLater(c.Want) {
		return false, nil // its listing was read before, or these are no names of one file
	}
	if changed || why == errNoName || why == errBytes || why == errMode {
		env.writer().NoteName(dir, t, c.Want, true)
	}
	return changed, nil
}

// Link links files of one directory to other names of theirs, and returns those that must be fetched.
// Cost of one: openat, statx, linkat, statx; to replace: linkat, renameat, unlinkat; the sums of both ends
// if it is not certain that the copy's file has the same bytes.
func (env *Env) Link(ctx context.Context, t Target, changes []mtree.Change) (*fetch.Result, []mtree.Change) {
	r := &fetch.Result{}
	at := t.ToChange()
	dir, err := env.writer().OpenToChange(&at)
	if err != nil {
		r.Err = replica.Local(err)
		return r, nil
	}
	defer dir.Close()
	rest := env.joinEach(ctx, dir, &at, changes, nil, r)
	var unsure []string
	for i := range rest {
		if env.KnowsName(rest[i].Want) {
			unsure = append(unsure, mtree.JoinPath(t.Path, rest[i].Want.Name))
		}
	}
	if len(unsure) == 0 {
		return r, rest
	}
	theirs, err := env.Source.Sums(ctx, unsure)
	if err != nil {
		return r, rest
	}
	return r, env.joinEach(ctx, dir, &at, rest, theirs, r)
}

// joinEach links files and returns the rest.
func (env *Env) joinEach(ctx context.Context, dir *disk.Dir, t *fetch.Target, changes []mtree.Change, theirs map[string]source.Sum, r *fetch.Result) (rest []mtree.Change) {
	for _, c := range changes {
		l := link{env: env, dir: dir, t: t, c: c}
		if sum, ok := theirs[mtree.JoinPath(t.Path, c.Want.Name)]; ok && sum.Of(c.Want) {
			l.sum = &sum.SHA256
		}
		unlock := env.Replica.Links.Lock(c.Want.Same)
		err := ctx.Err()
		if err == nil {
			err = l.join(ctx)
		}
		unlock()
		if err != nil {
			rest = append(rest, c)
			continue
		}
		if env.Arriving != nil {
			env.Arriving.Add(c.Want.Size)
			r.Copied += c.Want.Size // guard: TestBytesThatWereInTheCopy
		}
		r.Names = append(r.Names, c.Want.Name)
		if c.Have == nil {
			r.Made++
		} else {
			r.Updated = append(r.Updated, c.Want.Name)
		}
		r.Taken++
		r.Verified = append(r.Verified, c.Want)
	}
	return rest
}

// link is a name that is to be linked to another one of the same file.
type link struct {
	env *Env
	dir *disk.Dir
	t   *fetch.Target
	c   mtree.Change
	own bool           // the name has the right bytes already
	sum *source.Digest // of the source's file; nil: it is not known
}

// Why a name is not linked.
var (
	errNoName = errors.New("no name is known to link to")
	errBytes  = errors.New("it is not certain that the other name has the same bytes")
	errMode   = errors.New("the other name has another mode or owner")

	// errModeNotKept is no trouble: FAT keeps no modes.
	errModeNotKept = errors.New("the file system keeps no modes")
)

// mostTried is how many names of a file are looked at for one that is still there.
const mostTried = 8

// join links the name to the newest one that is known and still there. If that has another mode or owner, a
// file with the right ones is made of it. The caller holds the lock of the file.
func (l *link) join(ctx context.Context) error {
	for _, f := range l.env.Replica.Links.Names(l.c.Want.Same, mostTried) {
		if l.env.Filters.Excluded(f.Path, false) { // guard: TestNothingIsLinkedToWhatIsExcluded
			return errNoName
		}
		if err := l.joinTo(ctx, &f); err != errNoName { // guard (always): TestTheNewestNameIsGone
			return err
		}
	}
	return errNoName
}

// joinTo is join for one name.
func (l *link) joinTo(ctx context.Context, f *links.File) error {
	if !f.Looks(l.c.Want) {
		return errNoName
	}
	from := l.dir
	if parent := mtree.ParentPath(f.Path); parent != l.t.Path {
		var err error
		if from, err = l.env.Replica.Dir(parent); err != nil {
			return errNoName
		}
		defer from.Close()
	}
	info, err := from.Stat(mtree.BaseName(f.Path))
	if err != nil || !l.isThere(f, info) {
		return errNoName
	}
	// If size and time are equal and the bytes are not, that name is no proof: it may be the very same file. If they
	// cannot be read, another file is one.
	exact := f.IsOf(l.c.Want) && info.CTime == f.Kept && // guard (without info.CTime): TestAFileThatWasTouchedInTheCopy
		(l.own || l.c.What&(mtree.Absent|mtree.Type|mtree.Content) != 0 && // guard: TestLinkedNamesWithWrongBytes
			(l.c.Have == nil || l.c.Have.Same != f.Node)) // guard: TestLinkedNamesThatCannotBeRead
	if !exact && !l.isEqual(ctx, from, mtree.BaseName(f.Path)) {
		return errBytes
	}
	if !l.hasMode(info) {
		return l.copyOf(ctx, from, mtree.BaseName(f.Path))
	}
	if l.own && info.Node.Ino == l.c.Have.Same {
		return nil
	}
	return l.place(from, mtree.BaseName(f.Path), info)
}

// isThere reports whether the copy still has the file that was noted, but for its ctime.
func (l *link) isThere(f *links.File, info disk.Info) bool {
	return info.Kind == mtree.File && !info.MountRoot &&
		info.Node.Ino == f.Node &&
		info.Size == f.Size &&
		info.MTime == l.env.Replica.Times.Stored(f.MTime)
}

// isEqual reports whether a file has the bytes that this name shall have, or has.
func (l *link) isEqual(ctx context.Context, from *disk.Dir, name string) bool {
	want := l.sum
	if want == nil && l.own {
		s, err := directory.SumFile(ctx, l.dir, l.c.Want.Name)
		if err != nil {
			return false
		}
		want = &s.SHA256
	}
	if want == nil {
		return false
	}
	have, err := directory.SumFile(ctx, from, name)
	return err == nil && have.SHA256 == *want // guard (without have.SHA256): TestAFileThatWasTouchedInTheCopy
}

// hasMode reports whether a file has the mode and owner that this name shall have.
func (l *link) hasMode(info disk.Info) bool {
	want := l.c.Want
	if want.Has&mtree.HasMode != 0 && (info.Mode^want.Mode)&0o777 != 0 { // guard: TestModeOfLinkedNames
		return false
	}
	return !l.env.Owner || want.Has&mtree.HasOwner == 0 || info.UID == want.UID && info.GID == want.GID
}

// copyOf makes a file with the right mode of the bytes of another one.
func (l *link) copyOf(ctx context.Context, from *disk.Dir, name string) error {
	if l.own {
		return errMode
	}
	file, _, err := from.OpenFile(name)
	if err != nil {
		return err
	}
	defer file.Close()
	c := l.c
	c.What |= mtree.Content // only sums may tell that it differs
	err = l.env.writer().PlaceCopy(l.dir, mtree.JoinPath(l.t.Path, l.c.Want.Name), c, source.Until(ctx, file), func(*disk.TempFile) error { return nil })
	if err == nil {
		l.env.writer().NoteName(l.dir, l.t, l.c.Want, true)
	}
	return err
}

// place gives the file name of from this name, too. What has it is replaced in one step.
func (l *link) place(from *disk.Dir, name string, is disk.Info) error {
	want := l.c.Want
	if l.c.Have == nil {
		if err := from.Link(name, l.dir, want.Name); err != nil {
			return err
		}
		info, err := l.dir.Stat(want.Name)
		if err != nil || info.Node != is.Node {
			_ = l.dir.Unlink(want.Name)
			return errNoName
		}
		l.env.writer().NoteLink(l.t, want, info)
		return nil
	}
	if err := l.replace(from, name, is); err != nil {
		return err
	}
	l.env.writer().NoteName(l.dir, l.t, want, true)
	return nil
}

// replace links by way of the staging directory. A rename to another name of the same file does nothing,
// and leaves both.
func (l *link) replace(from *disk.Dir, name string, is disk.Info) error {
	staging := l.env.Replica.Staging
	temp := staging.Name()
	if err := from.Link(name, staging.Dir(), temp); err != nil {
		return err
	}
	info, err := staging.Dir().Stat(temp)
	if err == nil && info.Node != is.Node {
		err = errNoName
	}
	if err == nil {
		err = l.put(temp)
	}
	if gone := staging.Dir().Unlink(temp); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// put gives what is staged this name. What it replaces goes to the backup directory, if there is one,
// unless it has the same bytes.
func (l *link) put(staged string) error {
	if !l.own { // guard: TestBackupOfLinkedNames
		return l.env.Replica.PlaceStaged(staged, l.dir, mtree.JoinPath(l.t.Path, l.c.Want.Name), false)
	}
	return l.env.Replica.Staging.Place(staged, l.dir, l.c.Want.Name, false)
}
