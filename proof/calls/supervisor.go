package calls

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supervisor decides the system calls of the programs that it started, one after the
// other. Only those on files below Base are counted and decided; all others just go on.
type Supervisor struct {
	Base   string              // without symlinks
	Decide func(*Call) *Answer // nil: the call goes on

	dir    string
	socket *net.UnixListener
	served sync.WaitGroup

	mu    sync.Mutex
	seen  map[string]int // how often, by name and path
	trace []Call
	err   error
}

// Start makes the Supervisor ready.
func (s *Supervisor) Start() (err error) {
	s.seen = map[string]int{}
	if s.dir, err = os.MkdirTemp("", "tidemark-calls-"); err != nil {
		return err
	}
	s.socket, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(s.dir, "s"), Net: "unix"})
	if err != nil {
		return errors.Join(err, os.RemoveAll(s.dir))
	}
	s.served.Add(1)
	go s.accept()
	return nil
}

// Command returns the command that runs a program under s.
func (s *Supervisor) Command(args ...string) []string {
	return append([]string{"failing", s.socket.Addr().String()}, args...)
}

// Stop waits until the programs have ended, and returns what went wrong here.
func (s *Supervisor) Stop() error {
	err := s.socket.Close()
	s.served.Wait()
	return errors.Join(s.err, err, os.RemoveAll(s.dir))
}

// Trace returns the calls so far.
func (s *Supervisor) Trace() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.trace...)
}

// Forget lets the counts and the trace begin anew.
func (s *Supervisor) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.trace = map[string]int{}, nil
}

// accept takes the descriptors of programs until the socket is closed.
func (s *Supervisor) accept() {
	defer s.served.Done()
	for {
		conn, err := s.socket.AcceptUnix()
		if err != nil {
			return
		}
		fd, err := receive(conn)
		_ = conn.Close()
		if err != nil {
			s.fail(err)
			continue
		}
		s.served.Add(1)
		go func() {
			defer s.served.Done()
			s.fail(s.serve(fd))
			_ = unix.Close(fd)
		}()
	}
}

func (s *Supervisor) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
}

// receive takes the one descriptor that Exec sends.
func receive(conn *net.UnixConn) (int, error) {
	var data [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(data[:], oob)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return -1, fmt.Errorf("no descriptor came: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("no descriptor came: %w", err)
	}
	unix.CloseOnExec(fds[0])
	return fds[0], nil
}

// notification is struct seccomp_notif, reply struct seccomp_notif_resp.
type notification struct {
	id     uint64
	pid    uint32
	flags  uint32
	number int32
	arch   uint32
	at     uint64
	args   [6]uint64
}

type reply struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// serve decides the calls of one program until it has ended.
func (s *Supervisor) serve(listener int) error {
	for {
		poll := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return err
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			if poll[0].Revents != 0 {
				return nil // POLLHUP: the program has ended
			}
			continue
		}
		var n notification
		if err := control(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); err == unix.ENOENT || err == unix.EINTR {
			continue // it was killed just now
		} else if err != nil {
			return err
		}
		r := s.decide(&n)
		if err := control(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)); err != nil && err != unix.ENOENT {
			return err
		}
	}
}

func control(fd int, request uint, data unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(data)); errno != 0 {
		return errno
	}
	return nil
}

// decide answers one call.
func (s *Supervisor) decide(n *notification) reply {
	onwards := reply{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	c := Call{number: int(n.number), thread: int(n.pid), args: n.args}
	if !c.concerned(s.Base) {
		return onwards
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[c.Name+" "+c.Path]++
	c.Nth = s.seen[c.Name+" "+c.Path]
	s.trace = append(s.trace, c)
	answer := s.Decide(&c)
	switch {
	case answer == nil:
		return onwards
	case answer.Kill:
		if pidfd, err := unix.PidfdOpen(c.process(), 0); err == nil {
			_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
			_ = unix.Close(pidfd)
		}
		return reply{id: n.id, errno: -int32(unix.EIO)}
	case answer.Short:
		moved, err := c.half()
		if err != nil {
			return onwards
		}
		return reply{id: n.id, value: int64(moved)}
	}
	return reply{id: n.id, errno: -int32(answer.Errno)}
}
