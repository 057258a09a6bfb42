package state

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
)

// maxSmall bounds what ReadSmall reads, in bytes.
const maxSmall = 1 << 20

// ReadSmall reads the file name, which is one of ours: what is larger than 1 MiB,
// or no regular file, gives ErrInTheWay.
func ReadFile(d *disk.Dir, name string) ([]byte, error) {
	f, info, err := readOwn(d, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size > maxSmall {
		return nil, d.PathError("read", name, ErrInTheWay)
	}
	return io.ReadAll(io.LimitReader(f, maxSmall))
}

// WriteSmall replaces the file name with text, mode 0644, so that after a crash
// it holds the old or the new text; what cannot be ours gives way, see vacate.
// System calls:
//
//	statx, openat(".NAME.new", O_CREAT), statx, ftruncate, fchmod, write, fsync,
//	statx, renameat, fsync(directory)
func WriteFile(d *disk.Dir, name string, text []byte) error {
	temp := "." + name + ".new"
	fd, err := openOwn(d, temp, true)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), d.Path()+"/"+temp)
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := vacate(d, name, false); err != nil {
		_ = unix.Unlinkat(d.FD(), temp, 0)
		return err
	}
	if err := unix.Renameat(d.FD(), temp, d.FD(), name); err != nil {
		return d.PathError("rename", name, err)
	}
	return d.Sync()
}
