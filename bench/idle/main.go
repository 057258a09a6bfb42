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
	"strings"
	"time"

	"tidemark/bench/rig"
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
	var programs []*rig.Program
	defer func() {
		for _, p := range programs {
			p.Stop()
		}
	}()
	for _, command := range [][]string{
		{"watch", source},
		{"serve", "--hidden", "--listen", "127.0.0.1:18178", "--metrics", "127.0.0.1:18179", source},
		{"mirror", "http://127.0.0.1:18178/", filepath.Join(work, "copy")},
	} {
		p, err := rig.Start(work, "bin/"+command[0], command[1:]...)
		if err != nil {
			return err
		}
		programs = append(programs, p)
		ready := map[string]string{"watch": "armed", "serve": "address=", "mirror": "listed [0-9]+ dir"}[command[0]]
		if err := p.WaitFor(ready); err != nil {
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
		fmt.Printf("%-10s written to disk %d bytes, processor %v, wake-ups %d, most memory %.1f MB\n", p.Name,
			after[i].Written-before[i].Written, after[i].CPU-before[i].CPU, after[i].Wakes-before[i].Wakes, float64(after[i].Peak)/1e6)
	}
	return nil
}

func look(programs []*rig.Program) (all []rig.Counts, requests int64, err error) {
	for _, p := range programs {
		c, err := p.Counts()
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
	return all, rig.Number(string(text), `(?m)^tidemark_serve_requests_total (\S+)`), err
}
