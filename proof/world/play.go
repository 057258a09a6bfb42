package world

import (
	"fmt"
	"strings"
	"time"
)

// Played is how a world went.
type Played struct {
	Found   []string       // what must not be; a world ends with the first
	Log     []string       // what happened, and when
	Counted map[string]int // steps by name, and changes by the transition before them
	Looks   int            // of the eye, at both copies
}

// Play lets the steps happen in a world of their own. The logs of the programs go to the
// directory logs, if there is one. An error is none of the programs, but of the test.
func Play(steps []Step, logs string) (Played, error) {
	w, err := newWorld()
	if err != nil {
		return Played{}, err
	}
	err = w.run(steps)
	if endErr := w.end(logs); err == nil {
		err = endErr
	}
	played := Played{Found: w.found, Log: w.log, Counted: w.counted}
	if w.eye != nil {
		played.Looks = int(w.eye.looks.Load())
	}
	return played, err
}

// kindOf is the word before the colon of the first finding.
func (p Played) kindOf() string {
	if len(p.Found) == 0 {
		return ""
	}
	kind, _, _ := strings.Cut(p.Found[0], ":")
	return kind
}

// run runs steps until the end or the first finding.
func (w *World) run(steps []Step) error {
	for i := 0; i < len(steps) && !w.broken(); {
		group := []Step{steps[i]}
		for i++; group[len(group)-1].Beside && i < len(steps) && changeOf(steps[i].Name) != nil; i++ {
			group = append(group, steps[i])
		}
		if err := w.together(group); err != nil {
			return err
		}
		w.attend()
		if w.eye != nil && !w.pure() {
			w.eye.take(promise{}) // it may be hidden by now what was promised, or be on its way back
		}
	}
	return nil
}

// together does the steps of a group at once. Only when all are done is the model made anew:
// what is on disk before is not in the model yet, and would be done there twice.
func (w *World) together(group []Step) error {
	errs := make(chan error, len(group))
	for _, s := range group[1:] {
		go func() { errs <- w.step(s) }()
	}
	first := w.step(group[0])
	for range group[1:] {
		if err := <-errs; first == nil {
			first = err
		}
	}
	if first == nil {
		first = w.readAnew()
	}
	return first
}

// step does one step.
func (w *World) step(s Step) error {
	if c := changeOf(s.Name); c != nil {
		return w.change(c, s)
	}
	w.say("%s", s)
	switch s.Name {
	case "world":
		return w.begin(s.Args)
	case "pause":
		time.Sleep(time.Duration(number(s.Args[0])) * time.Millisecond)
	case "rest":
		w.softRest()
	case "hard":
		w.hardRest()
	case "idle":
		w.idle()
	default:
		t := transitionOf(s.Name)
		if t == nil {
			return fmt.Errorf("no such step: %s", s)
		}
		w.last = t.name
		w.count(t.name)
		if err := t.run(w, s.Args); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}
