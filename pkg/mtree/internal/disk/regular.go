package disk

import (
	"io"
	"io/fs"
	"os"

	"tidemark/pkg/mtree/internal/sys"
)

// Regular is an open regular file, read by its descriptor without the costs of
// os.File, which registers it with the poller to find out that it cannot be polled. It
// is for one goroutine.
type Regular struct {
	Info // when it was opened
	fd   int
	file *os.File // owns fd once File was called
	name string   // for messages
}

// ReadAt reads len(p) bytes from offset. It returns fewer only with an error, io.EOF
// at the end of the file.
func (r *Regular) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		m, err := sys.Pread(r.fd, p[n:], offset+int64(n))
		switch {
		case err != nil:
			return n, &fs.PathError{Op: "read", Path: r.name, Err: err}
		case m == 0:
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

// Stat returns fstat as it is now.
func (r *Regular) Stat() (Info, error) {
	info, err := StatFD(r.fd)
	if err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: r.name, Err: err}
	}
	return info, nil
}

// File returns the file as an os.File, for sendfile(2). It is closed with r.
func (r *Regular) File() *os.File {
	if r.file == nil {
		r.file = os.NewFile(uintptr(r.fd), r.name)
	}
	return r.file
}

// Close releases the descriptor.
func (r *Regular) Close() error {
	if r.file != nil {
		return r.file.Close()
	}
	return sys.Close(r.fd)
}
