package watch_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// simEvent is one thing that happens in a simulation, after some time.
type simEvent struct {
	kind *simKind
	seed uint64 // of everything that it chooses
	gap  int    // how many calls and moments pass before it
}

func (e simEvent) String() string { return fmt.Sprintf("%s(%d) after %d", e.kind.name, e.seed, e.gap) }

// simKind is a kind of event. Its weight says how often it happens.
type simKind struct {
	name   string
	weight int
	do     func(s *simulation, rng *rand.Rand)
}

// excludedPrefix begins the names that are excluded if anything is.
const excludedPrefix = "x"

// simKinds are all kinds of events, changes of the tree first. To add one, add a line.
var (
	simKinds   []simKind
	simChanges int // how many of them change the tree
)

func init() {
	simKinds = []simKind{
		{"mkdir", 6, func(s *simulation, rng *rand.Rand) { _ = s.shell.Mkdir(simDir(rng), 0o755) }},
		{"write", 8, func(s *simulation, rng *rand.Rand) { _ = s.shell.Write(simFile(rng), simText(rng)) }},
		{"append", 3, func(s *simulation, rng *rand.Rand) { _ = s.shell.Append(simFile(rng), simText(rng)) }},
		{"a log kept open", 4, (*simulation).keepLog},
		{"touch back", 3, func(s *simulation, rng *rand.Rand) { _ = s.shell.Touch(simAny(rng), simPast(rng), rng.IntN(2) == 0) }},
		{"touch like another", 3, (*simulation).touchLike},
		{"touch ahead", 1, func(s *simulation, rng *rand.Rand) { _ = s.shell.Touch(simFile(rng), s.now().Add(time.Hour), true) }},
		{"behind its back", 4, (*simulation).behindItsBack},
		{"rename", 4, func(s *simulation, rng *rand.Rand) { _ = s.shell.Rename(simFile(rng), simFile(rng), 0) }},
		{"rename a directory", 6, func(s *simulation, rng *rand.Rand) { _ = s.shell.Rename(simSub(rng), simSub(rng), 0) }},
		{"exchange", 4, func(s *simulation, rng *rand.Rand) {
			_ = s.shell.Rename(simSub(rng), simSub(rng), unix.RENAME_EXCHANGE)
		}},
		{"exchange files", 2, func(s *simulation, rng *rand.Rand) {
			_ = s.shell.Rename(simFile(rng), simFile(rng), unix.RENAME_EXCHANGE)
		}},
		{"move out", 3, func(s *simulation, rng *rand.Rand) { _ = s.shell.Rename(simSub(rng), simOut(rng), 0) }},
		{"move in", 3, func(s *simulation, rng *rand.Rand) { _ = s.shell.Rename(simOut(rng), simSub(rng), 0) }},
		{"save by rename", 4, (*simulation).save},
		{"deploy", 3, (*simulation).deploy},
		{"unlink", 3, func(s *simulation, rng *rand.Rand) { _ = s.shell.Unlinkat(here, simFile(rng), 0) }},
		{"rm -r", 2, func(s *simulation, rng *rand.Rand) { _ = s.shell.Remove(simSub(rng)) }},
		{"symlink", 2, func(s *simulation, rng *rand.Rand) { _ = s.shell.Symlink(simText(rng), simFile(rng)) }},
		{"file becomes directory", 2, func(s *simulation, rng *rand.Rand) {
			f := simFile(rng)
			_ = s.shell.Unlinkat(here, f, 0)
			_ = s.shell.Mkdir(f, 0o755)
		}},
		{"directory becomes file", 2, func(s *simulation, rng *rand.Rand) {
			f := simSub(rng)
			_ = s.shell.Remove(f)
			_ = s.shell.Write(f, simText(rng))
		}},
		{"chmod", 2, func(s *simulation, rng *rand.Rand) { _ = s.shell.Chmod(simFile(rng), 0o600+uint32(rng.IntN(2)*0o44)) }},
		{"chmod of a directory", 4, func(s *simulation, rng *rand.Rand) {
			_ = s.shell.Chmod(simSub(rng), []uint32{0o755, 0o755, 0o700, 0}[rng.IntN(4)])
		}},
		{"chown of a directory", 3, func(s *simulation, rng *rand.Rand) {
			_ = s.shell.Chown(simSub(rng), []int{int(s.uid), 0, 7}[rng.IntN(3)])
		}},
		{"chattr", 2, func(s *simulation, rng *rand.Rand) { _ = s.shell.Immutable(simSub(rng), rng.IntN(2) == 0) }},

		{"reader passes", 24, func(s *simulation, rng *rand.Rand) { s.reader.begin() }},
		{"a long while", 4, func(s *simulation, rng *rand.Rand) { s.order.Settle(simLong, 3000) }},
		{"away for long", 12, (*simulation).awayForLong},
		{"deaf for long", 3, (*simulation).deafForLong},
		{"excluded for long", 2, (*simulation).excludedForLong},
		{"the clock is set back while away", 2, (*simulation).clockBackWhileAway},
		{"time comes again", 4, (*simulation).timeComesAgain},
		{"touched back", 3, (*simulation).touchedBack},
		{"a twin arrives", 3, (*simulation).twinArrives},
		{"a loss in an audit", 3, (*simulation).lossInAnAudit},
		{"across the tick", 3, (*simulation).acrossTheTick},
		{"behind a stamp", 3, (*simulation).behindAStamp},
		{"arrives in the tick", 3, (*simulation).arrivesInTheTick},
		{"a closed directory", 2, (*simulation).closed},
		{"once", 4, (*simulation).once},
		{"without events", 2, (*simulation).withoutEvents},
		{"other rights", 2, (*simulation).otherRights},
		{"root given away", 2, (*simulation).giveRootAway},
		{"journal", 4, func(s *simulation, rng *rand.Rand) { s.kernel.Commit() }},
		{"start", 3, func(s *simulation, rng *rand.Rand) { s.start() }},
		{"kill", 2, func(s *simulation, rng *rand.Rand) { s.kill() }},
		{"terminate", 2, func(s *simulation, rng *rand.Rand) { s.terminate() }},
		{"kill and start", 3, func(s *simulation, rng *rand.Rand) { s.kill(); s.start() }},
		{"crash", 1, func(s *simulation, rng *rand.Rand) { s.crash(rng) }},
		{"other options", 1, func(s *simulation, rng *rand.Rand) {
			s.options([][]string{nil, {excludedPrefix + "*"}}[rng.IntN(2)]...)
		}},
		{"the clock steps", 1, func(s *simulation, rng *rand.Rand) {
			s.stepClock([]time.Duration{-time.Hour, -time.Second, -time.Millisecond, time.Second, time.Hour}[rng.IntN(5)])
		}},
		{"sync", 3, (*simulation).sync},
		{"in the tick of a stamp", 3, (*simulation).inTheTick},
		{"audit", 2, func(s *simulation, rng *rand.Rand) { s.askForAudit() }},
		{"marker removed", 1, func(s *simulation, rng *rand.Rand) { _ = s.shell.Remove(simRoot + "/.tidemark") }},
		{"full", 1, func(s *simulation, rng *rand.Rand) { s.kernel.Full, s.trouble = true, true }},
		{"room", 2, func(s *simulation, rng *rand.Rand) { s.kernel.Full = false }},
		{"read-only", 1, func(s *simulation, rng *rand.Rand) { s.kernel.ReadOnly, s.trouble = true, true }},
		{"writable", 3, func(s *simulation, rng *rand.Rand) { s.kernel.ReadOnly = false }},
		{"calls fail", 2, (*simulation).fault},
		{"rest", 2, func(s *simulation, rng *rand.Rand) { s.rest() }},

		{"quiet", 0, func(s *simulation, rng *rand.Rand) { s.quiet() }}, // these only where they are asked for
		{"reader looks", 0, func(s *simulation, rng *rand.Rand) { s.reader.lookSlowly() }},
		{"heard", 0, (*simulation).heard},
		{"in a batch", 0, (*simulation).inABatch},
		{"links", 0, (*simulation).links},
		{"journal removed", 0, (*simulation).journalRemoved},
		{"journal put back", 0, (*simulation).journalPutBack},
		{"journals exchanged", 0, (*simulation).journalsExchanged},
		{"marker put back", 0, (*simulation).markerPutBack},
		{"full for a moment", 0, (*simulation).fullForAMoment},
		{"writes fail", 0, (*simulation).writesFail},
	}
	simChanges = slices.IndexFunc(simKinds, func(k simKind) bool { return k.name == "reader passes" })
}

