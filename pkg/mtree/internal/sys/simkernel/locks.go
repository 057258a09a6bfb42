package simkernel

import (
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// Flock implements sys.Kernel, for exclusive locks that nobody waits for.
func (p *Process) Flock(fd, how int) error {
	p = p.owner(fd)
	return p.call(func() error {
		h, err := p.usable(fd)
		if err != nil {
			return err
		}
		switch {
		case how&unix.LOCK_UN != 0:
			if h.node.flock == h {
				h.node.flock = nil
			}
		case h.node.flock != nil && h.node.flock != h:
			return unix.EWOULDBLOCK
		default:
			h.node.flock = h
		}
		return nil
	}, "flock(%d, %d)", fd, how)
}

// FcntlFlock implements sys.Kernel, for OFD locks.
func (p *Process) FcntlFlock(fd uintptr, cmd int, l unix.Flock_t) (unix.Flock_t, error) {
	p = p.owner(int(fd))
	err := p.call(func() error {
		h, err := p.usable(int(fd))
		if err != nil {
			return err
		}
		want := lock{by: h, from: l.Start, to: l.Start + l.Len, exclusive: l.Type == unix.F_WRLCK}
		if l.Len == 0 {
			want.to = math.MaxInt64
		}
		if l.Type != unix.F_UNLCK {
			for _, other := range h.node.locks {
				if other.by == h || other.to <= want.from || want.to <= other.from || !other.exclusive && !want.exclusive {
					continue
				}
				if cmd != unix.F_OFD_GETLK {
					return unix.EAGAIN
				}
				l.Type, l.Start, l.Len, l.Pid = unix.F_RDLCK, other.from, other.to-other.from, -1
				if other.exclusive {
					l.Type = unix.F_WRLCK
				}
				return nil
			}
		}
		if cmd == unix.F_OFD_GETLK {
			l.Type = unix.F_UNLCK
			return nil
		}
		h.node.locks = slices.DeleteFunc(h.node.locks, func(other lock) bool {
			return other.by == h && other.from >= want.from && other.to <= want.to
		})
		if l.Type != unix.F_UNLCK {
			h.node.locks = append(h.node.locks, want)
		}
		return nil
	}, "fcntl(%d, lock %d, %d)", fd, cmd, l.Type)
	return l, err
}

// FcntlInt implements sys.Kernel, for F_SETFL.
func (p *Process) FcntlInt(fd uintptr, cmd, arg int) (int, error) {
	p = p.owner(int(fd))
	return 0, p.call(func() error {
		h, err := p.usable(int(fd))
		if err == nil && cmd == unix.F_SETFL {
			const settable = unix.O_APPEND | unix.O_NONBLOCK
			h.flags = h.flags&^settable | arg&settable
		}
		return err
	}, "fcntl(%d, %d, %#x)", fd, cmd, arg)
}
