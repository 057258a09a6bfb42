// Package yard tells whether a machine was quiet while something was measured: work that is always
// the same must take the same time before, between and after.
package yard

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"tidemark/bench/report"
)

// Spread is how far the medians of the yardstick may lie apart, as a share of the least of them, and Others
// which share of the processors other programs may take meanwhile.
const (
	Spread = 0.10
	Others = 0.10
)

// Stick is the work that is always the same.
type Stick struct {
	Dir     string // where small files are made; it must be there
	Samples int    // of each loop
	Length  int    // of each loop, for each processor, in sums of 4 KiB; a fifth of it in files
}

// Measure runs both loops, on all processors at once.
func (s Stick) Measure(at string) (y report.Yard, err error) {
	y.At = at
	busy, own, err := processors()
	if err != nil {
		return y, err
	}
	began := time.Now()
	for range s.Samples {
		for _, loop := range []struct {
			work    func(worker int) error
			samples *[]float64
		}{{s.spin, &y.Processor}, {s.files, &y.Files}} {
			start := time.Now()
			if err := onAll(loop.work); err != nil {
				return y, err
			}
			*loop.samples = append(*loop.samples, float64(time.Since(start).Microseconds())/1000)
		}
	}
	took := time.Since(began)
	busyNow, ownNow, err := processors()
	y.Others = share(busyNow-busy, ownNow-own, took, runtime.NumCPU())
	return y, err
}

// onAll does the work once for each processor, all at the same time.
func onAll(work func(worker int) error) error {
	var all sync.WaitGroup
	errs := make([]error, runtime.NumCPU())
	for i := range errs {
		all.Go(func() { errs[i] = work(i) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// spin is the processor loop: sums of 4 KiB.
func (s Stick) spin(int) error {
	block := make([]byte, 4096)
	for range s.Length {
		sum := sha256.Sum256(block)
		copy(block, sum[:])
	}
	return nil
}

// files is the loop of small files: each is made, read and removed.
func (s Stick) files(worker int) error {
	dir, err := os.MkdirTemp(s.Dir, fmt.Sprintf("yard-%d-", worker))
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	text := bytes.Repeat([]byte("yardstick"), 200)
	for i := range s.Length / 5 {
		name := filepath.Join(dir, strconv.Itoa(i%100))
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
		if got, err := os.ReadFile(name); err != nil || len(got) != len(text) {
			return fmt.Errorf("%s: %d bytes: %w", name, len(got), err)
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// share is which part of n processors others took, of what was busy.
func share(busy, own, took time.Duration, n int) float64 {
	return max(0, float64(busy-own)/float64(took)/float64(n))
}

// processors returns how long the processors of the machine were busy so far, all together, what the host of a
// virtual machine took included; and how long this program had them.
func processors() (busy, own time.Duration, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	if busy, err = parseBusy(string(text)); err != nil {
		return 0, 0, err
	}
	var usage syscall.Rusage
	err = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return busy, time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
}

// parseBusy reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, in
// hundredths of a second. What guests take is in user.
func parseBusy(stat string) (busy time.Duration, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if i != 3 && i != 4 { // neither idle nor waiting for a disk
			busy += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return busy, nil
}

// Judge returns why a run with these measurements is not good; nothing: it is.
func Judge(yards []report.Yard) (noise []string) {
	if len(yards) < 2 {
		return []string{"the yardstick was not measured before and after"}
	}
	for _, loop := range []struct {
		name string
		of   func(report.Yard) []float64
	}{
		{"processor loop", func(y report.Yard) []float64 { return y.Processor }},
		{"small-file loop", func(y report.Yard) []float64 { return y.Files }},
	} {
		least, most, atLeast, atMost := math.Inf(1), 0.0, "", ""
		for _, y := range yards {
			m := report.Median(loop.of(y))
			if m < least {
				least, atLeast = m, y.At
			}
			if m > most {
				most, atMost = m, y.At
			}
		}
		if !(most <= least*(1+Spread)) || least <= 0 {
			noise = append(noise, fmt.Sprintf("the %s took %s ms (%s) to %s ms (%s): %.0f %% apart, %.0f are allowed",
				loop.name, report.Number(least), atLeast, report.Number(most), atMost, 100*(most/least-1), 100*Spread))
		}
	}
	for _, y := range yards {
		if y.Others > Others {
			noise = append(noise, fmt.Sprintf("other programs took %.0f %% of the processors (%s), %.0f are allowed", 100*y.Others, y.At, 100*Others))
		}
	}
	return noise
}
