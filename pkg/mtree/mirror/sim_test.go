package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/simkernel"
	"tidemark/pkg/mtree/mirror/internal/limits"
	"tidemark/pkg/mtree/mirror/internal/source/sourcetest"
	"tidemark/pkg/mtree/wire"
)

// A simulation runs the real mirror over a source in memory (sourcetest), on a machine in
// memory (simkernel), by a fake clock. What happens is a history: steps in words (simStep).
//
//	write a/f; publish; pass; rm a/f; at 30 publish; pass
//
// The same history always has the same trace, so one that fails can be shrunk.

// sim is a simulation.
type sim struct {
	kernel *simkernel.Kernel
	order  *simkernel.Scheduler
	shell  simkernel.Shell    // others on the copy's machine
	remote *simkernel.Process // the source's machine
	rng    *rand.Rand
	last   string // the call that was made last
	call   int    // how many there were in this pass

	site   *sourcetest.Site
	trees  []*sourcetest.Tree // all that were at the address; the last one is there now
	shots  []*sourcetest.Snapshot
	config Config
	had    Config // options that it ever had: what was made with them may still be so

	at         map[int][]string // what others do while the next pass runs, by its calls
	fault      simFault         // of the source
	cache      simFault         // of what stands between: it answers with listings from before
	back       int              // how many listings before
	errno      simFault         // of the machine
	running    bool             // a pass runs
	ending     bool             // it was killed, and runs out
	nap        time.Duration    // how long nothing was called, when last looked
	failing    int              // the first call of the machine that fails in this pass; 0: none does
	publishing int              // batches that are being published meanwhile

	stamped  map[string]bool // path and stamp of directories that were found complete
	own      map[string]bool // path and bytes that somebody wrote in the copy
	loose    map[string]bool // paths at which somebody changed the copy
	unlinked bool            // names were forgotten: only a full walk finds what changed under others
	limits   []limits.Limits // that the mirror ever had
	stripped bool            // a directory of the copy lost its record: perhaps only a full walk looks there
	wounded  map[string]bool // paths at which a power cut left other bytes
	theirs   map[string]bool // paths of trees that others keep in the copy
	outside  string          // what is beside the copy
	went     []simWent       // deletions that count together
	out      bytes.Buffer
	cuts     int   // how often the power was cut
	bare     bool  // the disk has no attributes: without .tidemark no ctime proves anything
	setBack  bool  // somebody set the source's clock back
	stepped  bool  // somebody set a clock
	rolled   bool  // the source was rolled back, and no pass has ended since
	forgot   bool  // the copy's .tidemark was removed, and none has
	unsafe   bool  // --durability none was ever given
	calm     bool  // since the last pass nothing happened that may end a hold
	err      error // what a check found first
}

// simWent is how many entries a pass deleted.
type simWent struct {
	at time.Time
	n  int
}

// simFault says which calls fail, counted in the next pass.
type simFault struct {
	from, to int
	calls    int
	err      error
}

func (f *simFault) next() error {
	f.calls++
	if f.calls >= f.from && f.calls <= f.to {
		return f.err
	}
	return nil
}

// cached is how many listings ago a cache answers now; 0: it asks. After a power cut a copy may
// have entries and not the record that came with them: then nothing shows that a listing is of
// before them.
func (s *sim) cached() int {
	if s.cache.next() != nil && s.cuts == 0 {
		return s.back
	}
	return 0
}

var errSimulated = errors.New("simulated failure")

// errKilled is how a pass ended that was killed. It tells nobody anything: what it would have said
// depends on which of its goroutines came to its end first.
var errKilled = errors.New("killed")

// simDest is the copy.
const simDest = "/copy"

// simEpoch is by how much the source's clock is ahead.
const simEpoch = 137 * time.Millisecond

// simWarm runs one simulation before all others: a process asks its kernel only once for
// some things.
var simWarm sync.Once

// simulate runs a history, and then what every history must end in. It returns a sum of
// the trace, its lines if they are kept, and what a check found.
func simulate(t *testing.T, history []string, keep bool) (sum uint64, lines []string, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // goroutines that one call sets free run one after the other
	simWarm.Do(func() { synctest.Test(t, func(*testing.T) { newSim(nil).history([]string{"pass"}) }) })
	synctest.Test(t, func(*testing.T) {
		s := newSim(history)
		s.tree().Mistake = mistakeOf(history)
		if keep {
			s.kernel.Keep()
		}
		s.history(history)
		sum, lines = s.kernel.Trace()
		err = s.err
	})
	return sum, lines, err
}

