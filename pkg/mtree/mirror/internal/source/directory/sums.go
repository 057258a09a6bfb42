package directory

import (
	"context"
	"errors"
	"io/fs"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Sums returns the SHA-256 of files of the source by their paths. Files that cannot be
// read, are gone or change meanwhile are missing from the result.
func (s *Source) Sums(ctx context.Context, paths []string) (map[string]source.Sum, error) {
	return s.newLastDir().sums(ctx, paths)
}

// SumFiles does the same for files below root, which may be any directory of this
// machine. It does not enter other file systems.
func SumFiles(ctx context.Context, root *disk.Dir, paths []string) (map[string]source.Sum, error) {
	l := &lastDir{root: root}
	return l.sums(ctx, paths)
}

// sums returns the SHA-256 of files, and closes the directory that l holds.
func (l *lastDir) sums(ctx context.Context, paths []string) (map[string]source.Sum, error) {
	defer l.close()
	sums := make(map[string]source.Sum, len(paths))
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d, err := l.open(mtree.ParentPath(path))
		var s source.Sum
		if err == nil {
			s, err = SumFile(ctx, d, mtree.BaseName(path))
		}
		if err == nil {
			sums[path] = s
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		} else if !disk.IsGone(err) && !disk.IsDenied(err) && !errors.Is(err, disk.ErrNotRegular) && !errors.Is(err, source.ErrMoved) {
			return nil, err
		}
	}
	return sums, nil
}

// SumFile hashes the file name in d. Its error is source.ErrMoved if the file changes
// meanwhile, disk.ErrNotRegular if it is not a file, or the error of opening or reading
// it.
func SumFile(ctx context.Context, d *disk.Dir, name string) (s source.Sum, err error) {
	f, info, err := d.OpenFile(name)
	if err != nil {
		return s, err
	}
	defer f.Close()
	if s.SHA256, err = source.Hash(source.Until(ctx, f)); err != nil {
		return s, &fs.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	now, err := disk.StatFile(f)
	if err != nil {
		return s, err
	}
	s.File, s.Known = lister.EntryOf(name, info), true
	if then := lister.EntryOf(name, now); !s.Of(&then) {
		return s, source.ErrMoved
	}
	return s, nil
}
