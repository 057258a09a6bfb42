package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/logbook"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
	"tidemark/pkg/mtree/wire"
)

// Each pass that left something incomplete doubled one pause for everything, even a pass that
// other directories had caused. Now each directory has its own pause, at most a minute, and
// only a look that came when it was due makes it longer.
func TestWhatIsIncompleteHasItsOwnTime(t *testing.T) {
	var l retries
	start := time.Now()
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	behind := func(paths ...string) []string { return paths }
	l.set(behind("a", ""), at(0), at(0))
	require.Equal(t, at(1), l.next())
	for i := range 50 { // news
		l.set(behind("a", ""), at(float64(i)/100), at(float64(i)/100))
	}
	require.Equal(t, at(1), l.next())
	l.set(behind("a", ""), at(1), at(1.5))
	require.Equal(t, at(3.5), l.next())
	l.set(behind("a", "b", ""), at(2), at(2))
	require.Equal(t, at(3), l.next(), "b fails for the first time")
	l.set(behind("a", ""), at(3), at(3))
	require.Equal(t, at(3.5), l.next(), "b does no longer")
	for range 20 {
		due := l.next()
		l.set(behind("a", ""), due, due)
		require.LessOrEqual(t, l.next().Sub(due), longestRetry)
	}
	l.set(behind("a"), at(5000), at(5000))
	require.Len(t, l, 1)
	l.set(nil, at(6000), at(6000))
	require.True(t, l.next().IsZero())
	many := make([]string, 5*mostRetries)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	l.set(behind(many...), at(7000), at(7000))
	require.LessOrEqual(t, len(l), mostRetries+1)
}

// A source that was away for half a minute was asked again half a minute after it was back.
// Asking a source that does not answer costs nothing.
func TestPausesAfterTrouble(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for most, errs := range map[time.Duration][]error{
		longestAway:    {refused, fmt.Errorf("GET: %w", refused), &remote.StatusError{Status: 502}, &remote.StatusError{Status: 503}, &net.DNSError{}},
		longestTrouble: {&remote.StatusError{Status: 401}, mtree.ErrListing, replica.Local(syscall.ENOSPC), exit.With(exit.Local, syscall.EIO, "")},
		longestRefused: {exit.With(exit.Refused, errors.New("another tree"), "")},
	} {
		for _, err := range errs {
			require.LessOrEqual(t, pauseAfter(err, 1, rand.N[time.Duration]), 2*firstRetry, "%v", err)
			for _, tries := range []int{10, 100, 100_000} {
				pause := pauseAfter(err, tries, rand.N[time.Duration])
				require.GreaterOrEqual(t, pause, most*3/4, "%v", err)
				require.LessOrEqual(t, pause, most, "%v: a longest pause is the longest one", err)
			}
		}
	}
	require.GreaterOrEqual(t, pauseAfter(&remote.StatusError{Status: 503, After: 20 * time.Second}, 1, rand.N[time.Duration]), 20*time.Second)
}

// With held deletions, or with one directory that always fails and changes in others, mirror
// asked nothing for minutes after the source was away for a moment.
func TestRunIsBackAtOnceAfterAMoment(t *testing.T) {
	s, b := overHTTP(t, "bad/f = x", "good/f = x")
	b.equal(s)
	b.start()
	var away atomic.Bool
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if away.Load() {
			panic(http.ErrAbortHandler)
		}
		if strings.HasPrefix(r.URL.Path, "/bad/") {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	})
	s.change("bad/f = changed")
	arrives := func(text string) {
		t.Helper()
		s.change("good/f = " + text)
		require.True(t, assertEventually(func() bool { return b.read("good/f") == text }), text)
	}
	for i := range 12 {
		arrives(fmt.Sprint(i))
	}
	away.Store(true)
	b.server.CloseClientConnections()
	require.True(t, assertEventually(func() bool { return b.status().Away != nil }))
	away.Store(false)
	arrives("after")
}

