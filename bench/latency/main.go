// Latency measures, side by side in one run, how long a write in a source tree
// takes until it can be read in the copy: tidemark, lsyncd with a delay of 1 s,
// and the inotifywait script of 2009 that runs rsync for every event.
//
//	go run ./bench/latency [-files N] [-changes 200] [tidemark lsyncd inotifywait]
//	go run ./bench/latency [-files N] -rate 1000 -for 1m tidemark
//
// With -rate it writes that many times a second, to files anywhere in the tree, and
// measures how long every fiftieth write takes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"time"

	"tidemark/bench/rig"
)

type options struct {
	rig.Options
	changes, rate int
	length        time.Duration
	seed          uint64
}

func main() {
	var o options
	flag.IntVar(&o.changes, "changes", 200, "writes measured for each tool")
	flag.IntVar(&o.rate, "rate", 0, "writes a second; 0: one after another, 20 to 50 ms apart")
	flag.DurationVar(&o.length, "for", time.Minute, "how long, with -rate")
	flag.Uint64Var(&o.seed, "seed", 1, "which files are written")
	o.Main("latency", 0, func() error { return run(&o) })
}

// tools are the peers by name, and how each keeps copy equal to source. The commands run
// until they are killed.
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

func run(o *options) error {
	for _, tool := range tools {
		if !o.Wants(tool.name) {
			continue
		}
		if _, err := exec.LookPath(tool.name); err != nil && tool.name != "tidemark" {
			return fmt.Errorf("%w: apt-get install lsyncd inotify-tools rsync", err)
		}
		took, err := measure(o, tool.commands)
		if err != nil {
			return fmt.Errorf("%s: %w", tool.name, err)
		}
		at := func(share float64) float64 { return float64(rig.Quantile(took, share)) / float64(time.Millisecond) }
		fmt.Printf("%-12s %4d writes: p50 %8.1f ms   p90 %8.1f ms   p99 %8.1f ms   most %8.1f ms\n",
			tool.name, len(took), at(0.5), at(0.9), at(0.99), at(1))
	}
	return nil
}

// measure lets one tool keep a copy of a new tree, and writes to the tree.
func measure(o *options, commands func(source, copy, work string) [][]string) (took []time.Duration, err error) {
	work, copies, remove, err := o.Scratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	source, copy := work+"/source", copies+"/copy"
	if err := errors.Join(os.Mkdir(copy, 0o755), rig.Source(source, o.Files)); err != nil {
		return nil, err
	}
	files, err := rig.FilesOf(source)
	if err != nil {
		return nil, err
	}
	<-time.After(rig.TooNew)
	var programs []*rig.Program
	defer func() {
		for _, p := range programs {
			p.Stop()
			if err != nil {
				err = fmt.Errorf("%w\n%s", err, p.Log())
			}
		}
	}()
	for _, command := range commands(source, copy, work) {
		p, err := rig.Start(work, command[0], command[1:]...)
		if err != nil {
			return nil, err
		}
		programs = append(programs, p)
		ready := map[string]string{"bin/watch": "armed", "bin/mirror": "listed [0-9]+ dir"}[command[0]]
		if err := p.WaitFor(ready); err != nil {
			return nil, err
		}
	}
	if err := rig.Probe(source, copy); err != nil {
		return nil, fmt.Errorf("first copy: %w", err)
	}
	o.Hold()
	before := cpuOf(programs)
	began := time.Now()
	w := &rig.Writer{Source: source, Copy: copy, Files: files, Random: rand.New(rand.NewPCG(o.seed, 0))}
	if o.rate > 0 {
		took, err = w.AtRate(o.rate, o.length)
	} else {
		took, err = w.OneByOne(o.changes, 0)
	}
	tellShares(programs, before, time.Since(began))
	return took, err
}

// cpuOf returns the processor time of each program so far, and as the last one that of
// this program, which writes and looks.
func cpuOf(programs []*rig.Program) (all []time.Duration) {
	for _, p := range programs {
		c, _ := p.Counts() // zero for a program that has ended
		all = append(all, c.CPU)
	}
	var own syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	return append(all, time.Duration(own.Utime.Nano()+own.Stime.Nano()))
}

// tellShares prints which share of one processor each program used, and the most memory
// that it ever had.
func tellShares(programs []*rig.Program, before []time.Duration, took time.Duration) {
	after := cpuOf(programs)
	share := func(i int) float64 { return 100 * float64(after[i]-before[i]) / float64(took) }
	for i, p := range programs {
		c, _ := p.Counts()
		fmt.Fprintf(os.Stderr, "%s: %.0f%% of a processor, most memory %.1f MB\n", p.Name, share(i), float64(c.Peak)/1e6)
	}
	fmt.Fprintf(os.Stderr, "this: %.0f%% of a processor\n", share(len(programs)))
}
