package mirror

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/wire"
)

// Progress is reported while a single large file is fetched, with the bytes of it that arrived.
// At the end the report is complete.
func TestProgressOfALargeFile(t *testing.T) {
	s, b := overHTTP(t, "big = "+strings.Repeat("b", 5<<20), "small = x")
	var arrived atomic.Int64
	var last Progress
	b.config.Progress = func(p Progress) {
		arrived.Store(p.Bytes)
		if last = p; !p.Done {
			require.LessOrEqual(t, p.Bytes, p.WantBytes)
			require.Positive(t, p.Took)
		}
	}
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/big" {
			return false
		}
		w.Header().Set("ETag", r.Header.Get("If-Match"))
		w.Header().Set("Content-Length", fmt.Sprint(5<<20))
		_, _ = w.Write([]byte(strings.Repeat("b", 1<<20)))
		_ = http.NewResponseController(w).Flush()
		if !assertEventually(func() bool { return arrived.Load() >= 1<<20 }) {
			t.Error("nothing is told while it arrives")
		}
		_, _ = w.Write([]byte(strings.Repeat("b", 4<<20)))
		return true
	})
	b.equal(s)
	require.True(t, last.Done)
	require.EqualValues(t, 5<<20+1, last.Bytes)
	require.Equal(t, last.WantBytes, last.Bytes)
	require.EqualValues(t, 2, last.Fetched)
	require.Zero(t, last.Pending)
}

// count makes the source say how much it has, as an audit would.
func (s *tree) count(e wire.Entries) {
	s.t.Helper()
	require.NoError(s.t, s.status.Write(state.Status{State: wire.Watched, Entries: &state.Entries{Entries: e}}))
}

// awaitCount waits until the server of b tells how much the source has.
func (b *bench) awaitCount(e wire.Entries) {
	b.t.Helper()
	require.True(b.t, assertEventually(func() bool {
		resp, err := http.Get(b.config.Source + "/?txt")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.Header.Get(wire.HeaderEntries) == e.String()
	}))
}

// reports are what is told of the passes of a mirror.
type reports struct {
	mu  sync.Mutex
	all []Progress
}

func (r *reports) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

func (r *reports) last() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[len(r.all)-1]
}

// next waits for a report that begins after the call, and returns it.
func (r *reports) next() Progress {
	n := r.count()
	_ = assertEventually(func() bool { return r.count() > n+1 })
	return r.last()
}

// follow records what is told of the passes of b.
func (b *bench) follow() *reports {
	r := &reports{}
	b.config.Progress = func(p Progress) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all = append(r.all, p)
		if p.Permill > 1000 || p.Finished.Files < 0 || p.Finished.Bytes < 0 || p.Left < -1 {
			b.t.Errorf("%+v", p)
		}
	}
	return r
}

// A first copy knows by the counts of the source how much there is, over HTTP and from a directory, while
// directories wait to be listed; at the end exactly. Nothing is left waiting.
func TestProgressOfAFirstCopy(t *testing.T) {
	lines := []string{}
	for d := range 6 {
		for f := range 5 {
			lines = append(lines, fmt.Sprintf("d%d/f%d = 12345", d, f))
		}
	}
	has := wire.Entries{Files: 30, Directories: 7, Bytes: 150}
	for _, local := range []bool{false, true} {
		s, b := overHTTP(t, lines...)
		if local {
			b = newBench(t, s.root)
		}
		s.count(has)
		if b.config.Jobs = 1; !local {
			b.awaitCount(has)
		}
		told := b.follow()
		b.equal(s)
		last := told.last()
		require.True(t, last.Done)
		require.Equal(t, has, last.Finished)
		require.Equal(t, has, last.Total)
		require.EqualValues(t, 1000, last.Permill)
		require.False(t, last.About)

		// changes: all that there is to do, once all is listed
		s.change("d1/f1 = changed", "d1/new = 1")
		b.equal(s)
		last = told.last()
		require.Positive(t, last.Total.Files) // the two, and those that are compared by sums
		require.Zero(t, last.Total.Directories)
		require.Equal(t, last.Total, last.Finished)
	}
}