// A release waited for the end of a pause after trouble.
func TestAReleaseEndsAPause(t *testing.T) {
	s, b := overHTTP(t, "a = x")
	b.equal(s)
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	d := &daemon{mirror: m, begun: true, held: true, tries: 20}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, os.WriteFile(b.path(".tidemark/release.new"), nil, 0o644))
	time.AfterFunc(releaseLook/2, func() { // the pause has begun by then
		_ = os.Rename(b.path(".tidemark/release.new"), b.path(".tidemark/release"))
	})
	require.NoError(t, d.trouble(ctx, &remote.StatusError{Status: http.StatusUnauthorized}))
	require.NoError(t, ctx.Err(), "it waits for a minute otherwise")
}

// An idle source looked like a dead one: the lag of a healthy idle copy grew for ever, and a copy
// whose source had died reported nothing. Each answer "unchanged" confirms the copy anew, and
// nothing is written for that.
func TestIdleIsNotDead(t *testing.T) {
	s := watched(t, "a/f = one")
	b := newBench(t, s.root)
	b.config.Interval = time.Millisecond
	var clock atomic.Int64
	clock.Store(2_000_000_000)
	b.config.Now = func() mtree.Stamp { return mtree.Unix(clock.Load(), 0) }
	r := b.start()
	b.eventually(s)
	told := func() int64 {
		root, err := disk.OpenRoot(b.config.Dest)
		require.NoError(t, err)
		defer root.Close()
		m, err := state.OpenMarker(root, "")
		require.NoError(t, err)
		defer m.Close()
		n, err := m.Announced()
		require.NoError(t, err)
		return n
	}
	require.True(t, assertEventually(func() bool { return told() == clock.Load() && b.status().State == wire.Mirrored }))
	before, err := os.Stat(b.path(".tidemark/status.json"))
	require.NoError(t, err)
	for range 3 {
		clock.Add(45)
		require.True(t, assertEventually(func() bool { return told() == clock.Load() }))
	}
	after, err := os.Stat(b.path(".tidemark/status.json"))
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime(), "idle: no disk writes")
	require.Contains(t, b.printStatus(), "confirmed until: 2033-05-18T03:35:35Z\n")
	require.EqualValues(t, clock.Load(), b.stats.Confirmed.Load())
	require.NoError(t, r.stop())
	require.Zero(t, told())
	require.Contains(t, b.printStatus(), "confirmed until: 2033-05-18T03:35:35Z\n", "it is kept for later")
}

// An answer that a cache gave before does not tell how the source is now.
func TestARepeatedAnswerConfirmsNothing(t *testing.T) {
	s, b := overHTTP(t, "a = x")
	b.equal(s)
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	d := &daemon{mirror: m, complete: true}
	d.known.state = wire.Watched
	before := b.stats.Confirmed.Load()
	m.config.Now = func() mtree.Stamp { return mtree.Unix(2_000_000_000, 0) }
	d.heard(&news{Root: source.Root{Unchanged: true, Repeated: true}})
	require.Equal(t, before, b.stats.Confirmed.Load())
	for repeated, want := range map[bool]int64{true: before, false: 2_000_000_000} {
		root, err := m.source.Root(t.Context(), source.Poll{})
		require.NoError(t, err)
		root.Repeated = repeated
		b.stats.Confirmed.Store(before)
		r, err := m.pass(t.Context(), root, false)
		require.NoError(t, err)
		require.True(t, r.Complete)
		require.Equal(t, want, b.stats.Confirmed.Load(), "after a pass")
	}
	b.stats.Confirmed.Store(before)
	d.heard(&news{Root: source.Root{Unchanged: true}})
	require.EqualValues(t, 2_000_000_000, b.stats.Confirmed.Load())
}

