package watch_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestSimulatedParts runs histories in which the reader follows by parts: it takes the names
// that the journal tells, and nothing else of a directory, wherever its own record and the
// spans of the journal say that this suffices.
func TestSimulatedParts(t *testing.T) {
	simulateAll(t, partsRounds, func(seed uint64) []simEvent { return partsHistory(seed, partsKinds) }, func(s *simulation) { s.reader.parts = newSimParts(s.seed, planted{}) })
}

const partsRounds = 60

// partsHistory returns the events of a seed: first everything is published and seen once.
func partsHistory(seed uint64, kinds map[string]int) []simEvent {
	quiet := simEvent{kind: simKindOf("quiet")}
	return append([]simEvent{quiet}, chosen(seed, 4+int(seed%24), kinds)...)
}

// simKindOf returns the kind with a name.
func simKindOf(name string) *simKind {
	for i := range simKinds {
		if simKinds[i].name == name {
			return &simKinds[i]
		}
	}
	return nil
}

// partsKinds are the kinds of events of TestSimulatedParts besides changes, and how often.
var partsKinds = map[string]int{
	"heard": 200, "in a batch": 50, "quiet": 30, "reader passes": 60, "reader looks": 60, "a long while": 20, "in the tick of a stamp": 10, "behind a stamp": 3, "across the tick": 5, "arrives in the tick": 3,
	"touched back": 5, "a twin arrives": 3, "time comes again": 5, "the clock steps": 3, "a loss in an audit": 2, "away for long": 4, "audit": 3,
	"kill and start": 5, "terminate": 2, "start": 5, "crash": 1, "sync": 10, "rest": 6, "journal": 3, "once": 1, "calls fail": 2,
	"other rights": 2, "root given away": 2, "a closed directory": 2, "without events": 2, "deaf for long": 2, "excluded for long": 2,
	"other options": 1, "full": 1, "room": 2, "read-only": 1, "writable": 3, "kill": 2, "the clock is set back while away": 2,
	"links": 8, "journal removed": 3, "journal put back": 3, "journals exchanged": 2, "marker put back": 1, "full for a moment": 4, "writes fail": 4,
}

// heard changes files of directories that are there, while watch runs. Readers look in between.
func (s *simulation) heard(rng *rand.Rand) {
	s.start()
	for range 1 + rng.IntN(4) {
		s.changeFile(rng)
		switch rng.IntN(6) {
		case 0:
			s.untilStamp()
		case 1:
			s.reader.lookSlowly()
		case 2:
			s.reader.begin()
		case 3:
			s.order.Settle(100*time.Millisecond, 300)
		case 4:
			for range rng.IntN(30) {
				s.order.Step()
			}
		}
	}
	if rng.IntN(2) == 0 {
		s.order.Settle(time.Second, 3000)
	}
}

// inABatch lets a reader look while a batch is published. What it knows of the directories above
// is older than the batch before, so that it goes down.
func (s *simulation) inABatch(rng *rand.Rand) {
	s.start()
	dir := simDir(rng)
	_ = s.shell.Write(dir+"/f", simText(rng))
	s.order.Settle(time.Second, 3000)
	for range 1 + rng.IntN(3) {
		_ = s.shell.Write(dir+"/"+[]string{"f", "g"}[rng.IntN(2)], simText(rng))
		s.untilCall([]string{"write(", "utimensat(", "openat("}[rng.IntN(3)])
		for range rng.IntN(12) {
			s.order.Step()
		}
		if rng.IntN(2) == 0 {
			s.reader.lookSlowly()
		} else {
			s.reader.begin()
		}
		if rng.IntN(2) == 0 {
			s.order.Settle(time.Second, 3000)
		}
	}
}

// changeFile changes a file in one of the directories.
func (s *simulation) changeFile(rng *rand.Rand) {
	var dirs []string
	for _, path := range s.paths(simRoot) {
		if !strings.HasPrefix(path, strings.TrimSuffix(simMarker, "/")) && len(s.shell.Names(path)) > 0 {
			dirs = append(dirs, path)
		}
	}
	if len(dirs) == 0 {
		return
	}
	at := func() string {
		return dirs[rng.IntN(len(dirs))] + []string{"/f", "/g", "/h", "/l1", "/l2"}[rng.IntN(5)]
	}
	switch f := at(); rng.IntN(10) {
	case 0, 1, 2, 3:
		_ = s.shell.Write(f, simText(rng))
	case 4:
		_ = s.shell.Append(f, simText(rng))
	case 5, 6:
		_ = s.shell.Unlinkat(here, f, 0)
	case 7:
		_ = s.shell.Chmod(f, 0o600+uint32(rng.IntN(2)*0o44))
	case 8:
		_ = s.shell.Touch(f, simPast(rng), true)
	case 9:
		if strings.HasSuffix(f, "/l1") || strings.HasSuffix(f, "/l2") {
			return // another change may move that name to where no name of the file is heard
		}
		_ = s.shell.Rename(f, f[:strings.LastIndexByte(f, '/')]+[]string{"/f", "/g", "/h"}[rng.IntN(3)], 0)
	}
}