const here = unix.AT_FDCWD

// simHistory returns the events of a seed.
func simHistory(seed uint64) (events []simEvent) {
	rng := rand.New(rand.NewPCG(seed, 3))
	sum, weights := 0, make([]int, len(simKinds))
	for i, k := range simKinds {
		if k.weight == 0 {
			continue
		}
		weights[i] = k.weight * []int{0, 1, 1, 5}[rng.IntN(4)] // some kinds often, some never
		sum += weights[i]
	}
	hasty := 1 << rng.IntN(9)
	for range 10 + rng.IntN(60) {
		n := rng.IntN(sum)
		for i := range simKinds {
			if n -= weights[i]; n < 0 {
				events = append(events, simEvent{&simKinds[i], rng.Uint64() >> 40, rng.IntN(hasty)})
				break
			}
		}
	}
	return events
}

// chosen returns n events: changes, and those of some kinds, as often as their weights say.
func chosen(seed uint64, n int, weights map[string]int) (events []simEvent) {
	rng := rand.New(rand.NewPCG(seed, 4))
	of := func(i int) int {
		if i < simChanges {
			return max(simKinds[i].weight, weights[simKinds[i].name])
		}
		return weights[simKinds[i].name]
	}
	sum := 0
	for i := range simKinds {
		sum += of(i)
	}
	hasty := 1 << rng.IntN(9)
	for range n {
		choice := rng.IntN(sum)
		for i := range simKinds {
			if choice -= of(i); choice < 0 {
				events = append(events, simEvent{&simKinds[i], rng.Uint64() >> 40, rng.IntN(hasty)})
				break
			}
		}
	}
	return events
}

