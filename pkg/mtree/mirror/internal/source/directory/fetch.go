package directory

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Fetch yields files, one after another. See package source.
func (s *Source) Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File] {
	return func(yield func(int, source.File) bool) {
		last := s.newLastDir()
		defer last.close()
		open := func(ctx context.Context, w *source.Wanted, d source.Demand) (source.Opened, error) {
			return s.openFile(ctx, last, w, d)
		}
		source.EachFile(ctx, want, nil, open, yield)
	}
}

// openFile opens one file, in the version that demand asks for.
func (s *Source) openFile(ctx context.Context, last *lastDir, w *source.Wanted, demand source.Demand) (source.Opened, error) {
	d, err := last.open(mtree.ParentPath(w.Path))
	if err != nil {
		return source.Opened{}, named(err)
	}
	f, info, err := d.OpenFile(w.Name)
	if err != nil {
		return source.Opened{}, named(err)
	}
	if info.MountRoot && s.config.CrossMounts && !s.crosses.Load() {
		_ = f.Close()
		return source.Opened{}, fmt.Errorf("%w: watch does not hear what is mounted over it", source.ErrDenied)
	}
	got := lister.EntryOf(w.Name, info)
	if demand == source.AsListed && !source.SameFile(w.Entry, &got) {
		_ = f.Close()
		return source.Opened{}, source.ErrMoved
	}
	body := &steadyFile{File: f, ctx: ctx, got: got, loose: demand == source.AsIs}
	if body.loose {
		got.Size = -1 // it may shrink while it is read
	} else {
		disk.AwaitWrite(int(f.Fd()), &info, mtree.FromTime(time.Now()))
	}
	return source.Opened{File: source.File{Got: got, Body: body}, Failed: &body.failed, Close: body.close}, nil
}

// steadyFile reads a file up to the size that it had when it was opened. At the end it
// returns source.ErrMoved instead of io.EOF if the file is no longer the same version.
type steadyFile struct {
	disk.File
	ctx    context.Context
	got    mtree.Entry // as it was opened
	read   int64       // bytes
	loose  bool        // any version will do, and it may end early
	failed error       // of reading
}

// close closes the file.
func (f *steadyFile) close() { _ = f.File.Close() }

// Read keeps its error in f.failed.
func (f *steadyFile) Read(buf []byte) (int, error) {
	n, err := f.readOn(buf)
	if err != nil && err != io.EOF {
		f.failed = err
	}
	return n, err
}

func (f *steadyFile) readOn(buf []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	left := f.got.Size - f.read
	if left == 0 {
		return 0, f.end()
	}
	if int64(len(buf)) > left {
		buf = buf[:left]
	}
	n, err := f.File.Read(buf)
	f.read += int64(n)
	if err == io.EOF && !f.loose {
		err = source.ErrMoved
	}
	return n, err
}

// end returns io.EOF if the file is what it was when it was opened.
func (f *steadyFile) end() error {
	if f.loose {
		return io.EOF
	}
	info, err := disk.StatFile(f.File)
	if err != nil {
		return err
	}
	if now := lister.EntryOf(f.got.Name, info); !source.SameFile(&f.got, &now) {
		return source.ErrMoved
	}
	return io.EOF
}

// WriteTo hides the method of os.File, which would read past the size.
func (f *steadyFile) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{f})
}
