package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tidemark/bench/rig"
)

// wide measures one change in a directory of many entries.
func (b *bench) wide(work string) error {
	for _, width := range b.widths {
		home := filepath.Join(work, fmt.Sprint(width))
		if err := b.widthOf(home, width); err != nil {
			return err
		}
		if err := os.RemoveAll(home); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) widthOf(home string, width int) error {
	note("a directory of %d entries", width)
	places, err := b.places(home, func(root string) ([]string, error) { return wideTree(root, width) })
	if err != nil {
		return err
	}
	var took [2][]time.Duration
	err = turns(b.rounds, func(i int) error {
		return places[i].at(nil, func(_ *trio, w *rig.Writer) error {
			all, err := w.OneByOne(b.wideChanges, b.wideTime)
			took[i] = append(took[i], all...)
			return err
		})
	})
	if err != nil {
		return err
	}
	what := "one change in a directory of " + thousands(int64(width)) + " entries: "
	latencies(what+"write → readable", "p50 ≤ 15 ms", took)
	var costs [2]cost
	for i, p := range places {
		note("counting, %s", p.name)
		if costs[i], err = p.costOfAChange(); err != nil && i == 1 {
			return err
		} else if err != nil { // of a million entries, serve makes no listing in time while its calls are counted
			note("not counted: %v", err)
		}
	}
	row(what+"bytes on the wire", "≤ 4 KiB", thousands(int64(costs[0].bytes)), thousands(int64(costs[1].bytes)), costs[0].bytes, costs[1].bytes)
	row(what+"names looked at by watch / serve / mirror", "independent of the width", costs[0].text(), costs[1].text(), 0, 0)
	return nil
}

// wideTree makes a directory of empty files.
func wideTree(root string, width int) (files []string, err error) {
	if err := os.Mkdir(filepath.Join(root, "wide"), 0o755); err != nil {
		return nil, err
	}
	for i := range width {
		name := fmt.Sprintf("wide/entry-%07d.txt", i)
		f, err := os.Create(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		files = append(files, name)
	}
	return files, nil
}

// cost is what one change costs, on average.
type cost struct {
	bytes float64    // on the wire, both directions
	looks [3]float64 // statx and newfstatat of watch, serve and mirror
}

func (c cost) text() string {
	return slashed(c.looks, func(n float64) string { return thousands(int64(n + 0.5)) })
}

// costOfAChange counts, first the bytes and then the system calls.
func (p *place) costOfAChange() (c cost, err error) {
	var proxy *rig.Proxy
	through := func(address string) (string, error) {
		var err error
		if proxy, err = rig.NewProxy(address); err != nil {
			return "", err
		}
		return proxy.Address(), nil
	}
	err = p.at(through, func(t *trio, w *rig.Writer) error {
		before := proxy.Bytes()
		n, err := t.some(w, 10)
		if err != nil {
			return err
		}
		c.bytes = float64(proxy.Bytes()-before) / float64(n)
		c.looks, err = t.looks(w)
		return err
	})
	if proxy != nil {
		proxy.Close()
	}
	return c, err
}

// some makes a few changes and waits until nobody has anything more to do.
func (t *trio) some(w *rig.Writer, changes int) (made int, err error) {
	took, err := w.OneByOne(changes, 5*time.Second)
	if err != nil {
		return 0, err
	}
	return len(took), t.quiet()
}

// looks counts how often each of the programs looks at a name, for one change.
func (t *trio) looks(w *rig.Writer) (each [3]float64, err error) {
	var counters [3]*rig.Calls
	for i, p := range t.programs {
		if counters[i], err = rig.CountCalls(t.place.logs, p); err != nil {
			break
		}
	}
	made := 1
	if err == nil {
		made, err = t.some(w, 5)
	}
	for i, c := range counters {
		if c == nil {
			continue
		}
		n, wrong := c.Stop()
		each[i], err = float64(n)/float64(made), errors.Join(err, wrong)
	}
	return each, err
}

// busyRate is how often a second the file changes.
const busyRate = 50

// busy measures a directory of many entries in which one file changes all the time.
func (b *bench) busy(work string) error {
	note("a directory of %d entries, one of which changes all the time", b.busyWidth)
	places, err := b.places(work, func(root string) ([]string, error) {
		files, err := wideTree(root, b.busyWidth)
		return files[:min(1, len(files))], err
	})
	if err != nil {
		return err
	}
	var loads [2]load
	err = turns(b.rateRounds, func(i int) error {
		return places[i].at(nil, func(t *trio, w *rig.Writer) error {
			return loads[i].measure(t, w, rate{changes: busyRate, length: b.follow})
		})
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("one of %s entries of a directory is written %d times a second: processor time of ", thousands(int64(b.busyWidth)), busyRate)
	for i, name := range []string{"watch", "serve", "mirror"} {
		medians(what+name+" a write", "", "%.0f µs", [2][]float64{loads[0].each[i], loads[1].each[i]})
	}
	return nil
}
