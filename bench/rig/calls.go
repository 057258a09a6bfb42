package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Calls counts the system calls of a running program by strace(1). The program is many
// times slower meanwhile.
type Calls struct {
	cmd     *exec.Cmd
	summary string
}

// looks are the calls by which a program looks at one name.
const looks = "statx,newfstatat"

// CountCalls begins to count. The summary goes to a file in dir.
func CountCalls(dir string, p *Program) (*Calls, error) {
	c := &Calls{summary: filepath.Join(dir, fmt.Sprintf("calls-%d", p.PID()))}
	c.cmd = exec.Command("strace", "-f", "-c", "-U", "calls,name", "-e", "trace="+looks, "-o", c.summary, "-p", fmt.Sprint(p.PID()))
	var said strings.Builder
	c.cmd.Stderr = &said
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: apt-get install strace", err)
	}
	if err := Await(func() bool { return isTraced(p) }); err != nil {
		c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		return nil, fmt.Errorf("strace: %w: %s", err, said.String())
	}
	return c, nil
}

// isTraced reports whether all threads of a program have a tracer.
func isTraced(p *Program) bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.PID()))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		if Number(string(text), `(?m)^TracerPid:\s+(\d+)`) == 0 && len(text) > 0 {
			return false
		}
	}
	return err == nil && len(tasks) > 0
}

// Stop ends the counting and returns how often the program looked at a name.
func (c *Calls) Stop() (n int64, err error) {
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.cmd.Wait() // it ends by the signal that it was sent
	}()
	select {
	case <-ended:
	case <-time.After(Patience):
		return 0, fmt.Errorf("strace does not end")
	}
	text, err := os.ReadFile(c.summary)
	for _, line := range regexp.MustCompile(`(?m)^\s*(\d+)\s+(statx|newfstatat)$`).FindAllStringSubmatch(string(text), -1) {
		n += Number(line[1], `(\d+)`)
	}
	return n, err
}
