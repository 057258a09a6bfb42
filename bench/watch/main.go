// Watch measures the watcher beside find and inotifywait, in one run.
//
//	go run ./bench/watch [-dir DIR] [-rounds 5] [audit events latency idle]
//
// audit: a tree of 1,000,000 files in 10,101 directories is scanned by find
// (-printf '%T@', output thrown away), scanned and armed by watch with either
// backend (a restart, so nothing has changed), and armed by inotifywait -mr, one
// after another. events: writes at a steady rate, processor time per event of watch
// and of inotifywait -m. latency: from a write until the root carries its stamp.
// idle: wake-ups and bytes written in ten seconds.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tidemark/bench/report"
	"tidemark/bench/rig"
)

// bench is one run.
type bench struct {
	work   string
	rounds int
	rate   int // changes a second
	events int // events a second
	length time.Duration
	files  int // audit
	found  report.Results
}

func main() {
	var b bench
	flag.StringVar(&b.work, "dir", "/dev/shm", "where the trees are made")
	flag.IntVar(&b.rounds, "rounds", 5, "measurements of each")
	flag.IntVar(&b.rate, "changes", 1000, "latency: changes a second")
	flag.IntVar(&b.events, "events", 50000, "events: events a second")
	flag.DurationVar(&b.length, "length", 30*time.Second, "events, latency: how long")
	flag.IntVar(&b.files, "files", 1_000_000, "audit: how many the tree has, in hundreds of hundreds")
	results := flag.String("json", "", "write samples and medians to this file, for bench/all")
	flag.Parse()
	err := b.run(flag.Args())
	if err == nil && *results != "" {
		err = report.Write(*results, b.found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "watch:", err)
		os.Exit(1)
	}
}

