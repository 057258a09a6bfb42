package disk

import (
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
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
	data span     // without a hole, as far as extent looked last
}

// span is a part of a file, in bytes.
type span struct{ from, to int64 }

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

// AwaitWrite does what the function AwaitWrite does.
func (r *Regular) AwaitWrite(now mtree.Stamp) { AwaitWrite(r.fd, &r.Info, now) }

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

// longWrite is how long one write(2) may take.
const longWrite = 10 * time.Second

// AwaitWrite waits for the end of a write(2) that may be under way in the regular file open at fd
// when info was read of it. Such a write has set the times of the file when it began, so what is
// read meanwhile is half of it, and has its times already. Call it before anything is read:
// it sets the offset to 0. A write that begins later gives the file another ctime.
//
// The kernel has no call for this. But ext4, btrfs and tmpfs let nobody look for data while
// somebody writes, and xfs lets nobody read. Elsewhere, as on network file systems, it waits for
// nothing. Cost: nothing, or of a file that changed in the last seconds two lseek and a pread.
func AwaitWrite(fd int, info *Info, now mtree.Stamp) {
	if info.CTime.Add(longWrite).Before(now) {
		return
	}
	_, _ = sys.Seek(fd, 0, unix.SEEK_DATA)
	_, _ = sys.Seek(fd, 0, unix.SEEK_SET)
	_, _ = sys.Pread(fd, make([]byte, 1), 0)
}
