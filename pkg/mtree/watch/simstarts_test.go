package watch_test

import (
	"math/rand/v2"
	"strings"
	"time"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/watch"
)

// once runs watch --once in place of the watcher. If nothing disturbs the run, a reader sees
// everything at its end.
func (s *simulation) once(rng *rand.Rand) {
	if rng.IntN(3) > 0 {
		s.quiet()
	}
	s.end(rng)
	for range rng.IntN(3) {
		s.change(rng)
	}
	if rng.IntN(2) == 0 {
		s.order.Settle(simLong, 3000)
	}
	s.run("none", watch.Once)
	s.watcher.once = true
	if rng.IntN(3) == 0 {
		return
	}
	complete := s.order.Settle(5*time.Second, 3000)
	if s.look(); complete && s.watcher == nil && !s.trouble && s.onceFailed == nil {
		s.reader.now()
	}
}

// onceEnded takes down how a run of --once ended.
func (s *simulation) onceEnded(err error) {
	if s.onceFailed = err; err != nil && exit.Of(err) != exit.Failed && !s.trouble {
		s.fail("watch --once ended: %v", err)
	}
}

// withoutEvents starts a watcher that hears nothing. The next rest ends it.
func (s *simulation) withoutEvents(rng *rand.Rand) {
	s.terminate()
	s.run("none", watch.Run)
}

// endDeaf ends a watcher that hears nothing.
func (s *simulation) endDeaf() {
	if s.watcher != nil && !s.watcher.once && s.watcher.backend == "none" {
		s.terminate()
	}
}

// otherRights starts the watcher as another user, who may start there.
func (s *simulation) otherRights(rng *rand.Rand) {
	s.terminate()
	s.uid = []uint32{0, 1000}[rng.IntN(2)]
	s.own()
	s.start()
}

// own gives the root and .tidemark to the watcher's user, so that it can start.
func (s *simulation) own() {
	if s.uid != 0 {
		_ = s.shell.Chown(simRoot, int(s.uid))
	}
	for _, path := range s.paths(strings.TrimSuffix(simMarker, "/")) {
		_ = s.shell.Chown(path, int(s.uid))
	}
}

// giveRootAway makes the root refuse its time, and .tidemark if it is missing.
func (s *simulation) giveRootAway(rng *rand.Rand) {
	s.trouble = true
	if s.uid != 0 && rng.IntN(2) == 0 {
		_ = s.shell.Chown(simRoot, 7)
	} else {
		_ = s.shell.Immutable(simRoot, true)
	}
}

// giveRootBack ends what giveRootAway and otherRights began.
func (s *simulation) giveRootBack() {
	_ = s.shell.Immutable(simRoot, false)
	s.own()
}