func (b *bench) run(parts []string) (err error) {
	if len(parts) == 0 {
		parts = []string{"audit", "events", "latency", "idle"}
	}
	if b.work, err = rig.Scratch(b.work); err != nil {
		return err
	}
	defer rig.RemoveScratch(b.work)
	for _, part := range parts {
		switch part {
		case "audit":
			err = b.audit()
		case "events":
			err = b.flood()
		case "latency":
			err = b.latency()
		case "idle":
			err = b.idle()
		default:
			err = fmt.Errorf("no part %q", part)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	return nil
}

var backends = []string{"inotify", "fanotify"}

func (b *bench) audit() error {
	tree := filepath.Join(b.work, "million")
	if _, err := rig.Tree(tree, b.files/10_000, 100, 100, 0); err != nil {
		return err
	}
	if err := exec.Command("bin/watch", "--once", tree).Run(); err != nil {
		return err
	}
	seconds := map[string][]float64{}
	peak := map[string]int64{}
	for range b.rounds {
		took, err := rig.Seconds(func() error {
			return exec.Command("sh", "-c", `find "$1" -printf '%T@\n' >/dev/null`, "find", tree).Run()
		})
		if err != nil {
			return err
		}
		seconds["find"] = append(seconds["find"], took)
		for _, backend := range backends {
			took, most, err := b.armed("armed", "bin/watch", "--backend", backend, tree)
			if err != nil {
				return err
			}
			seconds[backend], peak[backend] = append(seconds[backend], took), max(peak[backend], most)
		}
		took, most, err := b.armed("Watches established", "inotifywait", "-mr", "-e", "create,move,delete,modify,close_write,attrib", tree)
		if err != nil {
			return err
		}
		seconds["inotifywait"], peak["inotifywait"] = append(seconds["inotifywait"], took), max(peak["inotifywait"], most)
	}
	find := rig.Quantile(seconds["find"], 0.5)
	for _, name := range []string{"find", "inotify", "fanotify", "inotifywait"} {
		fmt.Printf("audit of %s files  %-12s median %.2f s = %.2f x find  (%.2f to %.2f s)  most memory %.1f MB\n", report.Thousands(b.files), name,
			rig.Quantile(seconds[name], 0.5), rig.Quantile(seconds[name], 0.5)/find, slices.Min(seconds[name]), slices.Max(seconds[name]), float64(peak[name])/1e6)
	}
	b.found.Add(report.Question{Name: "audit", Title: "Scanning and arming a tree in which nothing has changed", Unit: "s"},
		report.Case{Name: report.Thousands(b.files) + " empty files", Rows: rowsOf(seconds, peak)})
	return os.RemoveAll(tree)
}

// rowsOf are the rows of a report, by the names that this benchmark has for tools. fanotify is what watch does as root.
func rowsOf(samples map[string][]float64, peak map[string]int64) (rows []report.Row) {
	for _, t := range []struct{ key, name string }{{"fanotify", report.Own}, {"inotify", report.Own + ", inotify"}, {"inotifywait", "inotifywait -mr"}, {"find", "find"}} {
		if len(samples[t.key]) > 0 {
			rows = append(rows, report.Row{Tool: t.name, Samples: slices.Clone(samples[t.key]), Memory: float64(peak[t.key])})
		}
	}
	return rows
}

// armed starts a program and returns how long it took until it reported that it is
// armed.
func (b *bench) armed(says, name string, args ...string) (seconds float64, peak int64, err error) {
	began := time.Now()
	p, err := rig.Start(b.work, name, args...)
	if err != nil {
		return 0, 0, err
	}
	defer p.Stop()
	if err := p.WaitFor(says); err != nil {
		return 0, 0, err
	}
	seconds = time.Since(began).Seconds()
	c, err := p.Counts()
	return seconds, c.Peak, err
}

// flood overwrites a byte of 1,000 files at a rate and prints what each write costs the
// watcher.
func (b *bench) flood() error {
	tree := filepath.Join(b.work, "flood")
	leaves, err := rig.Tree(tree, 10, 10, 10, 100)
	if err != nil {
		return err
	}
	commands := []struct{ name, says, run string }{
		{"fanotify", "armed", "exec bin/watch --backend fanotify " + tree},
		{"inotify", "armed", "exec bin/watch --backend inotify " + tree},
		{"inotifywait", "Watches established", "exec inotifywait -mr -e create,move,delete,modify,close_write,attrib --exclude '/\\.tidemark' " + tree + " >/dev/null"},
	}
	cost := map[string][]float64{}
	for range b.rounds {
		for _, c := range commands {
			p, err := rig.Start(b.work, "sh", "-c", c.run)
			if err == nil {
				err = p.WaitFor(c.says)
			}
			var each float64
			if err == nil {
				each, err = b.overwrite(p, c.name, leaves)
			}
			if err != nil {
				return err
			}
			if c.name != "inotifywait" {
				status, _ := os.ReadFile(tree + "/.tidemark/status.json")
				fmt.Printf("  losses %d, events %d, batches %d", rig.Number(string(status), `"losses_total": ?(\d+)`),
					rig.Number(string(status), `"events_total": ?(\d+)`), rig.Number(string(status), `"batches_total": ?(\d+)`))
			}
			fmt.Println()
			p.Stop()
			cost[c.name] = append(cost[c.name], each)
		}
	}
	peer := rig.Quantile(cost["inotifywait"], 0.5)
	for _, c := range commands {
		each := rig.Quantile(cost[c.name], 0.5)
		fmt.Printf("processor time a write  %-12s median %.2f µs = %.2f x inotifywait\n", c.name, each, each/peer)
	}
	b.found.Add(report.Question{Name: "events", Title: "Hearing writes: processor time for each", Unit: "µs"},
		report.Case{Name: report.Thousands(b.events) + " writes a second over 1,000 files", Rows: rowsOf(cost, nil)})
	return os.RemoveAll(tree)
}

// overwrite writes for a while, prints what that cost p, and returns the processor time
// for each write in microseconds.
func (b *bench) overwrite(p *rig.Program, name string, leaves []string) (each float64, err error) {
	made, spent, err := rig.Overwrite(p, leaves, b.events, b.length)
	if err != nil {
		return 0, err
	}
	c, err := p.Counts()
	if err != nil {
		return 0, err
	}
	each = float64(spent.Microseconds()) / float64(made)
	fmt.Printf("%d writes in %s  %-12s processor %.2f s = %.2f µs a write  most memory %.1f MB", made, b.length, name,
		spent.Seconds(), each, float64(c.Peak)/1e6)
	return each, nil
}

// latency writes at a rate and times until the root's stamp has passed the
// file's mtime.
func (b *bench) latency() error {
	tree := filepath.Join(b.work, "latency")
	leaves, err := rig.Tree(tree, 10, 10, 10, 100)
	if err != nil {
		return err
	}
	for _, backend := range backends {
		p, err := rig.Start(b.work, "bin/watch", "--backend", backend, tree)
		if err != nil {
			return err
		}
		if err := p.WaitFor("armed"); err != nil {
			return err
		}
		took, err := b.timed(tree, leaves)
		p.Stop()
		if err != nil {
			return err
		}
		fmt.Printf("%d changes a second, write to root's stamp  %-9s p50 %.1f ms  p90 %.1f ms  p99 %.1f ms  most %.1f ms\n", b.rate, backend,
			ms(took, 0.5), ms(took, 0.9), ms(took, 0.99), ms(took, 1))
	}
	return os.RemoveAll(tree)
}

func ms(took []time.Duration, q float64) float64 {
	return float64(rig.Quantile(took, q).Microseconds()) / 1000
}

// timed makes changes and watches the root's time until all have arrived.
func (b *bench) timed(tree string, leaves []string) (took []time.Duration, err error) {
	var mu sync.Mutex
	type change struct{ at, stamp time.Time }
	var waiting []change
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second / time.Duration(b.rate))
		defer tick.Stop()
		for i := range b.rate * int(b.length/time.Second) {
			<-tick.C
			name := fmt.Sprintf("%s/f%05d", leaves[i*37%len(leaves)], i%10)
			at := time.Now()
			if os.WriteFile(name, []byte("changed\n"), 0o644) != nil {
				return
			}
			info, err := os.Stat(name)
			if err != nil {
				return
			}
			mu.Lock()
			waiting = append(waiting, change{at, info.ModTime()})
			mu.Unlock()
		}
	}()
	for last := time.Now(); time.Since(last) < 2*time.Second; <-time.After(300 * time.Microsecond) {
		info, err := os.Stat(tree)
		if err != nil {
			return nil, err
		}
		root, now := info.ModTime(), time.Now()
		mu.Lock()
		n := 0
		for n < len(waiting) && !waiting[n].stamp.After(root) {
			took = append(took, now.Sub(waiting[n].at))
			n++
			last = now
		}
		waiting = waiting[n:]
		mu.Unlock()
	}
	<-done
	if len(waiting) > 0 {
		return nil, fmt.Errorf("%d changes never reached the root", len(waiting))
	}
	if len(took) == 0 {
		return nil, errors.New("no change was made")
	}
	return took, nil
}

func (b *bench) idle() error {
	tree := filepath.Join(b.work, "idle")
	if _, err := rig.Tree(tree, 10, 10, 10, 100); err != nil {
		return err
	}
	for _, backend := range backends {
		p, err := rig.Start(b.work, "bin/watch", "--backend", backend, tree)
		if err != nil {
			return err
		}
		err = p.WaitFor("armed")
		if err == nil {
			<-time.After(3 * time.Second)
			var before, after rig.Counts
			before, err = p.Counts()
			<-time.After(10 * time.Second)
			if err == nil {
				after, err = p.Counts()
			}
			fmt.Printf("idle for 10 s  %-9s wake-ups %d, bytes written %d, processor %s\n", backend, after.Wakes-before.Wakes, after.Written-before.Written, after.CPU-before.CPU)
		}
		p.Stop()
		if err != nil {
			return err
		}
	}
	return os.RemoveAll(tree)
}
