package state

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
)

const lockName = "lock"

// Lock is the lock of a running watch or mirror: an open-file-description lock
// in the marker, which others ask about, and one on the root itself, so that
// there is one writer wherever the markers lie. It ends with the process,
// however that ends.
type Lock struct {
	fd   int
	root int // descriptor of the root, locked; -1 where directories cannot be
	node disk.Node
}

// Lock takes the lock without waiting; it fails with ErrLocked if somebody
// holds it.
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

// lock takes the lock of the directory itself, with flock(2): it needs no right
// to write, and goes unseen where somebody only reads. NFS takes no such lock of
// a directory: there only the marker's own keeps others away.
func lockRoot(d *disk.Dir) (fd int, err error) {
	if fd, err = disk.OpenAt(d.FD(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return -1, d.PathError("open", ".", err)
	}
	switch err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err {
	case nil:
		return fd, nil
	case unix.EWOULDBLOCK:
		_ = unix.Close(fd)
		return -1, fmt.Errorf("%s: %w: its root is locked, maybe with another --state-dir", d.Path(), ErrLocked)
	}
	_ = unix.Close(fd)
	return -1, nil
}

func unlockRoot(fd int) {
	if fd >= 0 {
		_ = unix.Flock(fd, unix.LOCK_UN) // by name, as Unlock
		_ = unix.Close(fd)
	}
}

func (m *Marker) lock() (*Lock, error) {
	fd, err := openOwn(m.dir, lockName, false) // with other names it may be locked all the same
	if err != nil {
		return nil, err
	}
	if own, statErr := disk.StatFD(fd); statErr == nil && own.Links <= 1 {
		_ = unix.Fchmod(fd, 0o644) // the umask must not keep others from asking about the lock
	}
	err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	var info disk.Info
	if err == nil {
		info, err = disk.StatFD(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		if err == unix.EAGAIN || err == unix.EACCES {
			return nil, fmt.Errorf("%s/%s: %w", m.dir.Path(), lockName, ErrLocked)
		}
		return nil, m.dir.PathError("lock", lockName, err)
	}
	return &Lock{fd: fd, root: -1, node: info.Node}, nil
}

// Move takes the lock in m instead: after the marker that it was taken in was
// deleted. The root stays locked throughout.
func (l *Lock) Move(m *Marker) error {
	now, err := m.lock()
	if err != nil {
		return err
	}
	_ = (&Lock{fd: l.fd, root: -1}).Unlock() // of a file without a name
	l.fd, l.node = now.fd, now.node
	return nil
}

// Unlock releases the lock: by name, for a child process between fork(2) and
// execve(2) has the descriptor too, and closing ours would leave the lock to it.
func (l *Lock) Unlock() error {
	unlockRoot(l.root)
	err := unix.FcntlFlock(uintptr(l.fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	return errors.Join(err, unix.Close(l.fd))
}

// StillIn reports whether the lock's file still has its name in m: false after
// the marker directory was deleted under a running program.
func (l *Lock) StillIn(m *Marker) bool {
	info, err := m.dir.Stat(lockName)
	return err == nil && info.Node == l.node
}

// Locked reports whether some process holds the lock. It takes nothing, so it
// never disturbs a program that starts just now. Cost: three system calls.
func (m *Marker) Locked() (bool, error) {
	fd, err := disk.OpenAt(m.dir.FD(), lockName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT || isOther(err) { // no program of ours locks anything but a file
		return false, nil
	}
	if err != nil {
		return false, m.dir.PathError("open", lockName, err)
	}
	defer unix.Close(fd)
	ask := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &ask); err != nil {
		return false, m.dir.PathError("lock", lockName, err)
	}
	return ask.Type == unix.F_WRLCK, nil // a read lock is somebody else's: who may read the file can set one
}