// A cache answered with a root from before one that was seen, which the copy equals.
func TestAStaleRootConfirmsNothing(t *testing.T) {
	s, b := overHTTP(t, "a = x")
	b.equal(s)
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	b.server.replay("/?txt", b.server.recorded("/?txt"))
	for _, past := range []bool{true, false} {
		before := b.stats.Confirmed.Load()
		root, err := m.source.Root(t.Context(), source.Poll{})
		require.NoError(t, err)
		root.Past, root.Repeated = past, false
		m.config.Now = func() mtree.Stamp { return mtree.Unix(2_000_000_000, 0) }
		r, err := m.pass(t.Context(), root, false)
		require.NoError(t, err)
		require.True(t, r.Complete)
		require.Equal(t, past, r.Stale)
		require.Equal(t, past, b.stats.Confirmed.Load() == before)
	}
}

// A pass began with a root, and the copy is complete with an earlier one: the mirror waits for what
// came after that.
func TestAMirrorWaitsForWhatItsCopyLacks(t *testing.T) {
	s, b := overHTTP(t, "a = x")
	b.equal(s)
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	for complete, want := range map[bool]int64{true: 1000, false: 2000} {
		d := &daemon{mirror: m}
		root := &source.Root{State: wire.Watched}
		root.Stamp = mtree.Unix(2000, 0)
		d.ended(t.Context(), &pass.Result{Complete: complete, Root: mtree.Unix(1000, 0)}, root, time.Now())
		require.Equal(t, mtree.Unix(want, 0), d.known.stamp)
	}
}

// An outage was not visible: errors_total stayed 0, and --status said "mirrored".
func TestAnOutageIsTold(t *testing.T) {
	for _, state := range []wire.State{wire.Watched, wire.Unwatched} {
		s := watched(t, "a/f = one")
		s.state(state)
		b := s.benchOverHTTP()
		b.start()
		b.eventually(s)
		require.True(t, assertEventually(func() bool { return b.stats.Up.Load() == 1 && b.stats.Confirmed.Load() > 0 }))
		require.NotContains(t, b.printStatus(), "unreachable")
		b.server.interfere(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
		b.server.CloseClientConnections()
		require.True(t, assertEventually(func() bool { return strings.Contains(b.printStatus(), "source unreachable since: ") }))
		require.Zero(t, b.stats.Up.Load())
		require.Positive(t, b.stats.Errors.Load())
		b.server.interfere(nil)
		require.True(t, assertEventually(func() bool { return !strings.Contains(b.printStatus(), "unreachable") }), state)
		require.NotContains(t, b.printStatus(), "error:")
		require.EqualValues(t, 1, b.stats.Up.Load())
	}
}

// A mirror that asks every few seconds does not log that every few seconds, but another kind of trouble at once, and its
// end.
func TestTroubleIsSaidOnceAMinute(t *testing.T) {
	_, b := overHTTP(t)
	var text syncBuffer
	book := logbook.New(slog.NewTextHandler(&text, nil))
	defer book.Close()
	b.config.Log = slog.New(book)
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	d := &daemon{mirror: m}
	told := func() int { return strings.Count(text.String(), "trying again") }
	fail := func(status int) {
		ctx, cancel := context.WithCancel(t.Context())
		d.mirror.config.Notify = func(string) { cancel() } // it does not wait
		d.away = new(mtree.Stamp)
		require.NoError(t, d.trouble(ctx, &remote.StatusError{Status: status}))
	}
	for range 10 {
		fail(http.StatusUnauthorized)
	}
	require.Equal(t, 1, told())
	fail(http.StatusNotFound)
	require.Equal(t, 3, told(), "another cause, and how often the one before came")
	require.Contains(t, text.String(), "again=9")
	fail(http.StatusNotFound)
	d.goesOn()
	require.Contains(t, text.String(), `level=INFO msg="mirroring goes on: the trouble is over" after=0s`)
	fail(http.StatusNotFound)
	require.Equal(t, 5, told(), "it is new again")
	d.goesOn()
	d.goesOn()
	require.Equal(t, 2, strings.Count(text.String(), "mirroring goes on"))
}
