// All runs every comparison of docs/performance.md in one run: tidemark beside the programs that people mirror
// with, on trees that it makes. It prints medians and ratios, and writes a JSON file, a page with tables, and
// a plot for each question.
//
//	sh bench/deps; make all && go run ./bench/all [-size full|small] [-out DIR] [-only STEP,...] [-noise DIR]
//
// A yardstick is measured before, between and after the steps (bench/yard). If the machine was noisy, the run goes to
// a new directory below -noise, which is named, and the exit code is 1. Other exit codes: 0 the run is good, 2 not
// all of it could be made (then it goes below -noise, too), 130 a signal ended it. Peers that are missing are named, and the others measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tidemark/bench/report"
	"tidemark/bench/yard"
)

type options struct {
	size, out, noise string
	only             []string
}

// errNoisy and errFailed are why a run that came to its end is not good.
var (
	errNoisy  = errors.New("the machine was noisy, so this run is not good")
	errFailed = errors.New("not all steps were made, so this run is not good")
)

func main() {
	var o options
	only := flag.String("only", "", "steps, with commas between; empty: all of the size")
	flag.StringVar(&o.size, "size", "full", "full, or small: 10,000 files, a few minutes, for trying")
	flag.StringVar(&o.out, "out", "", "where a good run is written; empty: docs/performance, and build/bench if it is small")
	flag.StringVar(&o.noise, "noise", os.TempDir(), "where a run on a noisy machine is written")
	flag.Parse()
	if err := noArguments(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench/all:", err)
		os.Exit(2)
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, &o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/all:", err)
	}
	os.Exit(codeOf(ctx, err))
}

// noArguments refuses what is no option: the options after it would not count, and an hour and a half would begin.
func noArguments(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q: steps are chosen by -only, see -h", args[0])
}

func codeOf(ctx context.Context, err error) int {
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		return 130
	case errors.Is(err, errNoisy):
		return 1
	}
	return 2
}

func run(ctx context.Context, o *options, out io.Writer) error {
	steps, err := stepsOf(o.size, o.only)
	if err != nil {
		return err
	}
	if err := o.canWrite(); err != nil {
		return err
	}
	stage, err := newStage(ctx)
	defer stage.remove()
	if err != nil {
		return err
	}
	found := &report.Run{Format: 1, Began: time.Now().UTC(), Size: o.size, Machine: machine(stage), Versions: versions(ctx), Missing: missing()}
	for _, line := range found.Missing {
		fmt.Fprintln(os.Stderr, "not measured:", line)
	}
	if err := stage.build(ctx, steps); err != nil {
		return err
	}
	if err := measure(ctx, stage, steps, found); err != nil {
		return err
	}
	found.Ended = time.Now().UTC()
	found.Noise = yard.Judge(found.Yardstick)
	found.Good = len(found.Noise) == 0 && len(found.Failed) == 0
	return publish(o, found, out)
}

// settle is how long the machine may free what a step used.
const settle = 2 * time.Second

// measure runs all steps, and the yardstick before each and after the last one. A step that fails does not stop the others;
// a signal does.
func measure(ctx context.Context, stage *stage, steps []step, found *report.Run) error {
	all := report.Results{}
	for i, one := range steps {
		at := one.name
		if i == 0 {
			at = "before"
		}
		if err := measureYard(stage, at, found); err != nil {
			return err
		}
		results, err := stage.run(ctx, one)
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", one, ctx.Err())
		}
		if err != nil {
			found.Failed = append(found.Failed, fmt.Sprintf("%s: %v", one, err))
			fmt.Fprintf(os.Stderr, "%s failed: %v\n", one, err)
		}
		all.Merge(results)
	}
	found.Questions = all
	return measureYard(stage, "after", found)
}

