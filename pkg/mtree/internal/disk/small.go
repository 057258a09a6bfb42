package disk

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxSmall bounds what ReadSmall reads, in bytes.
const maxSmall = 1 << 20

// ReadSmall reads the regular file name, at most 1 MiB of it.
func (d *Dir) ReadSmall(name string) ([]byte, error) {
	f, _, err := d.OpenFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSmall))
}

// WriteSmall replaces the file name with text, mode 0644, so that after a crash
// it holds the old or the new text. System calls:
//
//	openat(".NAME.new", O_CREAT|O_TRUNC), fchmod, write, fsync, renameat, fsync(directory)
func (d *Dir) WriteSmall(name string, text []byte) error {
	temp := "." + name + ".new"
	fd, err := openat(d.fd, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return d.fail("create", temp, err)
	}
	f := os.NewFile(uintptr(fd), d.path+"/"+temp)
	defer f.Close()
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := unix.Renameat(d.fd, temp, d.fd, name); err != nil {
		return d.fail("rename", name, err)
	}
	return d.Sync()
}

// Sync makes the directory's own entries durable, with fsync(2).
func (d *Dir) Sync() error {
	if err := unix.Fsync(d.fd); err != nil {
		return d.fail("fsync", ".", err)
	}
	return nil
}
