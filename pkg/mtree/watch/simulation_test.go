package watch_test

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/internal/proof"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/wire"
)

// TestSimulation runs histories of a watched tree on a machine in memory, as package
// simkernel makes it. Each seed runs twice, with equal traces. At each moment of rest the
// reader believes what is there, no stamp stands for two contents, and the tree is watched.
// A history that fails is shrunk, and printed with its trace.
func TestSimulation(t *testing.T) { simulateAll(t, simRounds, simHistory) }

// simulateAll runs the histories of seeds. Before each, prepare may alter what is there.
func simulateAll(t *testing.T, rounds int, history func(seed uint64) []simEvent, prepare ...func(*simulation)) {
	simulate := func(t *testing.T, seed uint64, events []simEvent) simResult {
		return simulate(t, seed, events, prepare...)
	}
	tryOpenat2(t)
	seeds, forks := 0, []string{} // those whose two runs differed
	proof.Rounds(t, rounds, func(t *testing.T, seed uint64) {
		seeds++
		events := history(seed)
		first := simulate(t, seed, events)
		second := simulate(t, seed, events)
		proof.Count("simulated runs of watch", 2)
		proof.Count("simulated system calls of watch", first.calls)
		proof.Count("simulated parts", first.told)
		proof.Count("simulated parts that were taken", first.used)
		if first.sum != second.sum {
			proof.Count("simulated seeds of watch whose runs differed", 1)
			first.problem = cmp.Or(first.problem, second.problem)
			if !proof.MostAgree(first.sum, second.sum, func() uint64 { return simulate(t, seed, events).sum }) {
				forks = append(forks, fmt.Sprintf("seed %d:\n%s", seed, fork(first, second)))
			}
		}
		if first.problem == "" {
			return
		}
		events = proof.Shrink(events, proof.Shrinking(t, time.Minute), func(fewer []simEvent) bool { return simulate(t, seed, fewer).problem != "" })
		last := simulate(t, seed, events)
		if file := proof.Trace(); file != "" {
			must(t, os.WriteFile(file, []byte(strings.Join(last.lines, "\n")+"\n"+last.log), 0o644))
		}
		t.Fatalf("seed %d: %s\nshrunk to %d events: %s\n%v\nits trace:\n%s\nlog:\n%s", seed, first.problem, len(events), last.problem, events,
			tail(last.lines, simLines), tail(strings.Split(last.log, "\n"), 30))
	})
	require.LessOrEqual(t, len(forks), 1+seeds/simForks, "not deterministic:\n%s", strings.Join(forks, "\n"))
}

// tryOpenat2 lets package beneath find out now what it finds out once in each process.
func tryOpenat2(t *testing.T) {
	d, err := disk.OpenRoot(t.TempDir())
	must(t, err)
	below, err := d.OpenDirPath("", true)
	must(t, err)
	_, _ = below.Close(), d.Close()
}

const (
	simRounds = 40
	simForks  = 50  // of so many seeds one may have runs that disagree: see proof.MostAgree
	simLines  = 100 // of a trace that are printed
)

// simResult is how a history ended.
type simResult struct {
	problem string
	sum     uint64
	lines   []string
	calls   int
	log     string

	told, used int // parts
}

// simulate runs a history.
func simulate(t *testing.T, seed uint64, events []simEvent, prepare ...func(*simulation)) (r simResult) {
	defer sys.Simulate(nil)()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // goroutines that one call sets free run one after the other
	synctest.Test(t, func(*testing.T) {
		s := newSimulation(seed)
		for _, f := range prepare {
			f(s)
		}
		for _, e := range events {
			if s.happen(e); s.problem != "" {
				break
			}
		}
		if s.problem == "" {
			s.rest()
		}
		r.sum, r.lines = s.kernel.Trace()
		r.problem, r.calls, r.log = s.problem, s.kernel.Calls(), s.log.String()
		s.kill()
		s.reader.end()
		if p := s.reader.parts; p != nil {
			r.told, r.used = p.told, p.used
		}
	})
	return r
}

// TestStatusIsWrittenAgain: the disk refused the one write that says that the tree is watched.
// Nothing wrote the status again before the next change, so readers of an idle tree took it
// for unwatched and compared everything at each pass, for up to a day. A write that would
// have said "degraded" could fail in the same way. Of several failures in a row one is logged.
func TestStatusIsWrittenAgain(t *testing.T) {
	tryOpenat2(t)
	defer sys.Simulate(nil)()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(1)
		for range 3000 {
			if s.faults, s.fails, s.only = 1, unix.EIO, ", 4096)"; strings.Contains(s.log.String(), "armed") {
				break
			}
			if !s.order.Step() {
				s.order.Pass(time.Millisecond)
			}
		}
		for s.faults = 1000; s.faults > 995; { // tries that follow fail, too
			if !s.order.Step() {
				s.order.Pass(time.Second)
			}
		}
		require.Equal(t, 1, strings.Count(s.log.String(), "cannot write the status"), s.log.String())
		s.faults = 0
		s.settle()
		state, _ := s.state()
		s.kill()
		s.reader.end()
		require.Equal(t, wire.Watched, state, s.log.String())
	})
}

// fork returns where two traces part.
func fork(a, b simResult) string {
	for i := range min(len(a.lines), len(b.lines)) {
		if a.lines[i] != b.lines[i] {
			before := strings.Join(a.lines[max(0, i-40):i], "\n")
			return fmt.Sprintf("%s\none:   %s\nother: %s", before, a.lines[i], b.lines[i])
		}
	}
	return fmt.Sprintf("they have %d and %d lines", len(a.lines), len(b.lines))
}

// tail returns the last n lines.
func tail(lines []string, n int) string { return strings.Join(lines[max(0, len(lines)-n):], "\n") }
