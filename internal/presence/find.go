package presence

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Found is a program that was found. The zero value of PID says that it is in another PID namespace.
type Found struct {
	PID    int
	UID    int
	Answer []byte
	Err    error // it did not answer
}

const (
	mostFound  = 64       // programs that are asked
	mostAnswer = 64 << 10 // bytes
)

// Find asks all programs that are announced under name, all at once, and waits a second for each at most.
// One that does not answer is returned with Err; one that ended meanwhile is left out.
func Find(name string) ([]Found, error) {
	names, err := announced(prefix + name + "/")
	if err != nil {
		return nil, err
	}
	all := make([]*Found, len(names))
	var asked sync.WaitGroup
	for i, socket := range names {
		asked.Go(func() { all[i] = ask(socket) })
	}
	asked.Wait()
	var found []Found
	for _, f := range all {
		if f != nil {
			found = append(found, *f)
		}
	}
	return found, nil
}

// announced returns the names of the listening sockets that begin so, from /proc/net/unix. Its columns
// are those of proc_net(5).
func announced(begin string) (names []string, err error) {
	f, err := os.Open("/proc/net/unix")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const flagsColumn, nameColumn, listening = 3, 7, "00010000" // __SO_ACCEPTCON
	lines := bufio.NewScanner(f)
	for lines.Scan() && len(names) < mostFound {
		columns := strings.Fields(lines.Text())
		if len(columns) == nameColumn+1 && columns[flagsColumn] == listening && strings.HasPrefix(columns[nameColumn], begin) {
			names = append(names, columns[nameColumn])
		}
	}
	return names, lines.Err()
}

// ask asks the program at a socket; nil if it has ended.
func ask(socket string) *Found {
	conn, err := net.DialTimeout("unix", socket, patience)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return &Found{Err: err}
	}
	defer conn.Close()
	f := &Found{}
	if f.PID, f.UID, err = peer(conn.(*net.UnixConn)); err != nil {
		return &Found{Err: err}
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	f.Answer, f.Err = io.ReadAll(io.LimitReader(conn, mostAnswer+1))
	if len(f.Answer) > mostAnswer {
		f.Answer, f.Err = nil, fmt.Errorf("an answer of more than %d bytes", mostAnswer)
	}
	if errors.Is(f.Err, syscall.ECONNRESET) {
		return nil
	}
	return f
}

// peer returns process and user of the program that listens at the other end (SO_PEERCRED in unix(7)).
func peer(conn *net.UnixConn) (pid, uid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *syscall.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, failed); err != nil {
		return 0, 0, err
	}
	return int(cred.Pid), int(cred.Uid), nil
}
