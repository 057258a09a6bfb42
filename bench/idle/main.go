// Idle measures what the three programs do in a minute in which nothing changes:
// requests, bytes written to disk, processor time, wake-ups, and the entries of the two
// trees that were written to in any way.
//
//	go run ./bench/idle [-files N] [-dir DIR] [-seconds 60]
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
	files := flag.Int("files", 0, "how many the tree has; 0: the Go source tree")
	dir := flag.String("dir", "", "where the trees are made; empty: the directory for temporary files")
	seconds := flag.Int("seconds", 60, "how long to look")
	quiet := flag.Int("quiet", 15, "how long to wait after the first copy, in seconds")
	flag.Parse()
	if err := run(*files, *dir, time.Duration(*quiet)*time.Second, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

func run(files int, dir string, quiet, length time.Duration) error {
	if dir == "" {
		dir = os.TempDir()
	}
	work, err := rig.Scratch(dir)
	if err != nil {
		return err
	}
	defer rig.RemoveScratch(work)
	source := filepath.Join(work, "source")
	if err := rig.Source(source, files); err != nil {
		return err
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
	since := time.Now()
	<-time.After(length)
	after, requestsAfter, err := look(programs)
	if err != nil {
		return err
	}
	changed, err := changedSince(work, since)
	if err != nil {
		return err
	}
	fmt.Printf("in %s: %d requests, %d entries changed\n", length, requestsAfter-requests, changed)
	for i, p := range programs {
		fmt.Printf("%-10s written to disk %d bytes, processor %v, wake-ups %d, most memory %.1f MB\n", p.Name,
			after[i].Written-before[i].Written, after[i].CPU-before[i].CPU, after[i].Wakes-before[i].Wakes, float64(after[i].Peak)/1e6)
	}
	return nil
}

// changedSince counts the entries of both trees, the markers included, whose ctime is
// later; it leaves out the logs of the programs.
func changedSince(work string, since time.Time) (int, error) {
	cmd := exec.Command("find", "source", "copy", "-newerct", since.UTC().Format("2006-01-02 15:04:05.999999999 UTC"))
	cmd.Dir = work
	out, err := cmd.Output()
	return strings.Count(string(out), "\n"), err
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
