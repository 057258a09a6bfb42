package state

import (
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
)

// Beacon announces a number to any process that asks, as long as its own process lives,
// and writes nothing to disk: the number is the offset of a lock in an empty file, which
// the kernel keeps in memory. A mirror announces with it up to when its copy is
// confirmed. An idle mirror gets a new time again and again. The methods may be called on
// nil, and then do nothing.
type Beacon struct {
	fd int
	at int64 // the number; 0: none
}

const beaconName = "confirmed"

// CreateBeacon opens the file, which then announces nothing yet.
func (m *Marker) CreateBeacon() (*Beacon, error) {
	fd, err := openOwn(m.dir, beaconName, true)
	if err != nil {
		return nil, err
	}
	_ = sys.Fchmod(fd, 0o644) // the umask must not keep others from asking
	return &Beacon{fd: fd}, nil
}

// Announce replaces the number by n, which must be above 0. Cost: two fcntl(2).
func (b *Beacon) Announce(n int64) error {
	if b == nil || n == b.at || n <= 0 {
		return nil
	}
	if err := b.lock(unix.F_WRLCK, n); err != nil {
		return err // the earlier number stays, and n is tried again
	}
	was := b.at
	b.at = n
	return b.lock(unix.F_UNLCK, was) // 0: nothing is locked there
}

func (b *Beacon) lock(kind int16, at int64) error {
	return sys.FcntlFlock(uintptr(b.fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: at, Len: 1})
}

// Close withdraws the number, as the end of the process does.
func (b *Beacon) Close() error {
	if b == nil {
		return nil
	}
	_ = sys.FcntlFlock(uintptr(b.fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}) // see Lock.Unlock
	return sys.Close(b.fd)
}

// Announced returns the number that a living process announces, 0 if there is none.
// Cost: three system calls.
func (m *Marker) Announced() (int64, error) {
	fd, err := disk.OpenAt(m.dir.FD(), beaconName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT || isOther(err) {
		return 0, nil
	}
	if err != nil {
		return 0, m.dir.PathError("open", beaconName, err)
	}
	defer sys.Close(fd)
	ask := unix.Flock_t{Type: unix.F_WRLCK}
	if err := sys.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &ask); err != nil {
		return 0, m.dir.PathError("lock", beaconName, err)
	}
	return ask.Start, nil // still 0 if nobody has a lock
}
