package mirror

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/wire"
)

// Where the end of a pass is: by what the source counted while directories wait to be listed, and exactly
// once all are. What the counts cannot be right about, they are not asked for.
func TestEstimate(t *testing.T) {
	files := func(n int64) wire.Entries { return wire.Entries{Files: n, Directories: 1, Bytes: n * entryBytes} }
	half, whole := files(50), files(100)
	for _, c := range []struct {
		what    string
		p       pass.Progress
		counted wire.Entries
		permill int64
		about   bool
	}{
		{"a first copy", pass.Progress{Whole: true, Visits: 1, Known: files(60), Finished: half}, whole, 502, true},
		{"nobody counted", pass.Progress{Whole: true, Visits: 1, Known: files(60), Finished: half}, wire.Entries{}, -1, false},
		{"all is listed", pass.Progress{Whole: true, Known: files(60), Finished: half}, whole, 834, false},
		{"all is listed, nobody counted", pass.Progress{Whole: true, Known: files(60), Finished: half}, wire.Entries{}, 834, false},
		{"changes", pass.Progress{Visits: 1, Known: files(60), Finished: half}, whole, -1, false},
		{"all changes are listed", pass.Progress{Known: files(60), Finished: half}, whole, 834, false},
		{"it has grown since", pass.Progress{Whole: true, Visits: 1, Known: files(101), Finished: half}, whole, -1, false},
		{"a directory more is to come", pass.Progress{Whole: true, Visits: 1, Known: whole, Finished: whole}, whole, 999, true},
		{"done", pass.Progress{Whole: true, Known: whole, Finished: whole}, whole, 1000, false},
		{"nothing to do", pass.Progress{}, whole, -1, false},
	} {
		got := estimate(&c.p, c.counted, &meter{})
		require.Equal(t, c.permill, got.Permill, c.what)
		require.Equal(t, c.about, got.About, c.what)
	}
}

// Whatever a source counts, and a pass finds: never below 0, never above 100 %, no time left below 0.
func TestEstimateStaysWithinBounds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	number := func() int64 {
		return []int64{0, 1, random.Int64N(1 << 20), random.Int64N(1 << 40), math.MaxInt64 >> 1}[random.IntN(5)]
	}
	entries := func() wire.Entries { return wire.Entries{Files: number(), Directories: number(), Bytes: number()} }
	told := 0
	for range 2000 {
		var m meter
		at := time.Duration(0)
		counted := entries()
		for range 20 {
			p := pass.Progress{
				Took: at, Whole: random.IntN(3) > 0, Visits: random.IntN(2), Known: entries(), Finished: entries(), Bytes: number(), WantBytes: number(),
			}
			got := estimate(&p, counted, &m)
			require.True(t, got.Permill >= -1 && got.Permill <= 1000 && (p.Visits == 0 || got.Permill < 1000), "%+v", got)
			require.True(t, got.Left >= -1 && got.Left <= longestLeft, "%+v", got)
			require.GreaterOrEqual(t, got.Rate, int64(0))
			require.False(t, got.Permill < 0 && got.Left >= 0, "no end, but a time until then")
			if got.Left >= 0 {
				told++
			}
			at += time.Duration(random.Int64N(int64(2 * time.Second)))
		}
	}
	require.Positive(t, told)
}

// The time that is left follows the speed of the last seconds, and is not told before there is one, nor
// where nothing moves.
func TestTimeLeft(t *testing.T) {
	var m meter
	counted := wire.Entries{Directories: 1, Bytes: 100 << 20}
	at := func(seconds float64, mib int64) Progress {
		done := wire.Entries{Bytes: mib << 20}
		p := pass.Progress{Took: time.Duration(seconds * float64(time.Second)), Whole: true, Visits: 1, Known: done, Finished: done, Bytes: mib << 20}
		return estimate(&p, counted, &m)
	}
	require.EqualValues(t, -1, at(0, 0).Left)
	require.EqualValues(t, -1, at(0.5, 5).Left)
	p := at(1, 10)
	require.InDelta(t, 9, p.Left.Seconds(), 0.01)
	require.EqualValues(t, 10<<20, p.Rate)
	for s := 2.0; s <= 10; s++ {
		p = at(s, 10)
	}
	require.EqualValues(t, -1, p.Left, "it stands still")
	require.Zero(t, p.Rate)
	for s := 11.0; s <= 30; s++ {
		p = at(s, 10+int64(s-10))
	}
	require.InDelta(t, 70, p.Left.Seconds(), 1, "a MiB a second, whatever came before")
	require.InDelta(t, 1<<20, p.Rate, 1<<16)
	require.LessOrEqual(t, len(m.samples), int(window/sampleEvery)+2)
}

// At any width a line is whole parts, what matters most first, and does not reach the last column.
func TestLineFits(t *testing.T) {
	full := Progress{
		Permill: 437, About: true, Left: 310 * time.Second, Rate: 12 << 20, Finished: wire.Entries{Files: 5678, Directories: 120, Bytes: 1 << 30},
		Total: wire.Entries{Files: 12000, Directories: 500, Bytes: 3 << 30},
	}
	unknown := Progress{Permill: -1, Left: -1, Listed: 1234, Fetched: 10, WantFiles: 20, Bytes: 1 << 20, WantBytes: 2 << 20, Rate: 5 << 20, Pending: 7}
	require.Equal(t, "about 43%, 5m10s left, 12 MiB/s, 1.0 GiB of about 3.0 GiB, 5678 of about 12000 files, 120 of about 500 directories", full.Line(300))
	require.Equal(t, "1234 directories, 10 of 20 files, 1.0 MiB of 2.0 MiB, 5.0 MiB/s, 7 steps left", unknown.Line(300), "as ever")
	require.Equal(t, "about 43%", full.Line(19))
	require.Equal(t, "about 43%, 5m10s left", full.Line(21))
	require.Equal(t, "about 43%, 5m10s left, 12 MiB/s", full.Line(40))
	require.Equal(t, "1234 directories", unknown.Line(19))
	for _, p := range []Progress{full, unknown} {
		whole := p.Line(1000)
		for width := range 301 {
			line := p.Line(width)
			require.LessOrEqual(t, len(line), width)
			require.Equal(t, whole[:len(line)], line)
			require.True(t, width < 19 || line != "", "something is shown from 20 columns on")
		}
	}
	full.Permill, full.About = 1000, false
	require.Equal(t, "100%, 12 MiB/s", full.Line(20))
}

func TestDurations(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"1s": 0, "8s": 8 * time.Second, "5m10s": 310 * time.Second, "1h05m": 65 * time.Minute, "3d04h": 76 * time.Hour, "99d00h": longestLeft,
	} {
		require.Equal(t, want, duration(d))
	}
}

// What the status says of a pass is what the terminal shows.
func TestProgressInTheStatus(t *testing.T) {
	for _, p := range []Progress{
		{Permill: 437, About: true, Left: 310 * time.Second, Rate: 12 << 20, Listed: 3, Fetched: 4, Bytes: 5, Finished: wire.Entries{Files: 5678}, Total: wire.Entries{Files: 12000}},
		{Permill: -1, Left: -1, Listed: 3},
		{Permill: 0, Left: -1},
	} {
		require.Equal(t, p.Line(300), progressOf(p.asState(mtree.Stamp{})).Line(300))
		require.Equal(t, p.told(), progressOf(p.asState(mtree.Stamp{})).told())
	}
}
