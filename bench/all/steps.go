package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tidemark/bench/report"
)

// step is one benchmark of this directory with its arguments. TREES and COPIES in them are the directories of the
// stage.
type step struct {
	name string // for -only
	args []string
}

func (s step) String() string { return s.name }

// steps are all of them, by size.
var steps = map[string][]step{
	"small": {
		{"first-copy", words("firstcopy -files 10000 -rounds 1 -patience 60s -dir TREES -to COPIES")},
		{"no-change", words("firstcopy -files 10000 -rounds 2 -again -patience 60s -dir TREES -to COPIES")},
		{"one-change", words("latency -files 10000 -changes 40 -most 6s -patience 60s -dir TREES -to COPIES")},
		{"many-changes", words("latency -files 10000 -rate 1000 -for 4s -patience 60s -dir TREES -to COPIES")},
	},
	"full": {
		{"first-copy", words("firstcopy -files 100000 -rounds 5 -dir TREES -to COPIES")},
		{"no-change", words("firstcopy -files 100000 -rounds 5 -again -dir TREES -to COPIES")},
		{"one-change", words("latency -files 0 -changes 100 -dir TREES -to COPIES")},
		{"many-changes", words("latency -files 100000 -rate 1000 -for 20s -dir TREES -to COPIES")},
	},
}

func words(text string) []string { return strings.Fields(text) }

// stepsOf returns the steps of a size that are asked for; all, if none is.
func stepsOf(size string, only []string) (some []step, err error) {
	all, ok := steps[size]
	if !ok {
		return nil, fmt.Errorf("no size %q: small or full", size)
	}
	for _, name := range only {
		if !slices.ContainsFunc(all, func(s step) bool { return s.name == name }) {
			return nil, fmt.Errorf("no step %q of size %s", name, size)
		}
	}
	for _, s := range all {
		if len(only) == 0 || slices.Contains(only, s.name) {
			some = append(some, s)
		}
	}
	return some, nil
}

// run builds and runs one benchmark, and returns what it found. A signal reaches it as SIGTERM: it ends what it
// started and removes its directories.
func (s *stage) run(ctx context.Context, one step) (report.Results, error) {
	fmt.Fprintf(os.Stderr, "\n## %s: bench/%s\n", one, strings.Join(one.args, " "))
	program, results := filepath.Join(s.dir, one.args[0]), filepath.Join(s.dir, one.name+".json")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./bench/"+one.args[0]).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, out)
	}
	args := []string{"-json", results}
	for _, arg := range one.args[1:] {
		args = append(args, strings.NewReplacer("TREES", s.trees, "COPIES", s.copies).Replace(arg))
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // or Ctrl-C would reach it twice
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return report.Read[report.Results](results)
}
