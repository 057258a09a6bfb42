package world

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/internal/proof"
)

// World is a source with its watch and serve, a copy, a copy of that, and a model of what is
// in the source.
type World struct {
	top      string // everything is below it
	src      string // the source
	copies   [2]string
	site     site
	disks    map[string]*filesystem
	programs map[string]*program
	address  map[string]string
	user     int               // as whom the programs run usually
	given    map[string]string // what the first step says
	permits  map[string]bool   // what a program may ask for now: "same-tree", "adopt" ...

	mu      sync.Mutex // guards what follows
	model   *model
	history *history
	stale   bool     // a change failed half way: the model must be read anew
	halves  []func() // the ends of those, called when it is
	linked  bool     // something was written that is not heard
	found   []string
	log     []string

	faults   faults
	unsure   atomic.Bool // a change may have failed in the middle of a file, or was not heard: what a copy shows of files need not be a version
	linkless atomic.Bool // mirror runs, or ran, with --no-links
	saved    *model
	kept     [2]map[digest]string // with backups: what the copies had when all was equal, by bytes
	covered  *node                // by a mount
	begun    time.Time
	eye      *eye
	counted  map[string]int
	last     string // the last transition
}

// newWorld makes the directories of a world.
func newWorld() (*World, error) {
	unix.Umask(0o022)
	top, err := os.MkdirTemp("/dev/shm", "tidemark-world-")
	if err != nil {
		return nil, err
	}
	h := newHistory()
	w := &World{
		top: top, begun: time.Now(), model: newModel(), history: h, given: map[string]string{}, permits: map[string]bool{},
		programs: map[string]*program{}, address: map[string]string{}, disks: map[string]*filesystem{}, counted: map[string]int{},
	}
	h.leaves = w.leavesOut
	for _, name := range []string{"serve", "serve2", "other", "metrics"} {
		w.address[name] = proof.FreeAddress(rand.IntN)
	}
	for _, name := range append([]string{"other"}, names...) {
		w.programs[name] = &program{name: name, log: filepath.Join(top, name+".log"), down: true}
	}
	return w, os.Chmod(top, 0o755)
}

// end ends all programs and removes everything. logs is where the logs go, if anywhere.
func (w *World) end(logs string) error {
	if w.eye != nil {
		w.eye.stop()
	}
	for _, p := range w.programs {
		p.kill()
		if logs != "" && exists(p.log) {
			_ = run("cp", p.log, logs)
		}
	}
	for _, address := range w.address {
		proof.LeaveAddress(address)
	}
	unmountAll(w.top)
	return os.RemoveAll(w.top)
}

// say notes what happens.
func (w *World) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%8.3f ", time.Since(w.begun).Seconds())+fmt.Sprintf(format, args...))
}

// finding notes a finding. The world ends with the first one; what follows is in the log.
func (w *World) finding(kind, format string, args ...any) {
	text := kind + ": " + fmt.Sprintf(format, args...)
	w.say("FINDING %s", text)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.found) == 0 {
		w.found = append(w.found, text)
	}
}

// broken reports whether there was a finding.
func (w *World) broken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.found) > 0
}

// pairMark stands between a transition and a change that came after it, in what is counted.
const pairMark = " × "

// count counts a step by name, and a change together with the last transition.
func (w *World) count(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counted[name]++
}
