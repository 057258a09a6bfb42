package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"tidemark/bench/rig"
)

// place is a source tree and a copy of it, kept by one build. Each build has its own:
// an earlier one may not understand what a later one wrote.
type place struct {
	build
	source, copy, logs string
	files              []string // that are written to
	peak               [3]int64 // most memory of watch, serve and mirror in any run
	runs               int
}

// places makes a tree for each build, and the first copies. fill makes the tree at root
// and returns the paths of the files that are written to.
func (b *bench) places(work string, fill func(root string) ([]string, error)) (both [2]*place, err error) {
	for i, build := range b.builds {
		home := filepath.Join(work, build.name)
		p := &place{build: build, source: filepath.Join(home, "source"), copy: filepath.Join(home, "copy"), logs: home}
		if err := errors.Join(os.MkdirAll(p.copy, 0o755), os.MkdirAll(p.source, 0o755)); err != nil {
			return both, err
		}
		if p.files, err = fill(p.source); err != nil {
			return both, err
		}
		both[i] = p
	}
	debug.FreeOSMemory() // or programs that are started now would count it as their own
	<-time.After(rig.TooNew)
	for _, p := range both {
		note("first copy of the build %s", p.name)
		t, err := p.start(true, nil)
		if err == nil {
			err = errors.Join(t.quiet(), t.stop())
		}
		if err != nil {
			return both, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return both, nil
}

// writer is a writer whose changes no other one makes.
func (p *place) writer() *rig.Writer {
	p.runs++
	return &rig.Writer{Source: p.source, Copy: p.copy, Files: p.files, Random: rand.New(rand.NewPCG(uint64(p.runs), 0))}
}

// trio is the programs of a build at work on a place. Without mirror the last one is nil.
type trio struct {
	place    *place
	programs []*rig.Program // watch, serve, mirror
	address  string         // of serve
}

// start starts the programs and waits until what is written to the source arrives in the
// copy, and a pass has ended. through gives the address that mirror shall ask instead of serve's; nil: serve's.
func (p *place) start(mirror bool, through func(address string) (string, error)) (t *trio, err error) {
	t = &trio{place: p}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, t.said())
			_ = t.stop()
			t = nil
		}
	}()
	if t.address, err = rig.FreeAddress(); err != nil {
		return t, err
	}
	if err = errors.Join(t.run("armed", "watch", p.source), t.run("address=", "serve", "--listen", t.address, p.source)); err != nil || !mirror {
		return t, err
	}
	asked := t.address
	if through != nil {
		if asked, err = through(t.address); err != nil {
			return t, err
		}
	}
	if err = t.run("", "mirror", "http://"+asked+"/", p.copy); err != nil {
		return t, err
	}
	if err = rig.Probe(p.source, p.copy); err != nil { // it may arrive in the middle of a first copy
		return t, err
	}
	return t, t.programs[2].WaitFor("listed [0-9]+ dir")
}

func (t *trio) run(says, name string, args ...string) error {
	p, err := rig.Start(t.place.logs, t.place.program(name), args...)
	if err != nil {
		return err
	}
	t.programs = append(t.programs, p)
	return p.WaitFor(says)
}

func (t *trio) said() (text string) {
	for _, p := range t.programs {
		text += p.Name + ":\n" + p.Log()
	}
	return text
}

// stop ends the programs and notes their most memory.
func (t *trio) stop() error {
	all, err := t.counts()
	for i, c := range all {
		t.place.peak[i] = max(t.place.peak[i], c.Peak)
	}
	for i := range t.programs {
		t.programs[len(t.programs)-1-i].Stop()
	}
	return err
}

// counts reads what /proc says of each.
func (t *trio) counts() (all [3]rig.Counts, err error) {
	for i, p := range t.programs {
		if all[i], err = p.Counts(); err != nil {
			return all, fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return all, nil
}

// quiet waits until none of them has used any processor time for a while.
func (t *trio) quiet() error {
	const enough = 10
	last, same := time.Duration(-1), 0
	deadline := time.Now().Add(rig.Patience)
	for ; same < enough; <-time.After(50 * time.Millisecond) {
		all, err := t.counts()
		if err != nil {
			return err
		}
		sum := all[0].CPU + all[1].CPU + all[2].CPU
		if same++; sum != last {
			last, same = sum, 0
		}
		if time.Now().After(deadline) {
			return errors.New("the programs do not come to rest")
		}
	}
	return nil
}

// at does something while the programs of p are at work, after some first changes: the
// first passes after a start are not like others.
func (p *place) at(through func(string) (string, error), work func(*trio, *rig.Writer) error) error {
	t, err := p.start(true, through)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	w := p.writer()
	_, err = w.OneByOne(5, time.Second)
	if err == nil {
		err = t.quiet()
	}
	if err == nil {
		err = work(t, w)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", p.name, err, t.said())
	}
	return errors.Join(err, t.stop())
}
