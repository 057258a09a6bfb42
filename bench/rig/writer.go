package rig

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Writer writes to files of Source and looks for the writes in Copy.
type Writer struct {
	Source, Copy string
	Files        []string // paths of files, below both
	Random       *rand.Rand

	writes int
	last   map[string]string // what each file got last
	flying []flight
}

// Written returns how many writes there were so far.
func (w *Writer) Written() int { return w.writes }

// write overwrites a file at random with what no file ever had. Its size is another than that of the write before,
// because some tools compare sizes and whole seconds.
func (w *Writer) write() (f flight, err error) {
	if w.last == nil {
		w.last = map[string]string{}
	}
	f = flight{name: w.Files[w.Random.IntN(len(w.Files))], began: time.Now()}
	for w.flies(f.name) { // its time would be lost, and those of slow tools first
		f.name = w.Files[w.Random.IntN(len(w.Files))]
	}
	f.text = fmt.Sprintf("change %d at %d%s\n", w.writes, f.began.UnixNano(), strings.Repeat("!", w.writes%97))
	w.writes++
	w.last[f.name] = f.text
	return f, os.WriteFile(filepath.Join(w.Source, f.name), []byte(f.text), 0o644)
}

// flight is a write that has not arrived yet.
type flight struct {
	name, text  string
	began, look time.Time // the write, and when to look for it again
}

func (w *Writer) flies(name string) bool {
	return len(w.flying) < len(w.Files)/2 && slices.ContainsFunc(w.flying, func(f flight) bool { return f.name == name })
}

// Landed waits until each file that was written to has its last content in the copy.
func (w *Writer) Landed() error {
	for name, text := range w.last {
		if err := Await(func() bool { return w.arrived(flight{name: name, text: text}) }); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (w *Writer) arrived(f flight) bool {
	got, err := os.ReadFile(filepath.Join(w.Copy, f.name))
	return err == nil && string(got) == f.text
}

// OneByOne makes changes, each 20 to 50 ms after the one before arrived, and returns how
// long each took. It ends early, after two at least, when length is over; 0: never.
func (w *Writer) OneByOne(changes int, length time.Duration) (took []time.Duration, err error) {
	start := time.Now()
	for i := range changes {
		if length > 0 && i >= 2 && time.Since(start) > length {
			break
		}
		f, err := w.write()
		if err != nil {
			return nil, err
		}
		if err := Await(func() bool { return w.arrived(f) }); err != nil {
			return nil, fmt.Errorf("change %d: %w", i, err)
		}
		took = append(took, time.Since(f.began))
		<-time.After(time.Duration(20+w.Random.IntN(30)) * time.Millisecond)
	}
	return took, nil
}

// AtRate writes rate times a second for a while, and waits until all has arrived. It
// times every fiftieth write, to 5 ms or a twentieth of what it took: timing more of them
// would take a share of the machine that matters.
func (w *Writer) AtRate(rate int, length time.Duration) (took []time.Duration, err error) {
	start, done := time.Now(), 0
	for ; time.Since(start) < length || len(w.flying) > 0; <-time.After(5 * time.Millisecond) {
		elapsed := min(time.Since(start), length)
		for ; done < int(elapsed.Seconds()*float64(rate)); done++ {
			f, err := w.write()
			if err != nil {
				return nil, err
			}
			if w.flying = slices.DeleteFunc(w.flying, func(old flight) bool { return old.name == f.name }); done%50 == 0 {
				w.flying = append(w.flying, f)
			}
		}
		w.flying = w.land(w.flying, &took)
		if len(w.flying) > 0 && time.Since(w.flying[0].began) > Patience {
			return took, fmt.Errorf("%s: %q not there after %s", w.flying[0].name, w.flying[0].text, Patience)
		}
	}
	fmt.Fprintf(os.Stderr, "%d writes in %s\n", done, time.Since(start).Round(time.Millisecond))
	return took, nil
}

// land notes how long each write took that has arrived by now, and returns the others.
func (w *Writer) land(flying []flight, took *[]time.Duration) []flight {
	still := flying[:0]
	for _, f := range flying {
		now := time.Now()
		switch {
		case f.look.After(now):
		case w.arrived(f):
			*took = append(*took, time.Since(f.began))
			continue
		default:
			f.look = now.Add(now.Sub(f.began) / 20)
		}
		still = append(still, f)
	}
	return still
}
