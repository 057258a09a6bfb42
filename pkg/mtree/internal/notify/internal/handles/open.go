package handles

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// maxHandleWait is the last of the pauses before a handle is tried again, each twice the
// one before.
const maxHandleWait = 50 * time.Millisecond

// Try reports why a handle cannot be opened, nil if it can.
func (r *Resolver) Try(id string) error {
	_, err := r.openDir(id)
	return err
}

// openDir returns an O_PATH descriptor of the directory. r keeps owning it.
func (r *Resolver) openDir(dir string) (int, error) {
	r.uses++
	if o := r.open[dir]; o != nil {
		o.used = r.uses
		return o.fd, nil
	}
	if len(r.open) >= maxOpen {
		r.evict()
	}
	fd, err := r.openHandle(dir, unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	r.open[dir] = &openDir{fd, r.uses}
	return fd, nil
}

// evict closes the less recently used half.
func (r *Resolver) evict() {
	uses := make([]uint64, 0, len(r.open))
	for _, o := range r.open {
		uses = append(uses, o.used)
	}
	slices.Sort(uses)
	middle := uses[len(uses)/2]
	for dir, o := range r.open {
		if o.used <= middle {
			r.release(dir, o)
		}
	}
}

// ReleaseRemoved closes directories that were removed. While they are open their inodes are not freed, and who
// waits for that by inotify (IN_DELETE_SELF) hears nothing. Cost: an fstat for each open directory.
func (r *Resolver) ReleaseRemoved() {
	for dir, o := range r.open {
		var st unix.Stat_t
		if err := unix.Fstat(o.fd, &st); err != nil || st.Nlink == 0 {
			r.release(dir, o)
		}
	}
}

// openHandle returns an O_PATH descriptor of the file with the handle, by the mount that
// has the file in the tree; if none does, by the last mount.
func (r *Resolver) openHandle(id string, flags int) (fd int, err error) {
	mounts := r.mountsOf(id)
	last := len(mounts) - 1
	for _, m := range mounts[:last] {
		if fd, err = r.openBy(m.fd, id, flags); err != nil || r.holds(fd, id) {
			return fd, err
		}
		_ = unix.Close(fd)
	}
	return r.openBy(mounts[last].fd, id, flags)
}

// holds reports whether the file open as fd, by one of several mounts of its file system, is
// in the tree by that mount.
func (r *Resolver) holds(fd int, id string) bool {
	full, err := readlink(fd)
	if errors.Is(err, unix.ENAMETOOLONG) {
		inside, err := r.isBelow(id, fd)
		return inside && err == nil
	}
	_, inside := r.below(full)
	return inside && err == nil
}

// openBy returns an O_PATH descriptor of the file with the handle, on the mount open as
// mount. ext4 reports ENOMEM, not ESTALE, while the inode number of a removed directory
// is being given to a new file (iget_locked of an inode in I_CREATING): the next try
// finds it stale. Memory is short only if the error stays. Then nobody waits again before the next
// Begin: there may be thousands of handles.
func (r *Resolver) openBy(mount int, id string, flags int) (fd int, err error) {
	handle := split(id)
	for wait := 50 * time.Microsecond; ; wait *= 2 {
		fd, err = r.openAt(mount, handle, unix.O_PATH|unix.O_CLOEXEC|flags)
		if !errors.Is(err, unix.ENOMEM) || r.short { // guard (without r.short): TestMemoryThatStaysShort
			return fd, err
		}
		r.short = wait > maxHandleWait
		time.Sleep(wait)
	}
}
