package proof

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that runs, with a socket of its own for sd_notify(3).
type Process struct {
	Cmd   *exec.Cmd
	Done  chan struct{} // closed when it has ended
	Err   error         // how it ended; read it after Done
	Ready chan struct{} // closed when it has sent READY=1
	log   string

	mutex sync.Mutex
	told  []string // all that it has sent
}

// Command is what Launch runs.
type Command struct {
	Args []string // the program, by its name in the PATH or by path, and its arguments
	Dir  string   // where it runs; "": here
	Log  string   // the file to which its stdout and stderr are appended
	Env  []string // in addition to that of the test
	User int      // it runs as this user and group, without other groups and capabilities; 0: as the test does
}

// Launch starts a program and does not wait until it is ready.
func Launch(c Command) (*Process, error) {
	dir, err := os.MkdirTemp("", "tidemark-proof-") // a socket's path must be short
	if err != nil {
		return nil, err
	}
	socket, err := listenForAll(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p := &Process{Cmd: exec.Command(c.Args[0], c.Args[1:]...), Done: make(chan struct{}), Ready: make(chan struct{}), log: c.Log}
	if c.User != 0 {
		id := uint32(c.User)
		p.Cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	}
	p.Cmd.Dir = c.Dir
	p.Cmd.Env = append(append(os.Environ(), "NOTIFY_SOCKET="+socket.LocalAddr().String(), "GOTRACEBACK=single"), c.Env...)
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err == nil {
		p.Cmd.Stdout, p.Cmd.Stderr = log, log
		err = p.Cmd.Start()
		_ = log.Close()
	}
	if err != nil {
		return nil, errors.Join(err, socket.Close(), os.RemoveAll(dir))
	}
	go func() {
		p.Err = p.Cmd.Wait()
		_ = socket.Close()
		_ = os.RemoveAll(dir)
		close(p.Done)
	}()
	go p.hear(socket)
	return p, nil
}

// listenForAll makes a socket in dir that any user may write to.
func listenForAll(dir string) (*net.UnixConn, error) {
	name := filepath.Join(dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.Chmod(name, 0o777))
	}
	return socket, err
}

// hear reads what the program tells until the socket is closed.
func (p *Process) hear(socket *net.UnixConn) {
	buf := make([]byte, 4096)
	for told := false; ; {
		n, err := socket.Read(buf)
		if err != nil {
			return
		}
		p.mutex.Lock()
		p.told = append(p.told, string(buf[:n]))
		p.mutex.Unlock()
		if !told && bytes.Contains(buf[:n], []byte("READY=1")) {
			told = true
			close(p.Ready)
		}
	}
}

// Told is how often the program has told the service manager something with this text in it.
func (p *Process) Told(text string) (n int) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, message := range p.told {
		if strings.Contains(message, text) {
			n++
		}
	}
	return n
}

// WaitReady waits until the program is ready. It is an error if it ends, or is not ready
// within patience.
func (p *Process) WaitReady(patience time.Duration) error {
	select {
	case <-p.Ready:
		return nil
	case <-p.Done:
		return fmt.Errorf("%s ended: %v\n%s", p.Cmd.Args[0], p.Err, p.Logged())
	case <-time.After(patience):
		return fmt.Errorf("%s is not ready\n%s", p.Cmd.Args[0], p.Logged())
	}
}

// Alive reports whether the program has not ended.
func (p *Process) Alive() bool {
	select {
	case <-p.Done:
		return false
	default:
		return true
	}
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.Done
}

// Terminate sends SIGTERM, and SIGCONT so that a stopped program hears it. It is an
// error if the program has not ended within patience, or ends with another code than 0.
func (p *Process) Terminate(patience time.Duration) error {
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	_ = p.Cmd.Process.Signal(syscall.SIGCONT)
	select {
	case <-p.Done:
	case <-time.After(patience):
		return fmt.Errorf("%s did not stop within %v\n%s", p.Cmd.Args[0], patience, p.Logged())
	}
	if p.Err != nil {
		return fmt.Errorf("%s: %w\n%s", p.Cmd.Args[0], p.Err, p.Logged())
	}
	return nil
}

// Logged is what the program has written so far.
func (p *Process) Logged() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// URL is the address that a serve has logged, once it is ready. A line of the log may come a moment
// after that.
func (p *Process) URL() (at *url.URL, err error) {
	for range 100 {
		if at, err = p.logged(); err == nil || !p.Alive() {
			break
		}
		<-time.After(50 * time.Millisecond)
	}
	return at, err
}

// logged is the address that is in the log by now.
func (p *Process) logged() (*url.URL, error) {
	address := regexp.MustCompile(`address="?(https?://[^ "\n]+)`).FindStringSubmatch(p.Logged())
	if address == nil {
		return nil, fmt.Errorf("serve told no address\n%s", p.Logged())
	}
	return url.Parse(address[1])
}
