package sys

import (
	"bytes"
	"io"
	"io/fs"
	"os"
)

// File is an open file: an *os.File, or in a simulation what is used of one.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.StringWriter
	io.Closer
	Fd() uintptr
	Name() string
	Chmod(mode os.FileMode) error
	Truncate(size int64) error
	Sync() error
}

// NewFile is os.NewFile.
func NewFile(fd uintptr, name string) File {
	if kernel != nil {
		return &simulated{int(fd), name}
	}
	return os.NewFile(fd, name)
}

// simulated is a file of a simulation.
type simulated struct {
	fd   int
	name string
}

func (f *simulated) Fd() uintptr  { return uintptr(f.fd) }
func (f *simulated) Name() string { return f.name }

func (f *simulated) Read(p []byte) (int, error) { return f.read(p, -1) }

func (f *simulated) read(p []byte, offset int64) (int, error) {
	n, err := Pread(f.fd, p, offset)
	if err == nil && n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return max(n, 0), f.check("read", err)
}

func (f *simulated) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = f.read(p[n:], offset+int64(n))
		n += more
	}
	return n, err
}

func (f *simulated) Write(p []byte) (int, error) { return f.write(p, -1) }

func (f *simulated) write(p []byte, offset int64) (n int, err error) {
	for n < len(p) && err == nil {
		at := offset
		if at >= 0 {
			at += int64(n)
		}
		var more int
		if more, err = kernel.Pwrite(f.fd, bytes.Clone(p[n:]), at); err == nil {
			n += more
		}
	}
	return n, f.check("write", err)
}

func (f *simulated) WriteAt(p []byte, offset int64) (int, error) { return f.write(p, offset) }
func (f *simulated) WriteString(s string) (int, error)           { return f.write([]byte(s), -1) }

func (f *simulated) Chmod(mode os.FileMode) error {
	return f.check("chmod", Fchmod(f.fd, uint32(mode.Perm())))
}

func (f *simulated) Truncate(size int64) error { return f.check("truncate", Ftruncate(f.fd, size)) }
func (f *simulated) Sync() error               { return f.check("sync", Fsync(f.fd)) }

func (f *simulated) Close() error {
	if f.fd < 0 {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	err := Close(f.fd)
	f.fd = -1
	return f.check("close", err)
}

func (f *simulated) check(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

var (
	_ File = (*os.File)(nil)
	_ File = (*simulated)(nil)
)