// newSim makes the machines. Steps that say how they are come first in a history.
func newSim(history []string) *sim {
	o, seed := simMachine(history)
	s := &sim{
		kernel: simkernel.New(o), remote: simkernel.New(simkernel.Options{}).Start("source", 0), rng: rand.New(rand.NewPCG(seed, 7)),
		at: map[int][]string{}, stamped: map[string]bool{}, own: map[string]bool{}, loose: map[string]bool{}, wounded: map[string]bool{}, theirs: map[string]bool{}, calm: true,
	}
	s.bare = o.NoXattrs
	s.order = simkernel.NewScheduler(s.kernel, rand.New(rand.NewPCG(seed, 2)))
	wait := s.kernel.Before
	s.kernel.Before = func(p *simkernel.Process, call string) {
		wait(p, call)
		s.last = call
	}
	choose := s.kernel.Shuffle
	s.kernel.Shuffle = func(n int) []int {
		if s.ending { // how often it looks then is as little the same in two runs
			return rand.New(rand.NewPCG(0, 0)).Perm(n)
		}
		return choose(n)
	}
	s.shell = s.kernel.Shell(0)
	s.plantOutside()
	s.site = &sourcetest.Site{Fault: func(string) error { return s.fault.next() }, Cache: s.cached}
	s.refuse(5)
	s.newTree()
	s.config = Config{
		Source: "http://simulated/", Dest: simDest, Jobs: 1, Out: &s.out, Log: slog.New(slog.DiscardHandler),
		open: func(*Config) (origin, error) { return s.site, nil },
		vary: func(d time.Duration) time.Duration { return d / 2 },
	}
	return s
}

// refuse lets the source tell one of n listings whole that it may tell as a part; 0: all.
func (s *sim) refuse(n int) {
	s.site.Parts = nil
	if rng := rand.New(rand.NewPCG(uint64(n), 9)); n > 0 {
		s.site.Parts = func(string) bool { return rng.IntN(n) > 0 }
	}
}

// history carries out the steps.
func (s *sim) history(steps []string) {
	defer sys.Simulate(s.shell.Process)()
	for _, step := range steps {
		if s.err == nil {
			s.do(step)
		}
	}
	if s.err == nil {
		s.settle()
	}
}

// log adds a line to the trace.
func (s *sim) log(format string, args ...any) { s.kernel.Note(format, args...) }

// wrong notes what a check found.
func (s *sim) wrong(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
		s.log("WRONG: %v", s.err)
	}
}

func (s *sim) tree() *sourcetest.Tree { return s.trees[len(s.trees)-1] }

// newTree puts another tree at the address.
func (s *sim) newTree() {
	now := func() mtree.Stamp { return mtree.FromTime(time.Now().Add(simEpoch)) }
	s.trees = append(s.trees, sourcetest.NewTree(fmt.Sprintf("%032x", len(s.trees)+1), now, s.yield))
	s.site.Tree = s.tree()
	s.shots = nil
}

// yield is called where others may act while the source does something.
func (s *sim) yield(what string) {
	if s.running {
		s.kernel.Before(s.remote, what)
		s.log("source: %s", what)
	}
}

// meanwhile lets the source do something, beside the pass if one runs.
func (s *sim) meanwhile(do func()) {
	if !s.running {
		do()
		return
	}
	s.publishing++
	go func() {
		do()
		s.publishing--
	}()
	synctest.Wait()
}

// ending is how a pass is broken off.
type ending struct {
	how   string // "": it is not; "break": by its context; "kill"; "cut": the power; "stop": see keep
	call  int
	after time.Duration // "stop": when nothing more is to happen
}

// pass runs one pass, and checks what it did.
func (s *sim) pass(end ending) {
	b := s.before()
	s.site.Asked = nil
	s.out.Reset()
	if end.how == "cut" && s.config.Durability == None {
		end.how = "kill" // nothing was promised
	}
	if end.how == "cut" {
		s.cuts++
	}
	s.unlinked = s.unlinked || s.errno.from > 0
	whole := end.how == "" && s.fault.from == 0 && s.errno.from == 0 && s.cache.from == 0
	acted := len(s.at) > 0
	s.failing = s.errno.from
	alone, told := !s.hasLocal(), s.listenTo()
	err := s.run(end, func(ctx context.Context) error { return Once(ctx, s.config) })
	s.fault, s.errno = simFault{}, simFault{}
	clear(s.at)
	if lines := told(); alone && err != errKilled {
		s.checkTold(b, lines)
	}
	s.log("= %s %v", strings.TrimSpace(s.out.String()), err)
	s.check(b, end.how == "cut")
	s.cache = simFault{}
	if !whole {
		s.went = nil // what was deleted within the last 100 ms may not be written down
	}
	s.calm = whole && !acted || s.calm
	s.known(whole && !acted && err == nil)
}

// known says that a pass has ended, if it did. A mirror that does not know its copy any more cannot know
// that the source was rolled back meanwhile: so the two do not come together.
func (s *sim) known(ended bool) {
	if ended {
		s.rolled, s.forgot = false, false
	}
}

