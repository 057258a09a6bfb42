package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tidemark/bench/rig"
)

// tree measures changes among many files: one by one, at rates, and none.
func (b *bench) tree(work string) error {
	note("a tree of %d files", b.files)
	places, err := b.places(work, func(root string) ([]string, error) { return rig.Files(root, b.files, 4096) })
	if err != nil {
		return err
	}
	among := fmt.Sprintf("among %s files in %s directories", thousands(int64(b.files)), thousands(int64(1+(b.files+9999)/10000+(b.files+99)/100)))
	var took [2][]time.Duration
	err = turns(b.rounds, func(i int) error {
		return places[i].at(nil, func(_ *trio, w *rig.Writer) error {
			all, err := w.OneByOne(b.changes, 0)
			took[i] = append(took[i], all...)
			return err
		})
	})
	if err != nil {
		return err
	}
	latencies("one change "+among+": write → readable", "≤ 6 / 15 ms", took)
	for _, r := range b.rates {
		if err := b.atRate(places, r, among); err != nil {
			return err
		}
	}
	return b.nothing(places, among)
}

// load is what one build did at a rate.
type load struct {
	took []time.Duration
	each [3][]float64 // processor time of watch, serve and mirror for a change, µs, a value a round
}

func (b *bench) atRate(places [2]*place, r rate, among string) error {
	note("%d changes a second for %s", r.changes, r.length)
	var loads [2]load
	err := turns(b.rateRounds, func(i int) error {
		return places[i].at(nil, func(t *trio, w *rig.Writer) error { return loads[i].measure(t, w, r) })
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s changes a second for %s %s: ", thousands(int64(r.changes)), r.length, among)
	latencies(what+"lag (equal at the end)", "p99 "+r.lag, [2][]time.Duration{loads[0].took, loads[1].took})
	for i, name := range []string{"watch", "serve", "mirror"} {
		goal := r.share
		if name == "watch" {
			goal = ""
		}
		medians(what+"processor time of "+name+" a change", goal, "%.0f µs", [2][]float64{loads[0].each[i], loads[1].each[i]})
	}
	return nil
}

// measure writes at a rate and checks that the copy is equal then.
func (l *load) measure(t *trio, w *rig.Writer, r rate) error {
	before, err := t.counts()
	if err != nil {
		return err
	}
	written := w.Written()
	took, err := w.AtRate(r.changes, r.length)
	if err == nil {
		err = t.quiet()
	}
	if err != nil {
		return err
	}
	after, err := t.counts()
	if err != nil {
		return err
	}
	l.took = append(l.took, took...)
	for i := range l.each {
		l.each[i] = append(l.each[i], float64((after[i].CPU-before[i].CPU).Microseconds())/float64(w.Written()-written))
	}
	return w.Equal()
}

// nothing measures what the programs do while nothing changes, and says how much memory
// they had at most.
func (b *bench) nothing(places [2]*place, among string) error {
	var texts, memory [2]string
	for i, p := range places {
		err := p.at(nil, func(t *trio, _ *rig.Writer) (err error) {
			<-time.After(b.idle / 2) // the last notes are written
			texts[i], err = t.idle(b.idle)
			return err
		})
		if err != nil {
			return err
		}
		memory[i] = slashed(p.peak, func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }) + " MB"
	}
	row(fmt.Sprintf("nothing for %s %s: entries that changed; processor time of watch / serve / mirror", b.idle, among), "0", texts[0], texts[1], 0, 0)
	row("most memory "+among+", first copy included: watch / serve / mirror", "32 / 64 + caches / 48 MB", memory[0], memory[1], 0, 0)
	return nil
}

// idle counts the entries of the source and of the copy, those of .tidemark included, whose
// ctime moves for a while.
func (t *trio) idle(length time.Duration) (string, error) {
	before, err := t.counts()
	if err != nil {
		return "", err
	}
	since := time.Now()
	<-time.After(length)
	after, err := t.counts()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("find", filepath.Base(t.place.source), filepath.Base(t.place.copy), "-newerct", since.UTC().Format("2006-01-02 15:04:05.999999999 UTC"))
	cmd.Dir = filepath.Dir(t.place.source)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find: %w", err)
	}
	var spent [3]time.Duration
	for i := range spent {
		spent[i] = after[i].CPU - before[i].CPU
	}
	return fmt.Sprintf("%d; %s ms", strings.Count(string(out), "\n"), slashed(spent, func(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) })), nil
}
