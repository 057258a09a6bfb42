package handles

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// climb finds the path of a directory that is too deep for readlink, which ends at 4,096
// bytes. It goes up to a directory whose path is known or short enough, and looks for each
// on the way in the one above it. The result holds until the next Begin. A directory
// that is removed or moved on the way is nowhere: its own event is still to come.
//
// To find the names, each directory on the way must be read. So that is done only below
// the root: beside it, any user may make directories of any depth.
func (r *Resolver) climb(dir string, fd int) (path string, ok bool, err error) {
	inside, err := r.isBelow(dir, fd)
	if err == nil && inside {
		path, ok, err = r.climbUp(fd)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) {
		return "", false, nil
	}
	return path, ok, err
}

// maxUp is how many levels one open goes up, with a path of "../" for each.
const maxUp = 1024

// isBelow reports whether a directory that is too deep for readlink is below the root.
// The nearest directory above it that is not too deep decides, because the root is not
// too deep. isBelow goes up by steps of 1, 2, 4 and so on, until it is too far up or at a
// known place, and then halves the last step. It remembers the directories that it found
// outside on the way, so the next directory from there is one step from a known one.
// System calls for n levels: 5 for each step, log n + n/1024 and 10 more; three
// descriptors.
func (r *Resolver) isBelow(dir string, fd int) (inside bool, err error) {
	passed := []string{dir}
	deep := fd // too deep
	defer func() { closeBut(fd, deep) }()
	for step := 1; ; step = min(2*step, maxUp) {
		up, err := above(deep, step)
		if err != nil {
			return false, err
		}
		if r.wasClimbed(up) {
			_ = unix.Close(up)
			return true, nil
		}
		id, outside, full, err := r.look(up)
		if err == unix.ENAMETOOLONG {
			passed = append(passed, id)
			closeBut(fd, deep)
			deep = up
			continue
		}
		_ = unix.Close(up)
		if err == nil && !outside {
			full, err = shallow(deep, step, full)
			_, inside = r.below(full)
		}
		if err == nil && !inside && len(r.mountsOf(dir)) == 1 { // by another mount it may be inside
			r.leave(passed...)
		}
		return inside, err
	}
}

// isBelowOutside reports whether the directory above is known to be outside. It costs a
// tenth of readlink for a directory that is too deep.
func (r *Resolver) isBelowOutside(fd int) bool {
	up, err := above(fd, 1)
	if err != nil {
		return false
	}
	defer unix.Close(up)
	id, err := Of(up)
	return err == nil && r.IsOutside([]byte(id))
}

// wasClimbed reports whether the path is known since Begin.
func (r *Resolver) wasClimbed(fd int) bool {
	var st unix.Stat_t
	if len(r.climbed) == 0 || unix.Fstat(fd, &st) != nil {
		return false
	}
	_, ok := r.climbed[inodeOf(&st)]
	return ok
}

// look returns the handle of a directory, whether it is known to be outside, and its path
// if it is not.
func (r *Resolver) look(fd int) (id string, outside bool, full string, err error) {
	if id, err = Of(fd); err != nil {
		return "", false, "", err
	}
	if r.IsOutside([]byte(id)) {
		return id, true, "", nil
	}
	full, err = readlink(fd)
	return id, false, full, err
}

// shallow returns the path of the nearest directory above deep for which readlink gives
// one. full is the path of the directory that many levels up.
func shallow(deep, levels int, full string) (string, error) {
	for tooFew := 0; levels-tooFew > 1; {
		middle := (levels + tooFew) / 2
		up, err := above(deep, middle)
		if err != nil {
			return "", err
		}
		switch path, err := readlink(up); err {
		case nil:
			full, levels = path, middle
		default:
			tooFew = middle
		}
		_ = unix.Close(up)
	}
	return full, nil
}

// above opens the directory that many levels up.
func above(fd, levels int) (int, error) {
	up, err := unix.Open(procFD(fd)+strings.Repeat("/..", levels), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: "..", Err: err}
	}
	return up, nil
}

// closeBut closes a descriptor that is not the one to keep.
func closeBut(keep, fd int) {
	if fd != keep {
		_ = unix.Close(fd)
	}
}

// climbUp finds the path of a directory below the root by going up.
func (r *Resolver) climbUp(fd int) (string, bool, error) {
	var inodes []inode
	var names []string
	at := procFD(fd)
	var last *os.File // at uses its descriptor
	defer func() { _ = last.Close() }()
	base, inside := "", false
	for {
		var st unix.Stat_t
		if err := unix.Stat(at, &st); err != nil {
			return "", false, fmt.Errorf("stat: %w", err)
		}
		if known, ok := r.climbed[inodeOf(&st)]; ok {
			base, inside = known, true
			break
		}
		buf := make([]byte, unix.PathMax)
		if n, err := unix.Readlink(at, buf); err == nil && len(names) > 0 {
			base, inside = r.below(string(buf[:n]))
			break
		}
		up, err := os.Open(at + "/..")
		if err != nil {
			return "", false, err
		}
		name, err := nameOf(up, st.Ino)
		_ = last.Close()
		last = up
		if err != nil || name == "" {
			return "", false, err
		}
		names, inodes = append(names, name), append(inodes, inodeOf(&st))
		at = procFD(int(up.Fd()))
	}
	if !inside {
		return "", false, nil
	}
	for i := len(names) - 1; i >= 0; i-- {
		base = mtree.JoinPath(base, names[i])
		r.climbed[inodes[i]] = base
	}
	return base, true, nil
}

// nameOf finds an inode in a directory; "" if it is not there, as at the top.
func nameOf(dir *os.File, inode uint64) (string, error) {
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if info, err := e.Info(); err == nil && info.Sys().(*syscall.Stat_t).Ino == inode {
			return e.Name(), nil
		}
	}
	return "", nil
}
