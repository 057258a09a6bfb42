// Latency measures, side by side in one run, how long a write in a source tree
// takes until it can be read in the copy: tidemark, lsyncd with a delay of 1 s,
// the inotifywait script of 2009 that runs rsync for every event, and all other followers of
// bench/peers. A peer that is missing is named, and one that fails.
//
//	go run ./bench/latency [-files N] [-changes 200 [-most 10s]] [tidemark lsyncd syncthing unison inotifywait rsync]
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
	"strings"
	"syscall"
	"time"

	"tidemark/bench/peers"
	"tidemark/bench/report"
	"tidemark/bench/rig"
)

type options struct {
	rig.Options
	changes, rate int
	length, most  time.Duration
	seed          uint64
}

func main() {
	var o options
	flag.IntVar(&o.changes, "changes", 200, "writes measured for each tool")
	flag.IntVar(&o.rate, "rate", 0, "writes a second; 0: one after another, 20 to 50 ms apart")
	flag.DurationVar(&o.length, "for", time.Minute, "how long, with -rate")
	flag.DurationVar(&o.most, "most", 0, "without -rate: no more writes for a tool after this time; 0: all of them")
	flag.Uint64Var(&o.seed, "seed", 1, "which files are written")
	o.Main("latency", 0, func() error { return run(&o) })
}

func run(o *options) error {
	var rows []report.Row
	for _, tool := range peers.Followers(o.rate > 0) {
		if !o.Wants(strings.Fields(tool.Name)[0]) {
			continue
		}
		row, err := measure(o, tool)
		if err != nil && tool.Name == report.Own {
			return fmt.Errorf("%s: %w", tool.Name, err)
		}
		if rows = append(rows, row); err != nil {
			rows[len(rows)-1] = report.Row{Tool: tool.Name, Failed: report.Brief(err)}
			fmt.Printf("%-20s not measured: %s\n", tool.Name, report.Brief(err))
			continue
		}
		at := func(share float64) float64 { return report.Quantile(row.Samples, share) }
		fmt.Printf("%-20s %4d writes: p50 %8.1f ms   p90 %8.1f ms   p99 %8.1f ms   most %8.1f ms\n",
			tool.Name, len(row.Samples), at(0.5), at(0.9), at(0.99), at(1))
	}
	q := report.Question{Name: "one-change", Title: "From a write to its arrival in the copy", Unit: "ms"}
	what := "the Go source tree"
	if o.Files > 0 {
		what = report.Thousands(o.Files) + " files"
	}
	if o.rate > 0 {
		q = report.Question{Name: "many-changes", Title: "From a write to its arrival in the copy, under " + report.Thousands(o.rate) + " writes a second", Unit: "ms"}
		what += fmt.Sprintf(", for %.0f s", o.length.Seconds())
	}
	o.Found.Add(q, report.Case{Name: what, Rows: rows})
	return nil
}

// measure lets one tool keep a copy of a new tree, and writes to the tree. Times count only if in the end all
// that was written is in the copy.
func measure(o *options, tool peers.Follower) (row report.Row, err error) {
	if missing := peers.Missing(tool.Needs...); missing != "" {
		return row, errors.New(missing)
	}
	work, copies, remove, err := o.Scratch()
	if err != nil {
		return row, err
	}
	defer remove()
	source, copy := work+"/source", copies+"/copy"
	if err := errors.Join(os.Mkdir(copy, 0o755), rig.Source(source, o.Files)); err != nil {
		return row, err
	}
	files, err := rig.FilesOf(source)
	if err != nil {
		return row, err
	}
	if tool.Name == report.Own {
		<-time.After(rig.TooNew)
	}
	programs, err := tool.Start(work, source, copy)
	defer func() {
		if err != nil {
			log := programs.Log()
			err = fmt.Errorf("%w\n%s", err, log[max(0, len(log)-2000):])
		}
		programs.Stop()
	}()
	if err != nil {
		return row, err
	}
	if err := rig.Probe(source, copy); err != nil {
		return row, fmt.Errorf("first copy: %w", err)
	}
	o.Hold()
	before := cpuOf(programs)
	began := time.Now()
	w := &rig.Writer{Source: source, Copy: copy, Files: files, Random: rand.New(rand.NewPCG(o.seed, 0))}
	var took []time.Duration
	if o.rate > 0 {
		took, err = w.AtRate(o.rate, o.length)
	} else {
		took, err = w.OneByOne(o.changes, o.most)
	}
	tellShares(programs, before, time.Since(began))
	if err == nil {
		err = w.Landed()
	}
	row = report.Row{Tool: tool.Name}
	for _, t := range took {
		row.Samples = append(row.Samples, float64(t.Microseconds())/1000)
	}
	for i, cpu := range cpuOf(programs)[:len(programs)] {
		row.Processor = []float64{sum(row.Processor) + (cpu - before[i]).Seconds()}
	}
	return row, err
}

func sum(values []float64) (all float64) {
	for _, v := range values {
		all += v
	}
	return all
}

// cpuOf returns the processor time of each program so far, and as the last one that of
// this program, which writes and looks.
func cpuOf(programs peers.Programs) (all []time.Duration) {
	for _, p := range programs {
		all = append(all, p.GroupCPU())
	}
	var own syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	return append(all, time.Duration(own.Utime.Nano()+own.Stime.Nano()))
}

// tellShares prints which share of one processor each program used, and the most memory
// that it ever had.
func tellShares(programs peers.Programs, before []time.Duration, took time.Duration) {
	after := cpuOf(programs)
	share := func(i int) float64 { return 100 * float64(after[i]-before[i]) / float64(took) }
	for i, p := range programs {
		c, _ := p.Counts()
		fmt.Fprintf(os.Stderr, "%s: %.0f%% of a processor, most memory %.1f MB\n", p.Name, share(i), float64(c.Peak)/1e6)
	}
	fmt.Fprintf(os.Stderr, "this: %.0f%% of a processor\n", share(len(programs)))
}