func measureYard(stage *stage, at string, found *report.Run) error {
	<-time.After(settle)
	y, err := yard.Stick{Dir: stage.trees, Samples: 7, Length: 20_000}.Measure(at)
	if err != nil {
		return fmt.Errorf("yardstick: %w", err)
	}
	found.Yardstick = append(found.Yardstick, y)
	fmt.Fprintf(os.Stderr, "yardstick (%s): processor %s ms, small files %s ms, others took %.0f %%\n", at,
		report.Number(report.Median(y.Processor)), report.Number(report.Median(y.Files)), 100*y.Others)
	if y.Others > yard.Others {
		fmt.Fprintf(os.Stderr, "other programs took more than %.0f %%: this run will not be good; Ctrl-C ends it and removes what it made\n", 100*yard.Others)
	}
	return nil
}

// target returns where a good run is written.
func (o *options) target() string {
	switch {
	case o.out != "":
		return o.out
	case o.size == "full" && len(o.only) == 0:
		return "docs/performance"
	}
	return "build/bench"
}

// mayWrite is W_OK of access(2).
const mayWrite = 2

// canWrite looks before the run whether its results can be written after it: an hour and a half would be lost.
func (o *options) canWrite() error {
	if err := syscall.Access(o.noise, mayWrite); err != nil {
		return fmt.Errorf("-noise %s: %w", o.noise, err)
	}
	dir := o.target()
	for err := syscall.Access(dir, mayWrite); err != nil; err = syscall.Access(dir, mayWrite) {
		if up := filepath.Dir(dir); errors.Is(err, syscall.ENOENT) && up != dir {
			dir = up // it will be made
			continue
		}
		return fmt.Errorf("-out %s: %w", o.target(), err)
	}
	return nil
}

// publish prints the run, and writes it where it belongs.
func publish(o *options, found *report.Run, out io.Writer) error {
	if err := report.Table(out, found.Questions); err != nil {
		return err
	}
	dir := o.target()
	if !found.Good {
		made, err := os.MkdirTemp(o.noise, "tidemark-noisy-run-")
		if err != nil {
			return err
		}
		dir = made
	}
	if err := report.Publish(dir, found); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nwritten to %s\n", dir)
	switch {
	case len(found.Failed) > 0:
		return fmt.Errorf("%w; the others are in %s:\n  %s", errFailed, dir, strings.Join(found.Failed, "\n  "))
	case !found.Good:
		return fmt.Errorf("%w; it is in %s:\n  %s", errNoisy, dir, strings.Join(found.Noise, "\n  "))
	}
	return nil
}

// stage is where the steps work. It is gone after the run, whatever happens.
type stage struct {
	dir, trees, copies string
	mounted            []string
}

// newStage makes the place for trees and the one for copies: file systems in memory of their own, as root. watch
// hears a whole file system, so copies on that of the tree would cost the watcher, mirror and rsync what they do not
// cost on two machines.
func newStage(ctx context.Context) (*stage, error) {
	dir, err := os.MkdirTemp("/dev/shm", "tidemark-bench-")
	if err != nil {
		return &stage{}, err
	}
	s := &stage{dir: dir, trees: filepath.Join(dir, "trees"), copies: filepath.Join(dir, "copies")}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(s.trees, 0o755), os.Mkdir(s.copies, 0o755)); err != nil {
		return s, err
	}
	for _, at := range []string{s.trees, s.copies} {
		if err := syscall.Mount("tidemark-bench", at, "tmpfs", 0, "size=60%,nr_inodes=0,mode=755"); err != nil {
			fmt.Fprintf(os.Stderr, "bench/all: no file system of its own for trees and copies: %v\n", err)
			break
		}
		s.mounted = append(s.mounted, at)
	}
	return s, ctx.Err()
}

// isApart reports whether trees and copies have a file system each.
func (s *stage) isApart() bool { return len(s.mounted) == 2 }

func (s *stage) remove() {
	for _, at := range slices.Backward(s.mounted) {
		_ = syscall.Unmount(at, syscall.MNT_DETACH)
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}
