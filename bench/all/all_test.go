package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/bench/peers"
	"tidemark/bench/report"
)

func TestStepsAreThere(t *testing.T) {
	for size, all := range steps {
		seen := map[string]bool{}
		for _, s := range all {
			require.False(t, seen[s.name], "%s: two steps are named %s", size, s)
			seen[s.name] = true
			source, err := os.ReadFile(filepath.Join("..", s.args[0], "main.go"))
			require.NoError(t, err, s)
			require.Regexp(t, `"json"|\.Main\(`, string(source), "%s has no -json", s)
			for _, arg := range s.args[1:] {
				if name, ok := strings.CutPrefix(arg, "-"); ok && !shared[name] {
					require.Contains(t, string(source), `"`+name+`"`, "%s has no option %s", s.args[0], arg)
				}
			}
		}
	}
}

// shared are the options that rig gives.
var shared = map[string]bool{"files": true, "dir": true, "to": true, "patience": true}

func TestStepsAreChosen(t *testing.T) {
	some, err := stepsOf("small", []string{"one-change", "first-copy"})
	require.NoError(t, err)
	require.Equal(t, []string{"first-copy", "one-change"}, []string{some[0].name, some[1].name}, "in their order")
	require.Len(t, some, 2)
	all, err := stepsOf("full", nil)
	require.NoError(t, err)
	require.Equal(t, steps["full"], all)
	_, err = stepsOf("small", []string{"nothing"})
	require.ErrorContains(t, err, `no step "nothing"`)
	_, err = stepsOf("medium", nil)
	require.ErrorContains(t, err, `no size "medium"`)
}

// The five questions that are always plotted are in both sizes.
func TestTheFiveQuestions(t *testing.T) {
	for size := range steps {
		_, err := stepsOf(size, []string{"first-copy", "one-change", "no-change", "listing", "many-changes"})
		require.NoError(t, err)
	}
}

// found is a run with one question.
func found(noise ...string) *report.Run {
	c := report.Case{Name: "10 files", Rows: []report.Row{{Tool: report.Own, Samples: []float64{1}}, {Tool: "cp -a", Samples: []float64{2}}}}
	run := &report.Run{Began: time.Unix(0, 0), Noise: noise, Good: len(noise) == 0}
	questions := report.Results{}
	questions.Add(report.Question{Name: "first-copy", Title: "First copy", Unit: "s"}, c)
	run.Questions = questions
	return run
}

func TestANoisyRunIsNeverPublished(t *testing.T) {
	t.Chdir(t.TempDir())
	noise := t.TempDir()
	var out bytes.Buffer
	for _, o := range []options{{size: "full"}, {size: "small"}, {size: "full", out: "mine"}} {
		o.noise = noise
		err := publish(&o, found("others took half"), &out)
		require.ErrorIs(t, err, errNoisy)
		require.ErrorContains(t, err, "others took half")
		require.Equal(t, 1, codeOf(t.Context(), err))
	}
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	require.Empty(t, entries, "nothing where good runs go")
	runs, err := filepath.Glob(noise + "/tidemark-noisy-run-*/first-copy.svg")
	require.NoError(t, err)
	require.Len(t, runs, 3)
	require.Contains(t, out.String(), noise)
}

func TestARunThatLacksAStepIsNeverPublished(t *testing.T) {
	t.Chdir(t.TempDir())
	noise := t.TempDir()
	run := found()
	run.Good, run.Failed = false, []string{"large: exit status 1"}
	err := publish(&options{size: "full", noise: noise}, run, &bytes.Buffer{})
	require.ErrorIs(t, err, errFailed)
	require.ErrorContains(t, err, "large: exit status 1")
	require.Equal(t, 2, codeOf(t.Context(), err))
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestAGoodRunIsPublished(t *testing.T) {
	for dir, o := range map[string]options{
		"docs/performance": {size: "full"},
		"build/bench":      {size: "small"},
		"./build/bench":    {size: "full", only: []string{"listing"}}, // a part of the page would take the place of all
		"mine":             {size: "small", out: "mine"},
	} {
		t.Chdir(t.TempDir())
		var out bytes.Buffer
		require.NoError(t, publish(&o, found(), &out))
		for _, name := range []string{"README.md", "first-copy.svg"} {
			require.FileExists(t, filepath.Join(dir, name))
		}
		require.Contains(t, out.String(), "| cp -a | 2.00 |")
	}
}

// BENCH='first-copy -size small' began the whole run: behind an argument no option counts.
func TestNoArguments(t *testing.T) {
	require.NoError(t, noArguments(nil))
	require.ErrorContains(t, noArguments([]string{"first-copy", "-size", "small"}), `unexpected argument "first-copy": steps are chosen by -only`)
}

// Where nothing could be written that was said after the run, and its samples were lost.
func TestWhereNothingCanBeWritten(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/file", nil, 0o644))
	require.NoError(t, (&options{size: "small", noise: dir, out: dir + "/new/below"}).canWrite())
	for want, o := range map[string]options{
		"-noise " + dir + "/none: no such file or directory": {noise: dir + "/none", out: dir},
		"-out " + dir + "/file/below: not a directory":       {noise: dir, out: dir + "/file/below"},
	} {
		require.EqualError(t, o.canWrite(), want)
	}
	require.EqualError(t, run(t.Context(), &options{size: "small", noise: dir + "/none"}, &bytes.Buffer{}), "-noise "+dir+"/none: no such file or directory")
}

func TestExitCodes(t *testing.T) {
	require.Zero(t, codeOf(t.Context(), nil))
	require.Equal(t, 2, codeOf(t.Context(), errors.New("no")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, 130, codeOf(ctx, fmt.Errorf("one-change: %w", context.Canceled)))
}

// bench/deps installs every program that is compared, but for those that each Debian has and Go itself.
func TestDepsInstallsThePeers(t *testing.T) {
	text, err := os.ReadFile("../deps")
	require.NoError(t, err)
	everywhere := map[string]bool{"tar": true, "cp": true, "find": true, "go": true, "bin/mirror": true}
	needed := map[string]bool{}
	for _, p := range programs {
		needed[p.name] = true
	}
	tools, _ := peers.Tools(&peers.Servers{}, "", "")
	for _, t := range tools {
		for _, name := range t.Needs {
			needed[name] = true
		}
	}
	for _, f := range peers.Followers(false) {
		for _, name := range f.Needs {
			needed[name] = true
		}
	}
	for name := range needed {
		if !everywhere[name] {
			require.Regexp(t, `\s`+name+"=", string(text), "bench/deps does not install it")
		}
	}
}

func TestTheStageIsRemoved(t *testing.T) {
	s, err := newStage(t.Context())
	require.NoError(t, err)
	defer s.remove()
	for _, dir := range []string{s.trees, s.copies} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	}
	s.remove()
	require.NoDirExists(t, s.dir)
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), s.dir)
}
