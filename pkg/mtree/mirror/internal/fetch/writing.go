package fetch

import (
	"io"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// FileMode returns the permission bits that a fetched file gets.
func (w Writer) FileMode(c mtree.Change) uint32 {
	switch {
	case c.Want.Has&mtree.HasMode != 0:
		return c.Want.Mode & 0o777
	case c.Have != nil && c.Have.Kind == mtree.File:
		return c.Have.Mode & 0o777
	}
	return 0o666 &^ w.Replica.Umask
}

// applyMetadata sets owner, mode and time of a file by its descriptor, and flushes it
// with SyncEach.
func (w Writer) applyMetadata(f *disk.TempFile, c mtree.Change, got *mtree.Entry, mode uint32) error {
	if w.Owner && c.Want.Has&mtree.HasOwner != 0 {
		if err := f.Chown(c.Want.UID, c.Want.GID); err != nil {
			return err
		}
	}
	if mode&w.Replica.Umask != 0 {
		if err := f.Chmod(mode); err != nil {
			return err
		}
	}
	if err := f.SetTime(w.Replica.Times.Stored(got.MTime)); err != nil {
		return err
	}
	if w.SyncEach {
		return f.Sync()
	}
	return nil
}

// PlaceCopy makes a file with the bytes that body has, and with the time, mode and owner of c.Want,
// does what is to be done before it has a name, and gives it its name in dir. path is that name in the copy;
// what has it goes to the backup directory if its bytes are others.
func (w Writer) PlaceCopy(dir *disk.Dir, path string, c mtree.Change, body io.Reader, finish func(*disk.TempFile) error) error {
	mode := w.FileMode(c)
	temp, err := w.Replica.Staging.Create(dir, c.Want.Name, c.Have == nil, mode)
	if err != nil {
		return err
	}
	defer temp.Discard()
	size, err := w.copyBody(temp, body)
	if err == nil && size != c.Want.Size {
		err = source.ErrMoved
	}
	if err == nil {
		err = w.applyMetadata(temp, c, c.Want, mode)
	}
	if err == nil {
		err = finish(temp)
	}
	if err != nil {
		return err
	}
	if c.What&(mtree.Type|mtree.Content) != 0 { // guard: TestBackupOfLinkedModes
		return w.Replica.Place(temp, dir, path)
	}
	return temp.Place(dir, c.Want.Name)
}

var copyBuffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// copyBody copies body to temp, with holes for long runs of zeros if Sparse is set.
func (w Writer) copyBody(temp *disk.TempFile, body io.Reader) (size int64, err error) {
	out, end := w.writer(temp)
	size, err = copyBytes(out, body)
	// If body broke off, its zeros count as what came.
	if endErr := end(); err == nil { // guard: TestAHoleThatCannotBeMade
		err = replica.Local(endErr)
	}
	return size, err
}

// writer returns a writer to temp, which makes holes if Sparse is set, and a function that brings
// the zeros that came last into the file.
func (w Writer) writer(temp *disk.TempFile) (out io.Writer, end func() error) {
	if !w.Sparse {
		return temp, func() error { return nil }
	}
	f := &sparseFile{f: temp}
	return f, f.end
}

// copyBytes copies body to f. An error of f is marked as one of the copy's disk; an error
// of body is not.
func copyBytes(f io.Writer, body io.Reader) (size int64, err error) {
	buf := copyBuffers.Get().(*[256 << 10]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := body.Read(buf[:])
		if _, err := f.Write(buf[:n]); err != nil {
			return size, replica.Local(err)
		}
		size += int64(n)
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
}
