package state

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
)

const lockName = "lock"

// ErrLocked is returned where another watch or mirror holds the lock.
var ErrLocked = errors.New("already running")

// Lock is the lock of a running watch or mirror: an open-file-description lock in the
// marker, which others can test, and one on the root itself, so that there is one writer
// wherever the markers are. It ends with the process, however that ends.
type Lock struct {
	fd   int
	root int // descriptor of the root, locked; -1 where directories cannot be locked
	node disk.Node
}

// Lock takes the lock without waiting. It fails with ErrLocked if somebody holds it.
func (m *Marker) Lock() (*Lock, error) {
	root, err := lockRoot(m.root)
	if err != nil {
		return nil, err
	}
	l, err := m.lock()
	if err != nil {
		unlockRoot(root)
		return nil, err
	}
	l.root = root
	return l, nil
}

// lockRoot takes the lock of the directory itself, with flock(2): it needs no right to
// write, and readers cannot test it. NFS has no such lock of a directory: there only the
// lock in the marker keeps others away.
func lockRoot(d *disk.Dir) (fd int, err error) {
	fd, err = disk.OpenAt(d.FD(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) // guard (|unix.O_CLOEXEC -> ): TestLockIsNotInherited
	if err != nil {
		return -1, d.PathError("open", ".", err)
	}
	switch err := sys.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err {
	case nil:
		return fd, nil
	case unix.EWOULDBLOCK:
		_ = sys.Close(fd)
		return -1, fmt.Errorf("%s: %w: its root is locked, maybe with another --state-dir", d.Path(), ErrLocked)
	}
	_ = sys.Close(fd)
	return -1, nil
}

func unlockRoot(fd int) {
	if fd >= 0 {
		_ = sys.Flock(fd, unix.LOCK_UN) // explicitly, see Unlock
		_ = sys.Close(fd)
	}
}

func (m *Marker) lock() (*Lock, error) {
	fd, err := openOwn(m.dir, lockName, false) // a file with other names can be locked, too
	if err != nil {
		return nil, err
	}
	if own, statErr := disk.StatFD(fd); statErr == nil && own.Links <= 1 {
		_ = sys.Fchmod(fd, 0o644) // the umask must not keep others from asking about the lock
	}
	err = sys.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if err == unix.EAGAIN || err == unix.EACCES { // so POSIX has it; of any other call, EACCES says nothing of a lock
		_ = sys.Close(fd)
		return nil, fmt.Errorf("%s/%s: %w", m.dir.Path(), lockName, ErrLocked)
	}
	var info disk.Info
	if err == nil {
		info, err = disk.StatFD(fd)
	}
	if err != nil {
		_ = sys.Close(fd)
		return nil, m.dir.PathError("lock", lockName, err)
	}
	return &Lock{fd: fd, root: -1, node: info.Node}, nil
}

// Move takes the lock in m instead, after the marker in which it was taken was deleted.
// The root stays locked all the time.
func (l *Lock) Move(m *Marker) error {
	now, err := m.lock()
	if err != nil {
		return err
	}
	_ = (&Lock{fd: l.fd, root: -1}).Unlock() // its file has no name any more
	l.fd, l.node = now.fd, now.node
	return nil
}

// Unlock releases the lock. It does so explicitly: a child process between fork(2) and
// execve(2) has the descriptor too, and if ours were only closed, the child would keep
// the lock.
func (l *Lock) Unlock() error {
	unlockRoot(l.root)
	err := sys.FcntlFlock(uintptr(l.fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	return errors.Join(err, sys.Close(l.fd))
}

// StillIn reports whether the lock's file still has its name in m. It is false after
// the marker was deleted under a running program. Cost: statx.
func (l *Lock) StillIn(m *Marker) bool {
	info, err := m.dir.Stat(lockName)
	return disk.IsUnsure(err) || info.Node == l.node // none, if it is gone
}

// Locked reports whether some process holds the lock. It takes nothing, so it never
// disturbs a program that starts at this moment. Cost: three system calls.
func (m *Marker) Locked() (bool, error) {
	fd, err := disk.OpenAt(m.dir.FD(), lockName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT || isOther(err) { // our programs lock only a file
		return false, nil
	}
	if err != nil {
		return false, m.dir.PathError("open", lockName, err)
	}
	defer sys.Close(fd)
	ask := unix.Flock_t{Type: unix.F_WRLCK}
	if err := sys.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &ask); err != nil {
		return false, m.dir.PathError("lock", lockName, err)
	}
	return ask.Type == unix.F_WRLCK, nil // not a read lock: any process that may read the file can set one
}

// IsLiveTree reports whether d is the root of a tree or copy on which a watch or mirror
// is running now: somebody holds the lock in its .tidemark. The directory alone proves
// nothing, because it may have been copied with the rest, or its program may have ended.
// If it cannot be read, the answer is false. Cost: openat where there is no .tidemark;
// else five system calls.
func IsLiveTree(d *disk.Dir) bool {
	fd, err := disk.OpenAt(d.FD(), mtree.MarkerName, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	dir := disk.NewDir(fd, d.Path()+"/"+mtree.MarkerName)
	defer dir.Close()
	locked, _ := (&Marker{root: d, dir: dir, inRoot: true}).Locked()
	return locked
}
