// Versions measures two builds of the three programs side by side in one run, in
// alternating rounds, and prints a table in Markdown: what a change costs by the width of
// its directory, in a large tree and at a rate, what followers cost serve, the first copy,
// and watch's events.
//
//	go run ./bench/versions -before DIR [-now bin] [-size full] [part...]
//
// DIR has the programs watch, serve and mirror of the earlier build. Parts are wide, busy, tree,
// clients, firstcopy and events; all of them if none is named. It needs Debian's strace
// and rsync, and a machine that does nothing else. `sh bench/beside DIR [quick]` builds
// what it needs and runs it.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tidemark/bench/rig"
)

// bench is one run.
type bench struct {
	builds [2]build // the one before, and the present one
	dir    string   // where trees are made
	copies string   // where first copies are made: on another file system, which watch does not hear
	sizes
}

// build is a directory with the three programs.
type build struct{ name, bin string }

func (b build) program(name string) string { return filepath.Join(b.bin, name) }

// sizes is how much is measured.
type sizes struct {
	rounds      int           // of most parts, each with both builds
	widths      []int         // entries of the wide directory
	wideChanges int           // in each round; less if they take longer than wideTime
	wideTime    time.Duration // for each round
	busyWidth   int           // entries of the directory in which a file changes all the time
	files       int           // of the tree
	changes     int           // in the tree, one by one, in each round
	rates       []rate
	rateRounds  int
	followed    int // files of the tree that clients follow
	clients     int
	follow      time.Duration // how long they do
	copied      int           // files of the first copy
	events      time.Duration // how long watch hears events, in each round
	idle        time.Duration
}

// rate is a number of changes a second for a while, and its goals.
type rate struct {
	changes int
	length  time.Duration
	lag     string // goal of the lag's p99
	share   string // goal of the processor time; "": none
}

var allSizes = map[string]sizes{
	"full": {3, []int{10_000, 1_000_000}, 100, 20 * time.Second, 100_000, 1_000_000, 300,
		[]rate{{1000, time.Minute, "≤ 50 ms", "≤ 0.4"}, {5000, 30 * time.Second, "≤ 1 s", ""}}, 2,
		100_000, 50, 10 * time.Second, 100_000, 10 * time.Second, 10 * time.Second},
	"quick": {2, []int{10_000, 100_000}, 50, 5 * time.Second, 20_000, 100_000, 100,
		[]rate{{1000, 10 * time.Second, "≤ 50 ms", "≤ 0.4"}, {5000, 5 * time.Second, "≤ 1 s", ""}}, 1,
		20_000, 50, 5 * time.Second, 20_000, 3 * time.Second, 5 * time.Second},
	"tiny": {1, []int{100, 1000}, 5, time.Second, 1000, 1000, 5,
		[]rate{{100, time.Second, "≤ 50 ms", "≤ 0.4"}}, 1,
		1000, 5, time.Second, 1000, time.Second, time.Second},
}

func main() {
	before := flag.String("before", "", "the directory of the programs to compare with")
	now := flag.String("now", "bin", "the directory of the present programs")
	dir := flag.String("dir", "/dev/shm", "where trees are made")
	copies := flag.String("copies", "", "where first copies are made; empty: where trees are, and watch hears them")
	size := flag.String("size", "full", "full (half an hour, 16 GB of memory), quick (minutes) or tiny (to try it out)")
	flag.Parse()
	err := errors.New("want -before DIR, and -size full, quick or tiny")
	if s, known := allSizes[*size]; known && *before != "" {
		b := &bench{[2]build{{"before", *before}, {"now", *now}}, *dir, cmp.Or(*copies, *dir), s}
		err = b.run(flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "versions:", err)
		os.Exit(1)
	}
}

func (b *bench) run(parts []string) error {
	if len(parts) == 0 {
		parts = []string{"wide", "busy", "tree", "clients", "firstcopy", "events"}
	}
	fmt.Println("| work | goal | before | now | now / before |\n| --- | --- | --- | --- | --- |")
	for _, part := range parts {
		measure, known := map[string]func(work string) error{
			"wide": b.wide, "busy": b.busy, "tree": b.tree, "clients": b.crowd, "firstcopy": b.firstCopy, "events": b.hear,
		}[part]
		if !known {
			return fmt.Errorf("no part %q", part)
		}
		if err := b.inScratch(measure); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	return nil
}

// inScratch runs a part with a directory of its own.
func (b *bench) inScratch(measure func(work string) error) error {
	work, err := rig.Scratch(b.dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	return measure(work)
}

// turns calls once for each build in each round. Which one begins alternates.
func turns(rounds int, call func(build int) error) error {
	for turn := range 2 * rounds {
		if err := call((turn%2 + turn/2) % 2); err != nil {
			return err
		}
	}
	return nil
}
