package work

import (
	"context"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/directory"
)

// A large file that is missing may be in the copy under a name that is to be deleted:
// somebody renamed the file, or a directory above it. If a file has the same size and the
// same SHA-256 as the source's, it is taken over, and no data moves.

// LeastTakenOver is the least size in bytes of a file that is worth two sums.
const LeastTakenOver = 64 << 10

// LeavingFiles are the files of certain sizes in the copy that are to be deleted.
type LeavingFiles struct {
	sizes  map[int64]bool
	bySize map[int64][]string // paths

	mu   sys.Mutex
	sums map[string]source.Digest // by path
}

// NewLeavingFiles returns an empty list of files with these sizes.
func NewLeavingFiles(sizes map[int64]bool) *LeavingFiles {
	return &LeavingFiles{sizes: sizes, bySize: map[int64][]string{}, sums: map[string]source.Digest{}}
}

// FindLeaving adds the file at path, or those below the directory at path. What cannot
// be read is left out. Cost: a statx for each entry below path.
func (env *Env) FindLeaving(path string, kind mtree.Kind, found *LeavingFiles) {
	if kind == mtree.File {
		dir, err := env.Replica.Dir(mtree.ParentPath(path))
		if err != nil {
			return
		}
		defer dir.Close()
		if info, err := dir.Stat(mtree.BaseName(path)); err == nil && found.sizes[info.Size] {
			found.bySize[info.Size] = append(found.bySize[info.Size], path)
		}
		return
	}
	if kind != mtree.Dir {
		return
	}
	dir, err := env.Replica.Dir(path)
	if err != nil {
		return
	}
	var below []string
	_ = dir.ScanStat(func(raw []byte, info disk.Info) error {
		switch name := mtree.JoinPath(path, string(raw)); {
		case env.Filters.Excluded(name, info.Kind == mtree.Dir):
		case info.Kind == mtree.Dir:
			below = append(below, name)
		case info.Kind == mtree.File && found.sizes[info.Size]:
			found.bySize[info.Size] = append(found.bySize[info.Size], name)
		}
		return nil
	})
	_ = dir.Close()
	for _, name := range below {
		env.FindLeaving(name, mtree.Dir, found)
	}
}

// TakeOver takes over large files of one directory, and returns those that must be
// fetched.
func (env *Env) TakeOver(ctx context.Context, t Target, changes []mtree.Change, found *LeavingFiles) (*fetch.Result, []mtree.Change) {
	r := &fetch.Result{}
	names := found.worthSumming(t.Path, changes)
	if len(names) == 0 {
		return r, changes
	}
	theirs, err := env.Source.Sums(ctx, names)
	if err != nil {
		return r, changes
	}
	return r, env.takeEach(ctx, &t, changes, theirs, found, r)
}

// worthSumming returns the paths of those files that have the size of a leaving file.
func (f *LeavingFiles) worthSumming(dir string, changes []mtree.Change) (paths []string) {
	for i := range changes {
		if len(f.bySize[changes[i].Want.Size]) > 0 {
			paths = append(paths, mtree.JoinPath(dir, changes[i].Want.Name))
		}
	}
	return paths
}

// takeEach takes over each file whose sum, in theirs, is that of a leaving file. It
// returns the rest.
func (env *Env) takeEach(ctx context.Context, t *Target, changes []mtree.Change, theirs map[string]source.Sum, found *LeavingFiles, r *fetch.Result) (rest []mtree.Change) {
	at, writer := t.ToChange(), env.writer()
	dir, err := writer.OpenToChange(&at)
	if err != nil {
		r.Err = replica.Local(err)
		return nil
	}
	defer dir.Close()
	for _, c := range changes {
		their, ok := theirs[mtree.JoinPath(t.Path, c.Want.Name)]
		ok = ok && their.Of(c.Want)
		from := ""
		for _, path := range found.bySize[c.Want.Size] {
			if from != "" || !ok || ctx.Err() != nil {
				break
			}
			if our, err := found.sum(ctx, env.Replica, path); err == nil && our == their.SHA256 && env.takeFile(ctx, dir, c, path) == nil {
				from = path
			}
		}
		if from == "" {
			rest = append(rest, c)
			continue
		}
		if env.Arriving != nil {
			env.Arriving.Add(c.Want.Size)
			r.Copied += c.Want.Size // guard: TestBytesThatWereInTheCopy
		}
		writer.NoteName(dir, &at, c.Want, true)
		r.Names, r.From = append(r.Names, c.Want.Name), append(r.From, from)
		r.Made++
		r.Taken++
		r.Verified = append(r.Verified, c.Want)
	}
	return rest
}

// sum returns the SHA-256 of a leaving file, which is read once.
func (f *LeavingFiles) sum(ctx context.Context, d *replica.Replica, path string) (source.Digest, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s, ok := f.sums[path]; ok {
		return s, nil
	}
	dir, err := d.Dir(mtree.ParentPath(path))
	if err != nil {
		return source.Digest{}, err
	}
	defer dir.Close()
	s, err := directory.SumFile(ctx, dir, mtree.BaseName(path))
	if err == nil {
		f.sums[path] = s.SHA256
	}
	return s.SHA256, err
}

// takeFile gives the file at path a second name in dir: by a hard link if time and mode
// agree, else by a copy. The first name is deleted with the others, if the guards
// allow that.
func (env *Env) takeFile(ctx context.Context, dir *disk.Dir, c mtree.Change, path string) error {
	if dir.Respelled(c.Want.Name) { // guard: TestALargeFileInAnotherSpelling
		return disk.ErrCollides
	}
	from, err := env.Replica.Dir(mtree.ParentPath(path))
	if err != nil {
		return err
	}
	defer from.Close()
	file, info, err := from.OpenFile(mtree.BaseName(path))
	if err != nil {
		return err
	}
	defer file.Close()
	mode := env.writer().FileMode(c)
	if !env.Owner && info.Links == 1 && info.Mode == mode && info.MTime == env.Replica.Times.Stored(c.Want.MTime) {
		if err := from.Link(mtree.BaseName(path), dir, c.Want.Name); err == nil {
			return nil
		}
	}
	return env.writer().PlaceCopy(dir, "", c, source.Until(ctx, file), func(*disk.TempFile) error { return nil })
}
