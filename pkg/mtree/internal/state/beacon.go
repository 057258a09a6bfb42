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
	if err := LockOffset(b.fd, n); err != nil {
		return err // the earlier number stays, and n is tried again
	}
	was := b.at
	b.at = n
	return UnlockOffset(b.fd, was) // 0: nothing is locked there
}

// Close withdraws the number, as the end of the process does.
func (b *Beacon) Close() error {
	if b == nil {
		return nil
	}
	_ = UnlockOffsets(b.fd)
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
	n, _, err := LockedOffset(fd) // 0 if nobody has a lock
	if err != nil {
		return 0, m.dir.PathError("lock", beaconName, err)
	}
	return n, nil
}