// happen lets an event happen in its time.
func (s *simulation) happen(e simEvent) {
	rng := rand.New(rand.NewPCG(e.seed, s.seed))
	for range e.gap {
		if rng.IntN(6) == 0 || !s.order.Step() {
			s.order.Pass(simPause(rng))
		}
	}
	s.look()
	s.kernel.Note("EVENT %v", e)
	e.kind.do(s, rng)
}

// simPause returns a time to pass. It is odd, so that no two timers end at one moment: which
// of them is first is not ours to say.
func simPause(rng *rand.Rand) time.Duration {
	most := []time.Duration{2, 1000, 10 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond}[rng.IntN(6)]
	return 1 + time.Duration(rng.Int64N(int64(most)))
}

// rest lets everything come to rest, and checks what must hold then.
func (s *simulation) rest() {
	s.kernel.Full, s.kernel.ReadOnly, s.kernel.MaxWatches, s.faults = false, false, simWatches, 0
	s.giveRootBack()
	for range 3 { // it may have given up meanwhile
		s.endDeaf()
		if s.start(); !s.settle() {
			return
		}
	}
	s.trouble = false
	for range 5 { // a degraded tree is audited once a minute
		if state, _ := s.state(); state == wire.Watched {
			break
		}
		s.order.Pass(time.Minute)
		if !s.settle() {
			return
		}
	}
	for pass := 0; ; pass++ {
		s.reader.begin()
		if !s.settle() {
			return
		}
		if s.reader.done && (s.sawRoot() || pass == 4) { // else watch published something since: a directory that it could not read before
			break
		}
		if pass == 4 {
			s.fail("nothing changes any more, yet the reader is not complete")
			return
		}
	}
	s.reader.judge()
	s.judgeState()
	s.judgeUnread()
	if left := s.cookies(); len(left) > 0 && s.problem == "" {
		s.fail("never answered: %v", left)
	}
}

func (s *simulation) settle() bool {
	if !s.order.Settle(5*time.Second, 30_000) {
		s.fail("it does not come to rest")
		return false
	}
	s.look()
	return s.problem == ""
}

// judgeState checks that the tree is watched, at a moment of rest.
func (s *simulation) judgeState() {
	switch state, why := s.state(); {
	case s.watcher == nil:
		s.fail("watch ended: %s", s.log.String())
	case state != wire.Watched:
		s.fail("%s after a rest: %s", state, why)
	case s.uid == 0 && len(s.exclude) == 0 && !strings.Contains(s.log.String(), "cannot read a directory") && s.kernel.Watches() != s.directories(simRoot):
		s.fail("%d directories are heard after a rest, there are %d", s.kernel.Watches(), s.directories(simRoot))
	}
}

// judgeUnread checks that root's watcher has read everything. What it could not is tried again
// once a minute.
func (s *simulation) judgeUnread() {
	for range 3 {
		if published, err := s.published(); err != nil || s.uid != 0 || s.problem != "" || published.Status.Unread == 0 {
			return
		}
		s.order.Pass(time.Minute)
		s.settle()
	}
	s.fail("something is left unread after a rest: %s", s.log.String())
}

