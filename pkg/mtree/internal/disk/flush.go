package disk

import (
	"errors"
	"io/fs"

	"tidemark/pkg/mtree/internal/sys"
)

// Flush makes everything durable that was written to the file system of d, with
// syncfs(2), which reports write errors since Linux 5.8. After an error, assume that
// nothing written since the last good flush is there, because the kernel marks pages
// clean that it could not write.
func (d *Dir) Flush() error {
	if err := sys.Syncfs(d.fd); err != nil {
		return &fs.PathError{Op: "syncfs", Path: d.path, Err: err}
	}
	return nil
}

// SyncFile makes the contents and times of the file name durable, with fsync(2). It is
// no error if the file is no longer there.
func (d *Dir) SyncFile(name string) error {
	f, _, err := d.OpenFile(name)
	if IsGone(err) || errors.Is(err, ErrNotRegular) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Sync makes the directory's own entries durable, with fsync(2).
func (d *Dir) Sync() error { return d.PathError("fsync", ".", sys.Fsync(d.fd)) }
