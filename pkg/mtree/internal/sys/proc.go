package sys

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
)

// ErrNoProc says that nothing is mounted at /proc, as in a chroot. It is no fs.ErrNotExist:
// to a start that would say that .tidemark was removed.
var ErrNoProc = errors.New("/proc is missing: mount it, for a chroot at DIR by: mount -t proc proc DIR/proc")

// FDPath returns the path by which /proc leads to what is open as fd.
func FDPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// ThroughProc returns ErrNoProc if FDPath leads nowhere because there is no /proc. ENOENT for
// such a path may also mean that the directory was removed: then ThroughProc returns nil.
func ThroughProc(fd int) error {
	_, err := Readlink(FDPath(fd))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := Readlink("/proc/self"); err == nil {
			return nil // fd is not open
		}
		return ErrNoProc
	}
	if err != nil {
		return fmt.Errorf("/proc does not work here: %w", err)
	}
	return nil
}
