package rig

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"tidemark/bench/report"
)

// Patience is how long one run of a tool may take, and a program to get ready. Options may set it, before
// anything begins.
var Patience = 4 * time.Minute

// A comparison runs each tool once in each round. So a machine that is busy for a while
// is busy for all of them.

// Tool is one program of a comparison.
type Tool struct {
	Name string
	Run  func() (Cost, error) // does the work once and nothing else
}

// Cost is what a run took.
type Cost struct {
	Wall time.Duration
	CPU  time.Duration // of the programs that were started for it and ended, not of servers
	RSS  int64         // most memory of the program itself, in bytes, looked at every 20 ms
}

// ErrFailed is what a tool returns that did not do its work, and told why elsewhere. The others go on.
var ErrFailed = errors.New("not measured")

// Row returns what a tool cost as a row of a report, in seconds.
func Row(tool string, costs []Cost) report.Row {
	r := report.Row{Tool: tool}
	var memory []float64
	for _, c := range costs {
		r.Samples, r.Processor = append(r.Samples, c.Wall.Seconds()), append(r.Processor, c.CPU.Seconds())
		memory = append(memory, float64(c.RSS))
	}
	r.Memory = report.Median(memory)
	return r
}

// Rounds runs all tools, one after another, as many times as rounds says. It returns
// what they cost, by tool and round.
func Rounds(rounds int, tools []Tool, each func(tool string, round int, c Cost)) (map[string][]Cost, error) {
	all := map[string][]Cost{}
	for round := range rounds {
		for i := range tools {
			t := &tools[(i+round)%len(tools)]
			cost, err := t.Run()
			if errors.Is(err, ErrFailed) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.Name, err)
			}
			all[t.Name] = append(all[t.Name], cost)
			if each != nil {
				each(t.Name, round, cost)
			}
		}
	}
	return all, nil
}

// Table prints a row for each tool: medians, and the first tool compared with it.
func Table(tools []Tool, all map[string][]Cost) {
	fmt.Printf("%-28s %9s %9s %9s %9s %10s %s\n", "tool", "median", "least", "most", "CPU", "memory", "tidemark / it")
	first := Median(all[tools[0].Name], wall)
	for _, t := range tools {
		costs := all[t.Name]
		least := slices.MinFunc(costs, func(a, b Cost) int { return cmp.Compare(a.Wall, b.Wall) })
		most := slices.MaxFunc(costs, func(a, b Cost) int { return cmp.Compare(a.Wall, b.Wall) })
		median := Median(costs, wall)
		fmt.Printf("%-28s %8.3fs %8.3fs %8.3fs %8.2fs %7.1f MB %.2f\n", t.Name, median.Seconds(), least.Wall.Seconds(), most.Wall.Seconds(),
			Median(costs, func(c Cost) time.Duration { return c.CPU }).Seconds(),
			float64(Median(costs, func(c Cost) int64 { return c.RSS }))/1e6, float64(first)/float64(median))
	}
}

func wall(c Cost) time.Duration { return c.Wall }

// Median returns the median of the values that get returns of each cost.
func Median[T ~int64](costs []Cost, get func(Cost) T) T {
	values := make([]float64, len(costs))
	for i := range costs {
		values[i] = float64(get(costs[i]))
	}
	return T(report.Median(values))
}

// Command runs a command to its end and returns what it cost. If it fails, the error
// has what it printed.
func Command(command ...string) (Cost, error) {
	cmd := exec.Command(command[0], command[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := begin(cmd); err != nil {
		return Cost{}, err
	}
	defer forget(cmd.Process.Pid, "")
	defer time.AfterFunc(Patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }).Stop()
	ended := make(chan struct{})
	peak := make(chan int64)
	go func() { peak <- peakOf(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	took := time.Since(began)
	close(ended)
	cost := Cost{took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), <-peak}
	if err != nil {
		return cost, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out.String())
	}
	return cost, nil
}

// peakOf looks at a process until ended is closed. The maximum that wait(2) returns would
// include the memory of the program that started it.
func peakOf(pid int, ended <-chan struct{}) (most int64) {
	for {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		most = max(most, 1024*Number(string(text), `(?m)^VmHWM:\s+(\d+)`))
		select {
		case <-ended:
			return most
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Await tests a condition every half millisecond. The first error of failed ends it.
func Await(condition func() bool, failed ...func() error) error {
	deadline := time.Now().Add(Patience)
	for !condition() {
		for _, check := range failed {
			if err := check(); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not there after %s", Patience)
		}
		<-time.After(500 * time.Microsecond)
	}
	return nil
}
