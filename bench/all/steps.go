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
		{"first-copy", words("firstcopy -files 10000 -rounds 3 -enough 5s -patience 60s -dir TREES -to COPIES")},
		{"no-change", words("firstcopy -files 10000 -rounds 5 -enough 5s -again -patience 60s -dir TREES -to COPIES")},
		{"one-change", words("latency -files 10000 -changes 60 -most 5s -patience 60s -dir TREES -to COPIES")},
		{"many-changes", words("latency -files 10000 -rate 1000 -for 4s -patience 60s -dir TREES -to COPIES")},
		{"listing", words("serve -rounds 2 -seconds 1 -only listing")},
		{"backup", words("backup -files 10000 -rounds 2 -dir TREES")},
		{"events", words("watch -dir TREES -rounds 2 -length 2s events")},
	},
	"full": {
		{"first-copy", words("firstcopy -files 100000 -rounds 5 -enough 2m -patience 10m -dir TREES -to COPIES")},
		{"no-change", words("firstcopy -files 100000 -rounds 5 -enough 2m -again -patience 10m -dir TREES -to COPIES")},
		{"one-change", words("latency -files 10000 -changes 100 -dir TREES -to COPIES")},
		{"one-change-100000", words("latency -files 100000 -changes 100 -most 60s -patience 10m -dir TREES -to COPIES")},
		{"many-changes", words("latency -files 10000 -rate 1000 -for 20s -dir TREES -to COPIES")},
		{"many-changes-100000", words("latency -files 100000 -rate 1000 -for 20s -patience 10m -dir TREES -to COPIES")},
		{"listing", words("serve -rounds 5")},
		{"first-copy-large", words("firstcopy -large 2147483648 -rounds 5 -dir TREES -to COPIES")},
		{"first-copy-linked", words("firstcopy -linked 30 -rounds 5 -dir TREES -to COPIES")},
		{"first-copy-sparse", words("firstcopy -large 4294967296 -data 104857600 -rounds 3 -dir TREES -to COPIES")},
		{"first-copy-million", words("firstcopy -files 1000000 -rounds 1 -patience 10m -dir TREES -to COPIES tidemark rsync tar")},
		{"no-change-million", words("firstcopy -files 1000000 -rounds 3 -again -patience 10m -dir TREES -to COPIES tidemark rsync")},
		{"one-change-million", words("latency -files 1000000 -changes 200 -most 60s -patience 10m -dir TREES -to COPIES tidemark lsyncd")},
		{"many-changes-million", words("latency -files 1000000 -rate 1000 -for 1m -patience 10m -dir TREES -to COPIES tidemark")},
		{"backup", words("backup -rounds 5 -dir TREES")},
		{"large", words("large -dir TREES -to COPIES")},
		{"audit", words("watch -dir TREES -rounds 5 audit")},
		{"events", words("watch -dir TREES -rounds 3 -length 5s events")},
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

// build compiles the benchmarks of all steps, before anything is measured.
func (s *stage) build(ctx context.Context, steps []step) error {
	for _, one := range steps {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", s.program(one), "./bench/"+one.args[0])
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build ./bench/%s: %w: %s", one.args[0], err, out)
		}
	}
	return nil
}

func (s *stage) program(one step) string { return filepath.Join(s.dir, one.args[0]) }

// run runs one benchmark, and returns what it found. A signal reaches it as SIGTERM: it ends what it
// started and removes its directories.
func (s *stage) run(ctx context.Context, one step) (report.Results, error) {
	fmt.Fprintf(os.Stderr, "\n## %s: bench/%s\n", one, strings.Join(one.args, " "))
	results := filepath.Join(s.dir, one.name+".json")
	args := []string{"-json", results}
	for _, arg := range one.args[1:] {
		args = append(args, strings.NewReplacer("TREES", s.trees, "COPIES", s.copies).Replace(arg))
	}
	cmd := exec.CommandContext(ctx, s.program(one), args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // or Ctrl-C would reach it twice
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return report.Read[report.Results](results)
}
