package simkernel

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Process has descriptors. It implements sys.Kernel.
type Process struct {
	// Scheduled says that the process is part of the simulation: its calls wait for their
	// turn, are counted and stand in the trace.
	Scheduled bool

	// Fault, if not nil, may return an error with which a call fails, without any effect.
	// number counts the calls of this process from 1.
	Fault func(number int, call string) error

	MaxFDs int // 0: no limit

	k      *Kernel
	name   string
	pid    int
	uid    uint32
	umask  uint32
	fds    []*handle // by descriptor, which begin with firstFD
	killed bool
	calls  int
	front  *Process // of Front: who makes the calls that name no descriptor
}

// Front returns a Process for sys.Simulate. Calls that name no descriptor are made by the
// process that Use named last.
func (k *Kernel) Front() *Process { return &Process{k: k, name: "nobody", killed: true} }

// Use names the process that makes the calls of p which name no descriptor.
func (p *Process) Use(by *Process) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.front = by
}

// Descriptors are numbers that no two processes share: a system call is made by the process
// whose descriptor it names. So several processes can be simulated at once; those calls that
// name none are made by the one that package sys was given.
const (
	fdsEach = 1000 // descriptors of one process
	firstFD = 3
)

func (p *Process) firstFD() int { return p.pid*fdsEach + firstFD }

// owner returns the process to which a descriptor belongs.
func (p *Process) owner(fd int) *Process {
	if fd >= 0 && fd/fdsEach == p.pid && p.pid != 0 {
		return p
	}
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if other := p.k.procs[fd/fdsEach]; fd >= 0 && other != nil {
		return other
	}
	if p.front != nil {
		return p.front
	}
	return p
}

// handle is an open file description.
type handle struct {
	at     *dentry // by which it was opened; nil: the root
	node   *inode
	flags  int
	offset int64
	last   string // of a directory: the name that getdents returned last
	ended  bool
	events *queue // of inotify
}

// Start returns a new process of a user. Descriptors of user 0 pass all permissions.
func (k *Kernel) Start(name string, uid uint32) *Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastPID++
	p := &Process{k: k, name: name, pid: k.lastPID, uid: uid, umask: 0o022}
	k.procs[p.pid] = p
	return p
}

// Kill ends the process as SIGKILL does. Its descriptors are closed. What it still calls
// has no effect and fails, so that its goroutines come to their end.
func (p *Process) Kill() {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if !p.killed {
		p.k.note("%s is killed", p.name)
		p.end()
	}
}

func (p *Process) end() {
	p.killed = true
	for fd := range p.fds {
		_ = p.close(fd + p.firstFD())
	}
}

// errKilled is what a process gets that was killed. No kernel returns it for our calls.
const errKilled = unix.ENOTRECOVERABLE

// call makes one system call: it waits for its turn, and may fail without an effect.
func (p *Process) call(do func() error, format string, args ...any) error {
	if !p.Scheduled {
		p.k.mu.Lock()
		defer p.k.mu.Unlock()
		return p.try(do)
	}
	p.k.mu.Lock()
	killed := p.killed
	p.k.mu.Unlock()
	if killed {
		return errKilled
	}
	call := fmt.Sprintf(format, args...)
	if p.k.Before != nil {
		p.k.Before(p, call)
	}
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if p.killed {
		return errKilled
	}
	p.calls++
	p.k.calls++
	var err error
	if p.Fault != nil {
		err = p.Fault(p.calls, call)
	}
	if err == nil {
		err = p.try(do)
	}
	if err == nil {
		p.k.note("%s: %s", p.name, call)
	} else {
		p.k.note("%s: %s = %v", p.name, call, err)
	}
	return err
}

func (p *Process) try(do func() error) error {
	if p.killed {
		return errKilled
	}
	return do()
}

// Calls returns how many system calls the process made.
func (p *Process) Calls() int {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	return p.calls
}

// handle returns what is open as fd.
func (p *Process) handle(fd int) (*handle, error) {
	if i := fd - p.firstFD(); i >= 0 && i < len(p.fds) && p.fds[i] != nil {
		return p.fds[i], nil
	}
	return nil, unix.EBADF
}