// While directories are to be listed it is about that, and what filters leave out makes it less. A source
// that counts nothing, or has grown since, gives no end.
func TestProgressIsAbout(t *testing.T) {
	for _, c := range []struct {
		what    string
		counted wire.Entries
		want    bool
	}{
		{"counted", wire.Entries{Files: 3, Directories: 4, Bytes: 3}, true},
		{"not counted", wire.Entries{}, false},
		{"grown", wire.Entries{Directories: 1}, false},
	} {
		s, b := overHTTP(t, "a/f = 1", "b/f = 1", "c/f = 1")
		if c.counted.Directories > 0 {
			s.count(c.counted)
			b.awaitCount(c.counted)
		}
		b.config.Filters, b.config.Jobs = []string{"- /a/"}, 1
		var first *Progress
		told := b.follow()
		b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/c/" { // the last of its listings waits for a report
				p := told.next()
				first = &p
			}
			return false
		})
		require.NoError(t, b.once())
		require.NotNil(t, first, c.what)
		require.Equal(t, c.want, first.About, c.what)
		require.Equal(t, c.want, first.Permill >= 0, c.what)
		if c.want {
			require.Equal(t, c.counted, first.Total)
		}
	}
}

// A first copy that was stopped goes on where it was: what is complete is counted, and not listed again.
func TestProgressOfAFirstCopyThatGoesOn(t *testing.T) {
	lines := []string{"b/f = 12345", "c/f = 12345", "d/f = 12345"}
	for f := range 256 { // so many are fetched at once
		lines = append(lines, fmt.Sprintf("a/f%d = 12345", f))
	}
	s, b := overHTTP(t, lines...)
	has := wire.Entries{Files: 259, Directories: 5, Bytes: 259 * 5}
	s.count(has)
	b.awaitCount(has)
	b.config.Jobs, b.config.commitFiles = 1, 1
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/d/" {
			stop()
		}
		return false
	})
	require.Error(t, Once(ctx, b.config))
	filled := b.status().Filled
	require.Equal(t, wire.Entries{Files: 256, Directories: 1, Bytes: 256 * 5}, *filled)
	require.Equal(t, has, *b.status().SourceEntries)
	require.Equal(t, has, b.status().Entries.Entries, "the copy is about to have that, and tells copies of it")

	told := b.follow()
	var first Progress
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/d/" {
			first = told.next()
		}
		return false
	})
	b.equal(s)
	require.True(t, first.About)
	require.Equal(t, has, first.Total)
	require.Equal(t, wire.Entries{Files: 256, Directories: 4, Bytes: 256 * 5}, first.Finished)
	require.Equal(t, has, told.last().Finished)
	require.EqualValues(t, 1000, told.last().Permill)
	require.Nil(t, b.status().Filled, "it is complete")
}

// What a first copy passes over was counted by the pass before, as far as that came to write it down. So the
// copy tells what its source counted.
func TestEntriesOfAFirstCopyThatWentOn(t *testing.T) {
	s, b := overHTTP(t, "a/f = 12345", "b/f = 12345")
	has := wire.Entries{Files: 2, Directories: 3, Bytes: 10}
	s.count(has)
	b.awaitCount(has)
	b.equal(s)
	b.alterStatus(func(st *state.Status) { st.State, st.Entries = wire.Filling, nil })
	s.change("b/f = 123")
	b.equal(s)
	require.Equal(t, wire.Mirrored, b.status().State)
	require.Equal(t, has, b.counted().Entries)
}

// A copy tells how much it has: what a pass counted that got to everything; else what its source has
// anew, unless it leaves out some of that.
func TestEntriesOfACopy(t *testing.T) {
	s, b := overHTTP(t, "a/f = 12345", "b/f = 123")
	b.equal(s)
	require.Equal(t, wire.Entries{Files: 2, Directories: 3, Bytes: 8}, b.counted().Entries, "the source counts nothing, the first copy does")
	counted := b.counted()
	s.change("a/g = 1")
	b.equal(s)
	require.Equal(t, counted, b.counted(), "until the next walk")

	more := wire.Entries{Files: 7, Directories: 8, Bytes: 9}
	s.count(more)
	b.awaitCount(more)
	s.change("a/h = 1")
	b.equal(s)
	require.Equal(t, state.Entries{Entries: more}, *b.counted(), "the source does now")
	require.Equal(t, more, *b.status().SourceEntries)

	filtered := s.benchOverHTTP()
	filtered.config.Filters = []string{"- /b/"}
	require.NoError(t, filtered.once())
	require.Equal(t, wire.Entries{Files: 3, Directories: 2, Bytes: 7}, filtered.counted().Entries)
	even := wire.Entries{Files: 70, Directories: 80, Bytes: 90}
	s.count(even)
	filtered.awaitCount(even)
	s.change("a/i = 1")
	require.NoError(t, filtered.once())
	require.Equal(t, wire.Entries{Files: 3, Directories: 2, Bytes: 7}, filtered.counted().Entries, "it leaves out some of that")
	require.Equal(t, even, *filtered.status().SourceEntries)
}