// keep lets a mirror run, while others act: at its calls, or when it has nothing to do.
// After the last of that it goes on for a time, in which it must make the copy equal.
func (s *sim) keep(after time.Duration) {
	b := s.before()
	s.site.Asked = nil
	s.out.Reset()
	s.failing, s.unlinked = s.errno.from, s.unlinked || s.errno.from > 0
	healthy := s.fault.from == 0 && s.errno.from == 0
	alone, told := !s.hasLocal(), s.listenTo()
	err := s.run(ending{how: "stop", after: after}, func(ctx context.Context) error { return Run(ctx, s.config) })
	s.fault, s.errno = simFault{}, simFault{}
	clear(s.at)
	if lines := told(); alone {
		s.checkTold(b, lines)
	}
	s.log("= %s %v", strings.TrimSpace(s.out.String()), err)
	s.went, s.calm = nil, false // it may take more than ten minutes
	s.known(healthy)
	s.check(b, false)
	s.cache = simFault{}
	s.went = nil
	if err == nil && healthy && after >= 2*time.Minute {
		s.follows()
	}
}

// follows checks that a mirror that ran is at rest.
func (s *sim) follows() {
	id, held := s.marker()
	switch t := s.tree(); {
	case id != t.ID || s.site.Nameless || t.State != wire.Watched || !t.IsPublished() || len(held.Entries) > 0:
	case len(s.loose) > 0 || s.stripped || s.unlinked || s.setBack || s.config.NoDelete || len(s.config.Filters) > 0:
	default:
		if why := s.differs(false); why != "" {
			s.wrong("after a while: %s", why)
		}
	}
}

// run runs a program on the copy's machine, call by call, while others act.
func (s *sim) run(end ending, program func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := s.kernel.Start("mirror", 0)
	p.Scheduled, p.Fault = true, func(int, string) error { return s.errno.next() }
	restore := sys.Simulate(p)
	s.running = true
	done := make(chan error, 1)
	go func() { done <- program(ctx) }()
	for calls, idle := 1, time.Now(); ; calls++ {
		synctest.Wait()
		select {
		case err := <-done:
			restore()
			p.Kill() // its descriptors must be closed by now
			s.finish()
			return err
		default:
		}
		s.call = calls
		s.intervene(p, calls)
		if calls == end.call {
			s.log("%s", end.how)
			s.ending = end.how != "break"
			cancel()
			if end.how != "break" {
				restore()
				s.away(p, end.how, done)
				return errKilled
			}
		}
		if called := s.step(); called {
			idle = time.Now()
		}
		if end.how == "stop" {
			s.stop(&end, time.Since(idle), p, cancel)
		}
		s.checkStamp(p)
	}
}

// stop lets others act where a mirror that runs has nothing to do, and ends it after the
// last of them.
func (s *sim) stop(end *ending, idle time.Duration, p *simkernel.Process, cancel func()) {
	switch {
	case len(s.at) > 0 && idle > 3*time.Second:
		s.intervene(p, slices.Min(slices.Collect(maps.Keys(s.at))))
	case len(s.at) == 0 && end.after > 0:
		end.after -= s.nap
	case len(s.at) == 0:
		cancel()
	}
}

// intervene lets others act at a call of a pass.
func (s *sim) intervene(p *simkernel.Process, call int) {
	if steps := s.at[call]; steps != nil {
		delete(s.at, call)
		back := sys.Simulate(s.shell.Process)
		for _, step := range steps {
			s.do(step)
		}
		back()
	}
}

// step lets one call happen, or time pass, the more the longer nothing has been called. It
// reports whether there was a call.
func (s *sim) step() bool {
	s.last = ""
	if !s.order.Step() {
		s.nap = min(max(2*s.nap, 10*time.Millisecond), time.Second)
		s.order.Pass(s.nap)
		return false
	}
	s.nap = 0
	<-time.After(20 * time.Microsecond)
	return true
}

// finish lets the source publish what it began.
func (s *sim) finish() {
	for s.publishing > 0 {
		s.step()
	}
	s.running = false
}

// away ends a process, by the power if how is "cut", and waits until nothing is left of it.
func (s *sim) away(p *simkernel.Process, how string, done chan error) {
	if how == "cut" {
		s.kernel.Crash(s.rng)
		s.shell = s.kernel.Shell(0)
		sys.Simulate(s.shell.Process)
	} else {
		p.Kill()
	}
	for {
		s.order.Drain()
		select {
		case <-done:
			s.ending = false
			s.out.Reset()
			s.finish()
			return
		default:
			if !s.order.Step() {
				s.order.Pass(time.Second)
			}
		}
	}
}

// excluded reports whether the mirror's filters exclude a path.
func (s *sim) excluded(path string) bool { return excludedBy(s.config.Filters, path) }

// everExcluded reports whether they exclude it or did before.
func (s *sim) everExcluded(path string) bool {
	return excludedBy(s.had.Filters, path) || s.excluded(path)
}

func excludedBy(filters []string, path string) bool {
	l, err := glob.New(filters)
	if err != nil {
		panic(err)
	}
	for up := path; up != ""; up = mtree.ParentPath(up) {
		if l.Excluded(up, true) || l.Excluded(up, false) {
			return true
		}
	}
	return false
}
