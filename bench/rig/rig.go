// Package rig is what the benchmarks share: trees, programs with their logs, what /proc
// says of them, medians.
package rig

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Tree makes top directories of sub directories of files files each, with size
// bytes in each file, below dir: top*sub*files files in 1 + top + top*sub
// directories. It returns the paths of the files' directories.
func Tree(dir string, top, sub, files, size int) ([]string, error) {
	content := []byte(strings.Repeat("tidemark\n", size/9+1))[:size]
	var leaves []string
	for i := range top {
		for j := range sub {
			leaf := filepath.Join(dir, fmt.Sprintf("d%03d/e%03d", i, j))
			if err := os.MkdirAll(leaf, 0o755); err != nil {
				return nil, err
			}
			for k := range files {
				if err := os.WriteFile(fmt.Sprintf("%s/f%05d", leaf, k), content, 0o644); err != nil {
					return nil, err
				}
			}
			leaves = append(leaves, leaf)
		}
	}
	return leaves, nil
}

// Program is a running command whose output goes to a file.
type Program struct {
	Name string
	cmd  *exec.Cmd
	log  string
}

// Start runs a command; its output goes to a file in dir.
func Start(dir, name string, args ...string) (*Program, error) {
	log, err := os.CreateTemp(dir, filepath.Base(name)+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &Program{Name: name, cmd: exec.Command(name, args...), log: log.Name()}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	return p, begin(p.cmd)
}

// begin starts a command as the leader of a process group, which a signal that ends the benchmark ends, too.
func begin(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	undo.Lock()
	defer undo.Unlock()
	err := cmd.Start()
	if err == nil {
		remember(cmd.Process.Pid, "")
	}
	return err
}

// PID is the process's number.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Log returns what the program wrote so far.
func (p *Program) Log() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// WaitFor waits until the output matches pattern, as long as Patience. It is an error if the program ends
// before.
func (p *Program) WaitFor(pattern string) error {
	want := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); <-time.After(2 * time.Millisecond) {
		ended := p.HasEnded() // asked before, or the last that it says would be missed
		if want.MatchString(p.Log()) {
			return nil
		}
		if ended {
			return fmt.Errorf("%s ended:\n%s", p.Name, p.Log())
		}
	}
	return fmt.Errorf("%s does not say %q:\n%s", p.Name, pattern, p.Log())
}

// HasEnded reports whether the program has ended, and waits to be waited for.
func (p *Program) HasEnded() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	return err != nil || strings.HasPrefix(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " Z")
}

// Stop ends the program and those that it started, and waits for its end. What does not end in ten seconds
// is killed.
func (p *Program) Stop() {
	_ = syscall.Kill(-p.PID(), syscall.SIGTERM)
	kill := time.AfterFunc(grace, func() { _ = syscall.Kill(-p.PID(), syscall.SIGKILL) })
	_ = p.cmd.Wait()
	kill.Stop()
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // what it started and did not end
	forget(p.PID(), "")
}

// Counts is what /proc says of one process, all threads together.
type Counts struct {
	Written int64         // bytes sent to disk
	CPU     time.Duration // user and system, in steps of 10 ms
	Wakes   int64         // voluntary context switches
	Now     int64         // resident memory, bytes
	Peak    int64         // most of it ever
}

// Counts reads /proc.
func (p *Program) Counts() (c Counts, err error) {
	proc := fmt.Sprintf("/proc/%d/", p.PID())
	io, err1 := os.ReadFile(proc + "io")
	status, err2 := os.ReadFile(proc + "status")
	stat, err3 := os.ReadFile(proc + "stat")
	tasks, err4 := filepath.Glob(proc + "task/*/status")
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return c, err
		}
	}
	for _, task := range tasks {
		text, _ := os.ReadFile(task) // it may have ended
		c.Wakes += Number(string(text), `(?m)^voluntary_ctxt_switches:\s+(\d+)`)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	c.CPU = time.Duration(user+system) * 10 * time.Millisecond
	c.Written = Number(string(io), `(?m)^write_bytes: (\d+)`)
	c.Now = 1024 * Number(string(status), `(?m)^VmRSS:\s+(\d+)`)
	c.Peak = 1024 * Number(string(status), `(?m)^VmHWM:\s+(\d+)`)
	return c, nil
}

// GroupCPU returns the processor time so far of the program and of all that it started, those that have
// ended and were waited for included, in steps of 10 ms.
func (p *Program) GroupCPU() (all time.Duration) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if group, _ := strconv.Atoi(fields[2]); group != p.PID() {
			continue
		}
		for _, field := range fields[11:15] {
			ticks, _ := strconv.ParseInt(field, 10, 64)
			all += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return all
}

// Number returns the first group of pattern in text, 0 if there is none.
func Number(text, pattern string) int64 {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	f, _ := strconv.ParseFloat(m[1], 64)
	return int64(f)
}

// Quantile returns the value below which the share q (0 to 1) of all values lies. It
// sorts them. Quantile(x, 0.5) is the median.
func Quantile[T ~int64 | ~float64](all []T, q float64) T {
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))]
}

// Seconds returns how long a call took.
func Seconds(call func() error) (float64, error) {
	began := time.Now()
	err := call()
	return time.Since(began).Seconds(), err
}