// links writes through one of several names of a file in one directory.
func (s *simulation) links(rng *rand.Rand) {
	dir := simDir(rng)
	if _, _, err := s.shell.Times(dir + "/l2"); err != nil {
		_ = s.shell.Write(dir+"/l1", simText(rng))
		_ = s.shell.Link(dir+"/l1", dir+"/l2")
		if rng.IntN(2) == 0 {
			s.quiet()
		}
	}
	name := dir + []string{"/l1", "/l2"}[rng.IntN(2)]
	_ = s.shell.Write(dir+"/new", simText(rng))
	_ = s.shell.Append(name, simText(rng))
	for range rng.IntN(2) * rng.IntN(20) { // between the events and the look at the name, if it is so
		s.order.Step()
	}
	switch rng.IntN(6) {
	case 0:
		_ = s.shell.Unlinkat(here, name, 0)
	case 1:
		_ = s.shell.Rename(dir+"/new", name, 0)
	case 2:
		_ = s.shell.Unlinkat(here, name, 0)
		_ = s.shell.Mkdir(name, 0o755)
	}
}

// simJournalFile returns a file of the journal.
func simJournalFile(rng *rand.Rand) string { return simMarker + fmt.Sprint("journal.", rng.IntN(2)) }

func (s *simulation) journalRemoved(rng *rand.Rand) {
	_ = s.shell.Unlinkat(here, simJournalFile(rng), 0)
}

func (s *simulation) journalsExchanged(rng *rand.Rand) {
	_ = s.shell.Rename(simMarker+"journal.0", simMarker+"journal.1", unix.RENAME_EXCHANGE)
}

// meanwhile lets things change, and be published in part or as a whole.
func (s *simulation) meanwhile(rng *rand.Rand) {
	for range 1 + rng.IntN(3) {
		s.change(rng)
		if rng.IntN(2) == 0 {
			s.order.Settle(300*time.Millisecond, 3000)
		}
		if rng.IntN(4) == 0 {
			s.reader.lookSlowly()
		}
	}
	for range rng.IntN(100) {
		s.order.Step()
	}
}

// journalPutBack puts back a file of the journal as it was, under its own inode or another.
func (s *simulation) journalPutBack(rng *rand.Rand) {
	name := simJournalFile(rng)
	text, err := s.shell.Read(name)
	if err != nil {
		return
	}
	s.meanwhile(rng)
	if rng.IntN(2) == 0 {
		_ = s.shell.Write(name, text)
		return
	}
	_ = s.shell.Write("/outside/journal", text)
	_ = s.shell.Rename("/outside/journal", name, 0)
	s.own()
}

// markerPutBack puts back .tidemark as it was.
func (s *simulation) markerPutBack(rng *rand.Rand) {
	const at = "/outside/marker/"
	marker := strings.TrimSuffix(simMarker, "/")
	_ = s.shell.Remove("/outside/marker")
	if s.shell.Mkdir("/outside/marker", 0o755) != nil {
		return
	}
	for _, name := range s.shell.Names(marker) {
		if text, err := s.shell.Read(simMarker + name); err == nil {
			_ = s.shell.Write(at+name, text)
		}
	}
	s.meanwhile(rng)
	_ = s.shell.Remove(marker)
	_ = s.shell.Rename("/outside/marker", marker, 0)
	s.own()
}

// fullForAMoment lets the disk be full while things change.
func (s *simulation) fullForAMoment(rng *rand.Rand) {
	s.kernel.Full, s.trouble = true, true
	s.meanwhile(rng)
	if rng.IntN(2) == 0 {
		s.reader.lookSlowly()
	}
	s.kernel.Full = false
}

// writesFail lets writes of watch fail, and its locks.
func (s *simulation) writesFail(rng *rand.Rand) {
	s.only = []string{"write(", "fcntl(", "statx(", "openat("}[rng.IntN(4)]
	s.fails = []unix.Errno{unix.EIO, unix.ENOSPC, unix.EMFILE}[rng.IntN(3)]
	s.faults, s.skip, s.trouble = 1+rng.IntN(3), rng.IntN(4), true
	s.meanwhile(rng)
	s.only, s.faults = "", 0
}

// A reader by parts takes parts.
func TestSimulatedPartsAreTaken(t *testing.T) {
	simulated(t, func(s *simulation) {
		s.reader.parts = newSimParts(1, planted{})
		for i := range 10 {
			must(t, s.shell.Write(simRoot+"/a/f", fmt.Sprint(i)))
			s.quiet()
		}
		s.rest()
		require.Greater(t, s.reader.parts.used, 5)
	})
}

// A file with two names in one directory was written under one of them, and that name was
// removed, or given to another file or a directory, before the batch: the name that was heard says nothing of
// the other one.
func TestLinksThatAreWrittenAndRemoved(t *testing.T) {
	for i := range uint64(16) { // readers that ask in different ways
		how := i % 3
		simulated(t, func(s *simulation) {
			s.reader.parts = newSimParts(i, planted{})
			must(t, s.shell.Write(simRoot+"/a/l1", "one"))
			must(t, s.shell.Link(simRoot+"/a/l1", simRoot+"/a/l2"))
			s.rest()
			must(t, s.shell.Append(simRoot+"/a/l1", "two"))
			switch how {
			case 0:
				must(t, s.shell.Rename(simRoot+"/a/f", simRoot+"/a/l1", 0))
			case 1:
				must(t, s.shell.Unlinkat(here, simRoot+"/a/l1", 0))
			case 2:
				must(t, s.shell.Unlinkat(here, simRoot+"/a/l1", 0))
				must(t, s.shell.Mkdir(simRoot+"/a/l1", 0o755))
			}
			s.rest()
		})
	}
}
