package mirror

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/wire"
)

// page returns the page of the mirror of b.
func (b *bench) page() string {
	b.t.Helper()
	var out bytes.Buffer
	require.NoError(b.t, WritePage(&out, b.config, "1.2.3"))
	return out.String()
}

// The page says how the copy stands, what is held and how to release it, and where it comes from. Nothing from
// the tree becomes markup.
func TestMirrorPage(t *testing.T) {
	s, b := overHTTP(t, `"<script>alert(1)</script>" = 1`, "keep = 2", "b/x = 3")
	b.config.Dest += " it's"
	require.NoError(t, WritePage(&bytes.Buffer{}, b.config, ""))
	require.Contains(t, b.page(), "There is no copy yet")
	b.equal(s)
	require.Contains(t, b.page(), `<span class="word bad">stale</span>`, "no mirror runs any more")
	m, err := open(b.config)
	require.NoError(t, err)
	page := b.page()
	m.close()
	for _, want := range []string{
		`<span class="word good">mirrored</span>`, "Lag in the last hour", "Lag of the last 1h:", "Lag of the last 1d:", "<svg", strings.TrimPrefix(b.server.URL, "http://"),
		"The last that changed something", "tidemark-mirror 1.2.3", `<a href="metrics">`, "its tree is watched", `<meta http-equiv="refresh" content="15">`,
	} {
		require.Contains(t, page, want)
	}
	require.NotContains(t, page, "--release")

	b.config.MaxDelete = "0"
	s.remove("<script>alert(1)</script>")
	require.Error(t, b.once())
	page = b.page()
	require.Contains(t, page, "Deletions that are held")
	require.Contains(t, page, "--max-delete is 0")
	require.Contains(t, page, "%3Cscript%3Ealert(1)%3C")
	require.NotContains(t, page, "<script")
	require.Contains(t, page, `tidemark-mirror --release &#39;/`)
	require.Contains(t, page, `/copy it&#39;\&#39;&#39;s&#39;</pre>`)
	b.config.StateDir = t.TempDir()
	require.Contains(t, b.page(), "There is no copy yet", "another state")
}

// The command that releases is pasted in another directory than mirror was started in: with a relative --state-dir
// it found no copy there, or that of somebody else.
func TestThePageOfARelativeStateDir(t *testing.T) {
	s, b := overHTTP(t, "a = 1", "b = 2")
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("state", 0o755))
	b.config.StateDir = "state"
	b.equal(s)
	b.config.MaxDelete = "0"
	s.remove("a")
	require.Error(t, b.once())
	here, err := os.Getwd()
	require.NoError(t, err)
	require.Contains(t, b.page(), "tidemark-mirror --state-dir "+here+"/state --release /")
}

// The page told how much the copy has now beside what was counted long ago, and did not say so: the two contradicted
// each other.
func TestThePageSaysWhenItWasCounted(t *testing.T) {
	s, b := overHTTP(t, "a = 1")
	b.equal(s)
	require.Regexp(t, `1 file, 1 directory, 1 byte, as counted [0-9.]+m?s ago`, b.page())
}

// While a first copy runs the page says how far it is.
func TestMirrorPageOfAFirstCopy(t *testing.T) {
	s, b := overHTTP(t, "a/f = 1")
	b.equal(s)
	r, err := open(b.config)
	require.NoError(t, err)
	defer r.close()
	require.NoError(t, r.replica.UpdateStatus(func(st *state.Status) bool {
		st.State, st.Error = wire.Filling, "the source <answers> 500"
		st.Pass = &state.Pass{Began: mtree.FromTime(time.Now().Add(-time.Minute)), Permill: 432, About: true, Left: 310, Rate: 1 << 20, Total: wire.Entries{Files: 10, Bytes: 1 << 30}}
		away := mtree.FromTime(time.Now().Add(-time.Hour))
		st.Away = &away
		return true
	}))
	page := b.page()
	for _, want := range []string{`<progress max="100" value="43">`, "about 43%, 5m10s left, 1.0 MiB/s", "began 1m ago", "The first copy is under way", "has not answered for 1h", "the source &lt;answers&gt; 500"} {
		require.Contains(t, page, want)
	}
}

// The lag of a time is that at its worst, also while nothing is confirmed.
func TestHistoryOfTheLag(t *testing.T) {
	var h history
	at := func(sec int64) time.Time { return time.Unix(1_700_000_000+sec, 0) }
	hour, day := h.lag(at(0))
	require.Nil(t, hour)
	require.Nil(t, day)
	most := func(now int64) (values []float64) {
		hour, _ := h.lag(at(now))
		for _, v := range hour.Values(at(now)) {
			if !math.IsNaN(v) {
				values = append(values, v)
			}
		}
		return values
	}
	h.begin(at(-100), at(0)) // an earlier run of mirror confirmed that
	require.Equal(t, []float64{105}, most(5))
	h.confirm(at(10), at(10)) // intervals of 30 s begin at -20, 10, 40, ...
	require.Equal(t, []float64{110}, most(10))
	h.confirm(at(35), at(36))
	h.confirm(at(50), at(50))
	require.Equal(t, []float64{110, 26, 15}, most(55))
	require.Equal(t, []float64{110, 26, 20, 50, 80, 90}, most(140), "nothing is confirmed any more")
	require.Equal(t, []float64{110, 26, 15}, most(55), "looking changes nothing")
	h.confirm(at(30), at(20)) // the clock was set back
	require.NotPanics(t, func() { most(20) })
}

// Passes that did nothing, and left as much undone as the one before, are not worth a line.
func TestHistoryOfPasses(t *testing.T) {
	var h history
	note := func(r pass.Result, cause string) { h.note(&r, cause, time.Unix(1, 0)) }
	note(pass.Result{}, "")
	require.Empty(t, h.latest())
	note(pass.Result{Changed: true, Fetched: 1}, "")
	note(pass.Result{Held: 3}, "")
	note(pass.Result{Held: 3}, "")
	note(pass.Result{Held: 3}, "the source answers 500")
	note(pass.Result{Held: 3}, "the source answers 500")
	note(pass.Result{}, "")
	note(pass.Result{Full: true}, "")
	var held []int64
	for _, p := range h.latest() {
		held = append(held, p.Held)
	}
	require.Equal(t, []int64{0, 0, 3, 3, 0}, held, "the latest first")
	for range 2 * maxPasses {
		note(pass.Result{Changed: true}, "")
	}
	require.Len(t, h.latest(), maxPasses)
}

func TestShellWord(t *testing.T) {
	for text, want := range map[string]string{"/srv/copy-1_a.b": "/srv/copy-1_a.b", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "é": "'é'"} {
		require.Equal(t, want, shellWord(text))
	}
}
