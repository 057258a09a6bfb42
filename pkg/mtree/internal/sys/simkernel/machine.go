package simkernel

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ReadFile implements sys.Kernel: some files of /proc.
func (p *Process) ReadFile(path string) (text []byte, err error) {
	p = p.owner(-1)
	err = p.call(func() error {
		switch {
		case path == "/proc/self/mountinfo":
			text = []byte("1 0 8:1 / / rw,relatime - ext4 /dev/simulated rw\n")
		case strings.HasPrefix(path, "/proc/self/fdinfo/"):
			text = []byte("pos:\t0\nflags:\t02\nmnt_id:\t1\n")
		case path == "/proc/sys/kernel/random/boot_id":
			text = fmt.Appendf(nil, "00000000-0000-4000-8000-%012d\n", p.k.boot)
		case path == "/proc/sys/fs/inotify/max_queued_events":
			text = fmt.Appendf(nil, "%d\n", p.k.Queue)
		case path == "/proc/sys/fs/inotify/max_user_watches":
			text = fmt.Appendf(nil, "%d\n", p.k.MaxWatches)
		case path == "/proc/self/status":
			text = fmt.Appendf(nil, "Name:\tsimulated\nUmask:\t%04o\n", p.umask)
		default:
			return unix.ENOENT
		}
		return nil
	}, "read %s", path)
	return text, err
}

// Readlink implements sys.Kernel: /proc/self/fd.
func (p *Process) Readlink(path string) (target string, err error) {
	p = p.owner(-1)
	err = p.call(func() error {
		number, ok := strings.CutPrefix(path, "/proc/self/fd/")
		fd, atoi := strconv.Atoi(number)
		if !ok || atoi != nil {
			return unix.ENOENT
		}
		owner := p.k.procs[fd/fdsEach]
		if owner == nil {
			return unix.ENOENT
		}
		h, err := owner.handle(fd)
		if err != nil {
			return unix.ENOENT
		}
		if h.events != nil {
			target = "anon_inode:inotify"
			return nil
		}
		target = h.node.path()
		if !h.node.isDir() && h.at != nil {
			target = strings.TrimSuffix(h.at.parent.path(), "/") + "/" + h.at.name
		}
		return nil
	}, "readlink %s", path)
	return target, err
}

// Boottime implements sys.Kernel.
func (p *Process) Boottime() time.Duration {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	return time.Since(p.k.began)
}

// Now implements sys.Kernel.
func (p *Process) Now() time.Time {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	return p.k.now()
}

// Geteuid implements sys.Kernel.
func (p *Process) Geteuid() int { return int(p.owner(-1).uid) }

// ClockSteps implements sys.Kernel.
func (p *Process) ClockSteps() <-chan struct{} { return p.k.steps }

// MountChanges implements sys.Kernel: nothing is mounted.
func (p *Process) MountChanges() <-chan struct{} { return p.k.mounts }

// MountsChanged implements sys.Kernel.
func (p *Process) MountsChanged() bool { return false }

// Processors implements sys.Kernel.
func (p *Process) Processors() int { return 3 }

// Order implements sys.Kernel.
func (p *Process) Order(n int) []int {
	if p.k.Shuffle != nil {
		return p.k.Shuffle(n)
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return order
}

// Turn implements sys.Kernel.
func (p *Process) Turn(why string) { _ = p.owner(-1).call(func() error { return nil }, "(%s)", why) }
