package audit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/simkernel"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// gate is a source that lets workers through one by one.
type gate struct {
	notify.Source
	waiting chan waiter
}

// waiter is a worker that waits to arm a directory.
type waiter struct {
	name string
	pass chan struct{}
}

func (g *gate) Arm(_ notify.Ref, _ int, name string, _ int) (notify.Ref, bool, error) {
	w := waiter{name, make(chan struct{})}
	g.waiting <- w
	<-w.pass
	return notify.Marker, false, nil
}

// inAMachine runs an audit of a root with some directories in a machine with three
// processors, and does something meanwhile.
func inAMachine(t *testing.T, names string, scope Scope, during func(g *gate, cancel func(), ended <-chan Report)) {
	synctest.Test(t, func(t *testing.T) {
		k := simkernel.New(simkernel.Options{})
		defer sys.Simulate(k.Start("watch", 0))()
		require.NoError(t, k.Shell(0).Mkdir("/tree", 0o755))
		for _, name := range strings.Fields(names) {
			require.NoError(t, k.Shell(0).Mkdir("/tree/"+name, 0o755))
		}
		root, err := disk.OpenRoot("/tree")
		require.NoError(t, err)
		g := &gate{waiting: make(chan waiter, 100)}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan Report, 1)
		go func() {
			ended <- Run(ctx, Tree{
				Root: root, Source: g, Exclude: &glob.List{}, Granule: 1, Now: machine.Now,
				OwnWrites: ownwrites.New(nil, nil, at(0)), Health: health.NewMonitor(nil, nil, nil),
			}, scope, make(chan []Finding))
		}()
		during(g, cancel, ended)
	})
}

// atGate waits until nothing moves, and returns how many directories wait there.
func (g *gate) atGate() int {
	synctest.Wait()
	return len(g.waiting)
}

// pass lets some through that wait.
func (g *gate) pass(n int) {
	for range n {
		close((<-g.waiting).pass)
	}
}

// only lets the one of that name through.
func (g *gate) only(name string) {
	for {
		w := <-g.waiting
		if w.name == name {
			close(w.pass)
			return
		}
		g.waiting <- w
	}
}

// As many directories are read at once as there are processors, by workers that wait for one
// another: they end when all is read. An audit that is to be slow has one.
func TestWorkers(t *testing.T) {
	for _, slow := range []bool{false, true} {
		inAMachine(t, "a b c d", Scope{Slow: slow, Since: at(1 << 33)}, func(g *gate, _ func(), ended <-chan Report) {
			require.Equal(t, 1, g.atGate(), "the root")
			g.pass(1)
			if slow {
				for range 4 {
					require.Equal(t, 1, g.atGate())
					g.pass(1)
				}
			} else {
				require.Equal(t, 3, g.atGate())
				g.pass(3)
				require.Equal(t, 1, g.atGate())
				g.pass(1)
			}
			r := <-ended
			require.NoError(t, r.Err)
			require.Equal(t, int64(5), r.Directories)
		})
	}
}

// Nobody waits while there is something to read, also if others are still busy.
func TestWorkersAreWoken(t *testing.T) {
	inAMachine(t, "a a/x a/y b", Scope{Since: at(1 << 33)}, func(g *gate, _ func(), ended <-chan Report) {
		require.Equal(t, 1, g.atGate())
		g.pass(1)
		require.Equal(t, 2, g.atGate(), "a, b")
		g.only("a")
		require.Equal(t, 3, g.atGate(), "b, a/x, a/y")
		g.pass(3)
		require.NoError(t, (<-ended).Err)
	})
}

// An audit that is broken off reads no further directory, and proves nothing.
func TestBrokenOff(t *testing.T) {
	inAMachine(t, "a b c d", Scope{Since: at(1 << 33)}, func(g *gate, cancel func(), ended <-chan Report) {
		require.Equal(t, 1, g.atGate())
		g.pass(1)
		require.Equal(t, 3, g.atGate())
		cancel()
		g.pass(3)
		r := <-ended
		require.ErrorIs(t, r.Err, context.Canceled)
		require.Equal(t, int64(4), r.Directories)
		require.Equal(t, 0, g.atGate())
	})
}

// Nor does it wait for somebody to take its findings.
func TestBrokenOffWithFindings(t *testing.T) {
	inAMachine(t, "a b c d", Scope{All: true}, func(g *gate, cancel func(), ended <-chan Report) {
		for _, n := range []int{1, 3, 1} {
			require.Equal(t, n, g.atGate())
			g.pass(n)
		}
		<-time.After(time.Minute)
		require.Empty(t, ended)
		cancel()
		r := <-ended
		require.ErrorIs(t, r.Err, context.Canceled)
		require.Equal(t, int64(5), r.Found)
		require.Equal(t, time.Minute, r.Waited)
		require.Zero(t, r.Took(), "else the next audit, which goes by that, is put off by waits for the clock")
	})
}

// Findings go to the writer many at a time, in the order in which they were made; none twice,
// and no more than fit.
func TestFindingsAtOnce(t *testing.T) {
	var paths []string
	for i := range FindingsAtOnce + 50 {
		paths = append(paths, fmt.Sprintf("d%04d/", i))
	}
	for _, slow := range []bool{false, true} {
		s := newSurvey(t, paths...)
		s.All, s.Slow = true, slow
		found := strings.Fields(s.run())
		require.Len(t, s.findings, len(paths)+1)
		require.Len(t, found, len(paths)+1)
		require.Equal(t, []int{FindingsAtOnce, 51}, s.sizes)
	}
}

// While others report, another worker may have sent what filled up: few are kept until there
// are many, or none come any more.
func TestFewFindingsWait(t *testing.T) {
	findings := make(chan []Finding, 1)
	s := &scan{ctx: t.Context(), findings: findings, chunk: make([]Finding, FindingsAtOnce-1)}
	s.send(false)
	require.Empty(t, findings)
	s.send(true)
	require.Len(t, <-findings, FindingsAtOnce-1)
	s.send(true)
	require.Empty(t, findings)
}
