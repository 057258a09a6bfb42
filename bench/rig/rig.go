// Package rig is what the benchmarks share: trees, programs with their logs, what /proc
// says of them, medians.
package rig

import (
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
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p, p.cmd.Start()
}

// PID is the process's number.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Log returns what the program wrote so far.
func (p *Program) Log() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// WaitFor waits until the output matches pattern, a minute or four at most.
func (p *Program) WaitFor(pattern string) error {
	want := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(4 * time.Minute); time.Now().Before(deadline); <-time.After(2 * time.Millisecond) {
		if want.MatchString(p.Log()) {
			return nil
		}
	}
	return fmt.Errorf("%s does not say %q:\n%s", p.Name, pattern, p.Log())
}

// Stop ends the program and those that it started, and waits for its end.
func (p *Program) Stop() {
	_ = syscall.Kill(-p.PID(), syscall.SIGTERM)
	_ = p.cmd.Wait()
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
