// Latency measures, side by side in one run, how long a write in a source tree
// takes until it can be read in the copy: tidemark, lsyncd with a delay of 1 s,
// and the inotifywait script of 2009 that runs rsync for every event.
//
//	go run ./bench/latency [-from TREE] [-changes 200] [tidemark lsyncd inotifywait]
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long a first copy or one change may take.
const patience = 2 * time.Minute

func main() {
	from := flag.String("from", "", "the tree to mirror; empty: the Go source tree")
	changes := flag.Int("changes", 200, "writes measured for each tool")
	work := flag.String("dir", "", "where trees and copies are made; empty: a new directory below /dev/shm")
	seed := flag.Uint64("seed", 1, "which files are written")
	flag.Parse()
	if err := run(*from, *work, *changes, *seed, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "latency:", err)
		os.Exit(1)
	}
}

// tools are the peers, by name: how each keeps copy equal to source. The
// commands run until they are killed.
var tools = []struct {
	name     string
	commands func(source, copy, work string) [][]string
}{
	{"tidemark", func(source, copy, work string) [][]string {
		return [][]string{
			{"bin/watch", source},
			{"bin/serve", "--hidden", "--listen", "127.0.0.1:18177", source},
			{"bin/mirror", "http://127.0.0.1:18177/", copy},
		}
	}},
	{"lsyncd", func(source, copy, work string) [][]string {
		config := fmt.Sprintf("settings{nodaemon=true}\nsync{default.rsync, source=%q, target=%q, delay=1}\n", source, copy)
		file := work + "/lsyncd.lua"
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			panic(err)
		}
		return [][]string{{"lsyncd", "-nodaemon", file}}
	}},
	{"inotifywait", func(source, copy, work string) [][]string {
		return [][]string{{"sh", "-c", fmt.Sprintf(
			"rsync -a --delete %[1]s/ %[2]s/; inotifywait -mrq -e create,move,delete,modify,close_write,attrib %[1]s | while read -r d e f; do rsync -a --delete %[1]s/ %[2]s/; done", source, copy)}}
	}},
}

func run(from, work string, changes int, seed uint64, names []string) (err error) {
	if from == "" {
		goroot, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			return fmt.Errorf("go env GOROOT: %w", err)
		}
		from = strings.TrimSpace(string(goroot)) + "/src"
	}
	if work == "" {
		if work, err = os.MkdirTemp("/dev/shm", "tidemark-latency-"); err != nil {
			return err
		}
		defer os.RemoveAll(work)
	}
	for _, tool := range tools {
		if len(names) > 0 && !slices.Contains(names, tool.name) {
			continue
		}
		if _, err := exec.LookPath(tool.name); err != nil && tool.name != "tidemark" {
			return fmt.Errorf("%w: apt-get install lsyncd inotify-tools rsync", err)
		}
		dir := filepath.Join(work, tool.name)
		source, copy := dir+"/source", dir+"/copy"
		if err := os.MkdirAll(copy, 0o755); err != nil {
			return err
		}
		if out, err := exec.Command("cp", "-a", from, source).CombinedOutput(); err != nil {
			return fmt.Errorf("cp: %w: %s", err, out)
		}
		took, err := measure(tool.commands(source, copy, dir), source, copy, changes, rand.New(rand.NewPCG(seed, 0)))
		if err != nil {
			return fmt.Errorf("%s: %w", tool.name, err)
		}
		slices.Sort(took)
		at := func(share float64) float64 {
			return float64(took[int(share*float64(len(took)-1))]) / float64(time.Millisecond)
		}
		fmt.Printf("%-12s %4d writes: p50 %8.1f ms   p90 %8.1f ms   p99 %8.1f ms   most %8.1f ms\n",
			tool.name, len(took), at(0.5), at(0.9), at(0.99), at(1))
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

func measure(commands [][]string, source, copy string, changes int, random *rand.Rand) (took []time.Duration, err error) {
	var logs safeBuffer
	for _, command := range commands {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Stdout, cmd.Stderr = &logs, &logs
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		defer func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			_ = cmd.Wait()
		}()
		if command[0] == "bin/watch" {
			if err := await(func() bool { return regexp.MustCompile(`armed`).MatchString(logs.String()) }); err != nil {
				return nil, fmt.Errorf("watch: %w\n%s", err, logs.String())
			}
		}
	}
	files, err := filesOf(source)
	if err != nil {
		return nil, err
	}
	write := func(name, text string) (time.Duration, error) {
		began := time.Now()
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o644); err != nil {
			return 0, err
		}
		err := await(func() bool {
			got, err := os.ReadFile(filepath.Join(copy, name))
			return err == nil && string(got) == text
		})
		return time.Since(began), err
	}
	if err := await(func() bool {
		copied, err := filesOf(copy)
		return err == nil && len(copied) >= len(files)
	}); err != nil {
		return nil, fmt.Errorf("first copy: %w\n%s", err, logs.String())
	}
	if err := probe(source, copy); err != nil {
		return nil, fmt.Errorf("probe: %w\n%s", err, logs.String())
	}
	for i := range changes {
		t, err := write(files[random.IntN(len(files))], fmt.Sprintf("change %d\n", i))
		if err != nil {
			return nil, fmt.Errorf("change %d: %w\n%s", i, err, logs.String())
		}
		took = append(took, t)
		pause(time.Duration(20+random.IntN(30)) * time.Millisecond)
	}
	return took, nil
}

// probe writes until something arrives: a tool that arms its watches after its
// first copy misses what is written in between.
func probe(source, copy string) error {
	last := time.Time{}
	n := 0
	return await(func() bool {
		if _, err := os.Stat(filepath.Join(copy, "tidemark-probe")); err == nil {
			return true
		}
		if time.Since(last) > time.Second {
			last = time.Now()
			n++
			_ = os.WriteFile(filepath.Join(source, "tidemark-probe"), fmt.Appendf(nil, "%d\n", n), 0o644) // tried again
		}
		return false
	})
}

func filesOf(root string) (files []string, err error) {
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && e.Name() == ".tidemark" {
			return filepath.SkipDir
		}
		if err == nil && e.Type().IsRegular() {
			name, err := filepath.Rel(root, path)
			files = append(files, name)
			return err
		}
		return err
	})
	return files, err
}

// await tries a condition every half millisecond.
func await(condition func() bool) error {
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			return fmt.Errorf("not there after %s", patience)
		}
		pause(500 * time.Microsecond)
	}
	return nil
}

func pause(d time.Duration) { <-time.After(d) }

// safeBuffer gathers the output of several programs.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