// state returns the state of the tree as readers see it.
func (s *simulation) state() (wire.State, string) {
	published, err := s.published()
	if err != nil {
		return "", err.Error()
	}
	return published.State, published.Status.Error
}

// sawRoot reports whether the root still has the stamp with which the reader saw it last.
func (s *simulation) sawRoot() bool {
	judge := s.kernel.Start("judge", 0)
	defer s.as(judge)()
	fd, err := judge.Openat(here, simRoot, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return false
	}
	root := disk.NewDir(fd, simRoot)
	defer func() { _ = root.Close() }()
	info, err := root.Self()
	have := s.reader.known[""]
	return err == nil && have != nil && have.stamp == info.MTime
}

// published returns what readers see of the tree.
func (s *simulation) published() (p state.Published, err error) {
	judge := s.kernel.Start("judge", 0)
	defer s.as(judge)()
	fd, err := judge.Openat(here, simRoot, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return p, err
	}
	root := disk.NewDir(fd, simRoot)
	defer func() { _ = root.Close() }()
	return state.ReadPublished(root, "")
}

func (s *simulation) now() time.Time { return s.shell.Now() }

func simDir(rng *rand.Rand) string {
	path := simRoot
	for range rng.IntN(4) {
		path += "/" + string(rune('a'+rng.IntN(2)))
	}
	return path
}

func simSub(rng *rand.Rand) string {
	for {
		if path := simDir(rng); path != simRoot {
			return path
		}
	}
}

func simFile(rng *rand.Rand) string {
	return simDir(rng) + "/" + []string{"f", "f", "g", "h", excludedPrefix}[rng.IntN(5)]
}

func simAny(rng *rand.Rand) string {
	if rng.IntN(2) == 0 {
		return simDir(rng)
	}
	return simFile(rng)
}

func simOut(rng *rand.Rand) string  { return "/outside/" + string(rune('o'+rng.IntN(2))) }
func simText(rng *rand.Rand) string { return fmt.Sprint(rng.IntN(1000)) }

func simPast(rng *rand.Rand) time.Time { return time.Unix(1_000_000_000+rng.Int64N(3), 0) }

// fault lets some of the next calls of watch fail.
func (s *simulation) fault(rng *rand.Rand) {
	s.fails = []unix.Errno{unix.EIO, unix.EMFILE, unix.ENOMEM, unix.ENOSPC, unix.EACCES}[rng.IntN(5)]
	s.faults, s.skip, s.trouble = 1+rng.IntN(3), rng.IntN(100), true
}

func (s *simulation) keepLog(rng *rand.Rand) {
	if s.open == 0 || rng.IntN(4) == 0 {
		if s.open != 0 {
			_ = s.shell.Close(s.open)
		}
		s.open, _ = s.shell.Openat(here, simFile(rng), unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND, 0o644)
		s.open = max(s.open, 0)
	}
	if s.open != 0 {
		_, _ = s.shell.Pwrite(s.open, []byte(simText(rng)), -1)
	}
}

func (s *simulation) touchLike(rng *rand.Rand) {
	if mtime, _, err := s.shell.Times(simAny(rng)); err == nil {
		_ = s.shell.Touch(simAny(rng), mtime, rng.IntN(2) == 0)
	}
}

// behindItsBack changes a directory and puts back the mtime that it had, as tar and rsync
// do.
func (s *simulation) behindItsBack(rng *rand.Rand) {
	dir := simDir(rng)
	mtime, _, err := s.shell.Times(dir)
	if err != nil {
		return
	}
	_ = s.shell.Write(dir+"/f", simText(rng))
	_ = s.shell.Touch(dir, mtime, rng.IntN(2) == 0)
}

func (s *simulation) save(rng *rand.Rand) {
	f := simFile(rng)
	if s.shell.Write(f+".new", simText(rng)) == nil {
		_ = s.shell.Rename(f+".new", f, 0)
	}
}

// deploy fills a directory aside and moves it to the place of another.
func (s *simulation) deploy(rng *rand.Rand) {
	dir := simSub(rng)
	next := dir + ".next"
	if s.shell.Mkdir(next, 0o755) != nil {
		return
	}
	_ = s.shell.Mkdir(next+"/a", 0o755)
	_ = s.shell.Write(next+"/a/f", simText(rng))
	_ = s.shell.Touch(next+"/a/f", simPast(rng), false)
	_ = s.shell.Rename(dir, dir+".old", 0)
	_ = s.shell.Rename(next, dir, 0)
	_ = s.shell.Remove(dir + ".old")
}