// What a mirror that was killed wrote of its pass is told of no other.
func TestThePassOfAKilledMirror(t *testing.T) {
	s, b := overHTTP(t, "a/f = 12345")
	b.equal(s)
	pass := func() *passReport {
		r, err := lookAtCopy(b.config.Dest, "")
		require.NoError(t, err)
		return r.Pass
	}
	b.alterStatus(func(st *state.Status) { st.Pass = &state.Pass{Permill: 437, About: true, Left: 7} })
	require.Nil(t, pass(), "no mirror runs")
	m, err := open(b.config)
	require.NoError(t, err)
	require.Nil(t, pass(), "another one runs, and is in no pass")
	require.NoError(t, m.replica.UpdateStatus(func(st *state.Status) bool {
		st.Pass = &state.Pass{Permill: 437, About: true, Left: 7}
		return true
	}))
	require.EqualValues(t, 43, *pass().Percent)
	require.EqualValues(t, 7, *pass().Left)
	var text bytes.Buffer
	require.NoError(t, PrintStatus(&text, b.config.Dest, ""))
	require.Contains(t, text.String(), "\npass: about 43%, 7s left, 0 B/s, 0 B of about 0 B, 0 of about 0 files, since ")
	m.close()
	b.requireIdle()
	require.Nil(t, pass())
}

// alterStatus changes status.json of the copy, of which no mirror runs.
func (b *bench) alterStatus(change func(*state.Status)) {
	b.t.Helper()
	root, err := disk.OpenRoot(b.config.Dest)
	require.NoError(b.t, err)
	defer root.Close()
	m, err := state.OpenMarker(root, "")
	require.NoError(b.t, err)
	defer m.Close()
	status, err := m.ReadStatus()
	require.NoError(b.t, err)
	change(&status)
	file, err := m.CreateStatus()
	require.NoError(b.t, err)
	defer file.Close()
	require.NoError(b.t, file.Write(status))
}

// A pass that takes long writes how far it is and tells the service manager, every few seconds. When it
// has ended, the status says nothing of it.
func TestALongPassIsTold(t *testing.T) {
	s, b := overHTTP(t, "a/f = 12345", "b/f = 1")
	has := wire.Entries{Files: 2, Directories: 3, Bytes: 6}
	s.count(has)
	b.awaitCount(has)
	var notices reports
	b.config.Notify = func(line string) {
		if strings.HasPrefix(line, "copying: about ") {
			notices.mu.Lock()
			notices.all = append(notices.all, Progress{})
			notices.mu.Unlock()
		}
	}
	b.config.Jobs = 1
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/b/" && !assertEventually(func() bool { return notices.count() > 0 && b.status().Pass != nil }) {
			t.Error("nothing was told")
		}
		return false
	})
	b.equal(s)
	require.Nil(t, b.status().Pass)
}

func TestQuietPass(t *testing.T) {
	s, b := overHTTP(t, "a/f = 12345")
	b.config.Quiet = true
	b.equal(s)
	require.Empty(t, b.out.String())
	s.change("a/g = 1")
	b.config.DryRun = true
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "a/g", "what was asked for")
	require.NotContains(t, b.out.String(), "listed")
}

// counted returns how much the copy says that it has.
func (b *bench) counted() *state.Entries {
	p := b.published()
	return p.Counted()
}

// What is copied within the copy counts as arrived, and is told from what came.
func TestBytesThatWereInTheCopy(t *testing.T) {
	once := func(b *bench) *pass.Result {
		m, err := open(b.config)
		require.NoError(t, err)
		defer m.close()
		r, err := m.once(t.Context())
		require.NoError(t, err)
		return r
	}
	t.Run("links", func(t *testing.T) {
		s, b := overHTTP(t, "a/f = one")
		s.link("a/f", "b/g", "c/h")
		b.config.HardLinks = true
		require.EqualValues(t, 6, once(b).Copied)
	})
	t.Run("taken over", func(t *testing.T) {
		s, b := overHTTP(t, "a/f = x", "b/")
		s.put("a/big", noise(100_000))
		require.Zero(t, once(b).Copied)
		require.NoError(t, os.Rename(s.path("a/big"), s.path("b/big")))
		s.publishAll("a/big", "b/big")
		require.EqualValues(t, 100_000, once(b).Copied)
	})
	t.Run("put together", func(t *testing.T) {
		old := noise(5 << 20)
		s, b := patched(t, old)
		s.put("log", edited(old, func(text []byte) []byte { text[9] ^= 1; return text }))
		r := once(b)
		require.EqualValues(t, len(old), r.Bytes+r.Copied)
		require.Less(t, r.Bytes, r.Copied)
	})
}
