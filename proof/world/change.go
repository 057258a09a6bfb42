package world

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// change is a kind of change of the tree: drawn once, applied to the model, done on disk.
type change struct {
	name   string
	weight int
	draw   func(d *drawer) []string         // its arguments, nil if there is nothing to change
	model  func(m *model, a []string) error // what it means
	disk   func(s site, a []string) error
	// rough changes are of several steps, and may be half done where they fail.
	rough bool
	// moments are bytes that files have for a moment.
	moments func(m *model, a []string) map[string][][]byte
	// grows are files that are written by and by.
	grows func(m *model, a []string) map[string]growth
	// away are paths that are gone for a moment.
	away func(a []string) []string
}

// site is where a change is done: the source, and a directory beside it on the same file
// system.
type site struct{ root, aside string }

func (s site) path(p string) string { return s.root + "/" + p }

func number(text string) int { n, _ := strconv.Atoi(text); return n }

// when reads a time as drawn: nanoseconds since 1970, or seconds from now.
func when(text string) time.Time {
	if seconds, ok := strings.CutPrefix(text, "now"); ok {
		return time.Now().Add(time.Duration(number(seconds)) * time.Second)
	}
	n, _ := strconv.ParseInt(text, 10, 64)
	return time.Unix(n/1e9, n%1e9)
}

func mode(text string) uint32 { n, _ := strconv.ParseUint(text, 8, 32); return uint32(n) }

// temp writes a file aside. Several changes may happen at once.
func (s site) temp(data []byte) (string, error) {
	f, err := os.CreateTemp(s.aside, "t")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	return f.Name(), errors.Join(err, f.Chmod(0o644), f.Close())
}

// putAside writes a file aside and renames it into place, with a time of its own if set.
func (s site) putAside(p string, data []byte, set *time.Time) error {
	temp, err := s.temp(data)
	if err == nil && set != nil {
		err = setTime(temp, *set)
	}
	if err == nil {
		err = os.Rename(temp, s.path(p))
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

func setTime(name string, t time.Time) error {
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: t.Unix(), Nsec: int64(t.Nanosecond())}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, name, ts, unix.AT_SYMLINK_NOFOLLOW)
}

// rewrite opens a file and writes to it, all in one call for each part.
func (s site) rewrite(p string, flags int, parts ...[]byte) error {
	f, err := os.OpenFile(s.path(p), os.O_WRONLY|syscall.O_NOFOLLOW|flags, 0o644)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, err = f.Write(part); err != nil {
			break
		}
	}
	return errors.Join(err, f.Close())
}

func run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

// giveAll gives everything in a directory to a user. What goes meanwhile is left out: a watch
// that still runs replaces its files.
func giveAll(dir string, user int) error {
	return filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(name, user, user)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// plain reports an error that leaves everything as it was.
func plain(err error) bool {
	for _, e := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, syscall.EINVAL, syscall.ENOTDIR, syscall.EISDIR, syscall.ENOTEMPTY, syscall.EBUSY, syscall.EXDEV, syscall.ELOOP, syscall.EROFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
