package simkernel

import (
	"golang.org/x/sys/unix"
)

// InotifyInit1 implements sys.Kernel.
func (p *Process) InotifyInit1(flags int) (fd int, err error) {
	p = p.owner(-1)
	err = p.call(func() error {
		fd, err = p.add(&handle{events: &queue{k: p.k, watches: map[int32]*watch{}}})
		return err
	}, "inotify_init1()")
	return fd, err
}

func (p *Process) queue(fd int) (*queue, error) {
	h, err := p.handle(fd)
	if err != nil || h.events == nil {
		return nil, unix.EBADF
	}
	return h.events, nil
}

// InotifyAddWatch implements sys.Kernel.
func (p *Process) InotifyAddWatch(fd int, path string, mask uint32) (wd int, err error) {
	p = p.owner(fd)
	err = p.call(func() error {
		q, err := p.queue(fd)
		if err != nil {
			return err
		}
		f, err := p.lookup(unix.AT_FDCWD, path, mask&unix.IN_DONT_FOLLOW == 0, 0)
		switch {
		case err != nil:
			return err
		case f.node == nil:
			return unix.ENOENT
		case mask&unix.IN_ONLYDIR != 0 && !f.node.isDir():
			return unix.ENOTDIR
		}
		if err := p.may(f.node, 0o4); err != nil {
			return err
		}
		for _, w := range f.node.watchedBy {
			if w.queue == q {
				if mask&unix.IN_MASK_ADD != 0 {
					mask |= w.mask
				}
				w.mask, wd = mask, int(w.wd)
				return nil
			}
		}
		if len(q.watches) >= p.k.MaxWatches {
			return unix.ENOSPC
		}
		q.lastWD++
		w := &watch{queue: q, wd: q.lastWD, node: f.node, mask: mask}
		q.watches[w.wd] = w
		f.node.watchedBy = append(f.node.watchedBy, w)
		wd = int(w.wd)
		return nil
	}, "inotify_add_watch(%s)", path)
	return wd, err
}

// InotifyRmWatch implements sys.Kernel.
func (p *Process) InotifyRmWatch(fd int, wd uint32) (int, error) {
	p = p.owner(fd)
	err := p.call(func() error {
		q, err := p.queue(fd)
		if err != nil {
			return err
		}
		w := q.watches[int32(wd)]
		if w == nil {
			return unix.EINVAL
		}
		q.drop(w)
		return nil
	}, "inotify_rm_watch(%d)", wd)
	return 0, err
}

// Waiting implements sys.Kernel.
func (p *Process) Waiting(fd int) (bytes int, err error) {
	p = p.owner(fd)
	err = p.call(func() error {
		q, err := p.queue(fd)
		if err != nil {
			return err
		}
		for _, e := range q.events {
			bytes += e.size()
		}
		return nil
	}, "ioctl(%d, FIONREAD)", fd)
	return bytes, err
}

// Await implements sys.Kernel. It is no call that waits for its turn: the read after it
// does.
func (p *Process) Await(fd int) error {
	p = p.owner(fd)
	p = p.owner(fd)
	for {
		p.k.mu.Lock()
		q, err := p.queue(fd)
		if err != nil || p.killed {
			p.k.mu.Unlock()
			return unix.EBADF
		}
		if len(q.events) > 0 {
			p.k.mu.Unlock()
			return nil
		}
		if q.news == nil {
			q.news = make(chan struct{})
		}
		news := q.news
		p.k.mu.Unlock()
		<-news
	}
}

// Watches returns how many inodes are watched, whoever does: inotify_init1 names no descriptor, and
// is made by the process in front, which may be another one than meant.
func (k *Kernel) Watches() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	nodes := map[*inode]bool{}
	for _, p := range k.procs {
		for _, h := range p.fds {
			if h != nil && h.events != nil {
				for _, w := range h.events.watches {
					nodes[w.node] = true
				}
			}
		}
	}
	return len(nodes)
}
