package disk

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const lockName = "lock"

// Lock is the open-file-description lock of a running watch or mirror. It ends
// with the process, however that ends.
type Lock struct {
	fd   int
	node Node
}

// Lock takes the lock without waiting; it fails with ErrLocked if somebody
// holds it.
func (m *Marker) Lock() (*Lock, error) {
	fd, err := openat(m.dir.fd, lockName, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, m.dir.fail("open", lockName, err)
	}
	_ = unix.Fchmod(fd, 0o644) // the umask must not keep others from asking about the lock
	err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	var info Info
	if err == nil {
		info, err = statFD(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		if err == unix.EAGAIN || err == unix.EACCES {
			return nil, fmt.Errorf("%s/%s: %w", m.dir.path, lockName, ErrLocked)
		}
		return nil, m.dir.fail("lock", lockName, err)
	}
	return &Lock{fd: fd, node: info.Node}, nil
}

// Unlock releases the lock: by name, for a child process between fork(2) and
// execve(2) has the descriptor too, and closing ours would leave the lock to it.
func (l *Lock) Unlock() error {
	err := unix.FcntlFlock(uintptr(l.fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	return errors.Join(err, unix.Close(l.fd))
}

// Standing reports whether the lock's file still has its name in m: false after
// the marker directory was deleted under a running program.
func (l *Lock) Standing(m *Marker) bool {
	info, err := m.dir.Stat(lockName)
	return err == nil && info.Node == l.node
}

// Locked reports whether some process holds the lock. It takes nothing, so it
// never disturbs a program that starts just now. Cost: three system calls.
func (m *Marker) Locked() (bool, error) {
	fd, err := openat(m.dir.fd, lockName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, m.dir.fail("open", lockName, err)
	}
	defer unix.Close(fd)
	ask := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &ask); err != nil {
		return false, m.dir.fail("lock", lockName, err)
	}
	return ask.Type == unix.F_WRLCK, nil // a read lock is somebody else's: who may read the file can set one
}