// usable is handle, unless it was opened with O_PATH.
func (p *Process) usable(fd int) (*handle, error) {
	h, err := p.handle(fd)
	if err == nil && h.flags&unix.O_PATH != 0 {
		err = unix.EBADF
	}
	return h, err
}

// add gives h the lowest free descriptor.
func (p *Process) add(h *handle) (int, error) {
	at, open := -1, 0
	for i, other := range p.fds {
		if other == nil {
			if at < 0 {
				at = i
			}
		} else {
			open++
		}
	}
	if p.MaxFDs > 0 && open >= p.MaxFDs {
		return -1, unix.EMFILE
	}
	if at < 0 {
		at = len(p.fds)
		p.fds = append(p.fds, nil)
	}
	p.fds[at] = h
	if h.node != nil {
		h.node.open++
	}
	return at + p.firstFD(), nil
}

func (p *Process) close(fd int) error {
	h, err := p.handle(fd)
	if err != nil {
		return err
	}
	p.fds[fd-p.firstFD()] = nil
	h.ended = true
	if h.events != nil {
		h.events.end()
		return nil
	}
	n := h.node
	n.open--
	p.k.unlock(n, h)
	if h.writes() && n.kind() == unix.S_IFREG {
		p.k.tellFile(h.at, n, unix.IN_CLOSE_WRITE, true)
	}
	p.k.release(n)
	return nil
}

// unlock ends the locks of a description that is closed.
func (k *Kernel) unlock(n *inode, h *handle) {
	n.locks = slices.DeleteFunc(n.locks, func(other lock) bool { return other.by == h })
	if n.flock == h {
		n.flock = nil
	}
}

// writes reports whether h was opened for writing.
func (h *handle) writes() bool {
	return h.flags&unix.O_PATH == 0 && h.flags&unix.O_ACCMODE != unix.O_RDONLY
}

// may returns EACCES if the process is not allowed what rwx says, of 0o7.
func (p *Process) may(n *inode, rwx uint32) error {
	if p.uid == 0 {
		return nil
	}
	shift := 0
	if p.uid == n.uid {
		shift = 6
	} else if p.uid == n.gid {
		shift = 3
	}
	if n.mode>>shift&rwx != rwx {
		return unix.EACCES
	}
	return nil
}

// mayChange returns why a name in a directory cannot be made or removed.
func (p *Process) mayChange(dir *inode, makes bool) error {
	switch {
	case p.k.ReadOnly:
		return unix.EROFS
	case dir.wasRemoved:
		return unix.ENOENT
	case dir.immutable:
		return unix.EPERM
	}
	if err := p.may(dir, 0o3); err != nil {
		return err
	}
	if makes && p.k.Full {
		return unix.ENOSPC
	}
	return nil
}

// mayRemove returns why a name of n in a directory cannot be removed, as one of a directory
// or of anything else.
func (p *Process) mayRemove(dir, n *inode, asDir bool) error {
	if err := p.mayChange(dir, false); err != nil {
		return err
	}
	switch {
	case n.immutable, dir.mode&unix.S_ISVTX != 0 && p.uid != 0 && p.uid != n.uid && p.uid != dir.uid:
		return unix.EPERM
	case asDir && !n.isDir():
		return unix.ENOTDIR
	case !asDir && n.isDir():
		return unix.EISDIR
	}
	return nil
}

// mayAlter returns why attributes of n cannot be set.
func (p *Process) mayAlter(n *inode) error {
	switch {
	case p.k.ReadOnly:
		return unix.EROFS
	case n.immutable, p.uid != 0 && p.uid != n.uid:
		return unix.EPERM
	}
	return nil
}

// mayTouch returns why both times of n cannot be set to now: who may write may do that.
func (p *Process) mayTouch(n *inode) error {
	if err := p.mayAlter(n); err != unix.EPERM || n.immutable {
		return err
	}
	return p.may(n, 0o2)
}
