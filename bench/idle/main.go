// Idle measures what the three programs do while nothing changes: requests,
// bytes written to disk, processor time and wake-ups, over a minute.
//
//	go run ./bench/idle [-from TREE] [-seconds 60]
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	from := flag.String("from", "", "the tree to mirror; empty: the Go source tree")
	seconds := flag.Int("seconds", 60, "how long to look")
	quiet := flag.Int("quiet", 15, "how long to wait after the first copy, in seconds")
	flag.Parse()
	if err := run(*from, time.Duration(*quiet)*time.Second, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

// program is one running binary.
type program struct {
	name string
	cmd  *exec.Cmd
	log  string
}

// counts is what /proc tells of one process.
type counts struct {
	written  int64 // bytes sent to disk
	ticks    int64 // processor time, 1/100 s
	switches int64 // voluntary context switches: wake-ups
	peak     int64 // most memory, kB
}

func run(from string, quiet, length time.Duration) error {
	if from == "" {
		goroot, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			return err
		}
		from = strings.TrimSpace(string(goroot)) + "/src"
	}
	work, err := os.MkdirTemp("", "tidemark-idle-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	source := filepath.Join(work, "source")
	if out, err := exec.Command("cp", "-a", from, source).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	var programs []*program
	defer func() {
		for _, p := range programs {
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			_ = p.cmd.Wait()
		}
	}()
	for _, command := range [][]string{
		{"watch", source},
		{"serve", "--hidden", "--listen", "127.0.0.1:18178", "--metrics", "127.0.0.1:18179", source},
		{"mirror", "http://127.0.0.1:18178/", filepath.Join(work, "copy")},
	} {
		p, err := start(work, command)
		if err != nil {
			return err
		}
		programs = append(programs, p)
		ready := map[string]string{"watch": "armed", "serve": "address=", "mirror": "listed [0-9]+ dir"}[p.name]
		if err := p.waitFor(ready); err != nil {
			return err
		}
	}
	<-time.After(quiet)
	before, requests, err := look(programs)
	if err != nil {
		return err
	}
	<-time.After(length)
	after, requestsAfter, err := look(programs)
	if err != nil {
		return err
	}
	fmt.Printf("in %s: %d requests\n", length, requestsAfter-requests)
	for i, p := range programs {
		fmt.Printf("%-8s written to disk %d bytes, processor %d ms, wake-ups of its main thread %d, most memory %.1f MB\n", p.name,
			after[i].written-before[i].written, 10*(after[i].ticks-before[i].ticks), after[i].switches-before[i].switches, float64(after[i].peak)/1000)
	}
	return nil
}

func start(work string, command []string) (*program, error) {
	p := &program{name: command[0], log: filepath.Join(work, command[0]+".log")}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command("bin/"+command[0], command[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	return p, p.cmd.Start()
}

func (p *program) waitFor(pattern string) error {
	want := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		text, err := os.ReadFile(p.log)
		if err != nil {
			return err
		}
		if want.Match(text) {
			return nil
		}
	}
	text, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s does not say %q:\n%s", p.name, pattern, text)
}

func look(programs []*program) (all []counts, requests int64, err error) {
	for _, p := range programs {
		c, err := readCounts(p.cmd.Process.Pid)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, c)
	}
	response, err := http.Get("http://127.0.0.1:18179/metrics")
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return all, number(string(text), `(?m)^tidemark_serve_requests_total (\S+)`), err
}

func readCounts(pid int) (c counts, err error) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	io, err1 := os.ReadFile(proc + "io")
	status, err2 := os.ReadFile(proc + "status")
	stat, err3 := os.ReadFile(proc + "stat")
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return c, err
		}
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return counts{
		written:  number(string(io), `(?m)^write_bytes: (\d+)`),
		ticks:    user + system,
		switches: number(string(status), `(?m)^voluntary_ctxt_switches:\s+(\d+)`),
		peak:     number(string(status), `(?m)^VmHWM:\s+(\d+)`),
	}, nil
}

func number(text, pattern string) int64 {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	f, _ := strconv.ParseFloat(m[1], 64)
	return int64(f)
}
