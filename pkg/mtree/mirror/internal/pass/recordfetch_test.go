package pass

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// What follows from a fetch: what arrived is flushed, with the name of a directory that came as
// a whole; what moved, vanished or kept changing leaves its directory incomplete.
func TestWhatFollowsFromAFetch(t *testing.T) {
	for name, c := range map[string]struct {
		h                   fetch.Result
		touched             string
		changed, incomplete bool
		failed              int64
	}{
		"nothing":          {},
		"files":            {h: fetch.Result{Names: []string{"f", "g"}, Bytes: 5}, touched: "a:f,g", changed: true},
		"a whole one":      {h: fetch.Result{Names: []string{"f"}, Replaced: true}, touched: "a:f :", changed: true},
		"confirmed":        {h: fetch.Result{Told: &mtree.Listing{Stamp: later}}},
		"moved":            {h: fetch.Result{Moved: 1}, incomplete: true},
		"gone":             {h: fetch.Result{Gone: 1}, incomplete: true},
		"kept as read":     {h: fetch.Result{Unsettled: 1}, incomplete: true},
		"failed":           {h: fetch.Result{Failed: []fetch.Failure{{Path: "a/f", Err: errAway}}}, incomplete: true, failed: 1},
		"failed as it was": {h: fetch.Result{Err: replica.Local(unix.EIO), Names: []string{"f"}, Bytes: 5, Made: 1}, incomplete: true, failed: 1},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			p := r.begun("a")
			n := p.ready[0]
			files, bytes := r.options.Counters.Files.Load(), r.options.Counters.Bytes.Load()
			told := map[*mtree.Listing]bool{}
			r.options.Listed = func(l *mtree.Listing, _ bool) error { told[l] = true; return nil }
			p.recordFetch(n, &c.h)
			require.Equal(t, c.h.Told != nil, told[c.h.Told], "the stamp that confirmed a file is noted")
			var touched []string
			for _, t := range p.touched {
				touched = append(touched, t.path+":"+strings.Join(t.names, ","))
			}
			require.Equal(t, c.touched, strings.Join(touched, " "))
			require.Equal(t, c.changed, n.changed)
			require.Equal(t, c.incomplete, n.blocked)
			require.Equal(t, c.incomplete, n.uncompared)
			require.Equal(t, c.failed, p.result.Failed)
			if c.h.Err != nil {
				c.h = fetch.Result{} // nothing of it counts
			}
			require.Equal(t, c.h.Names, n.news.names, "what arrived is told")
			require.Equal(t, int64(len(c.h.Names)), p.result.Fetched)
			require.Equal(t, int64(len(c.h.Names)), r.options.Counters.Files.Load()-files)
			require.Equal(t, c.h.Bytes, p.result.Bytes)
			require.Equal(t, c.h.Bytes, r.options.Counters.Bytes.Load()-bytes)
			require.Equal(t, c.h.Moved+c.h.Gone, p.result.Moved)
			require.Equal(t, c.h.Unsettled, p.result.Unsettled)
			require.Equal(t, c.h.Unsettled, r.options.Counters.Unsettled.Load())
			require.Equal(t, c.h.Made, p.result.Made)
		})
	}
}

// A file that the source may not read may be read one day with the ctime that it has now: its
// directory's record keeps the time as of which its files are known, if that is known.
func TestADeniedFileIsNotKnown(t *testing.T) {
	known := mtree.Unix(77, 0)
	for name, c := range map[string]struct {
		denied int64
		known  mtree.Stamp
		keeps  bool
	}{
		"denied":            {1, known, true},
		"none denied":       {0, known, false},
		"denied, not known": {1, mtree.Stamp{}, false},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			p := r.begun("a")
			n := p.ready[0]
			was := n.Record.Now
			n.known = c.known
			p.recordFetch(n, &fetch.Result{Denied: c.denied})
			require.Equal(t, c.keeps, n.Record.Now == known)
			require.Equal(t, !c.keeps, n.Record.Now == was)
			require.Equal(t, c.denied, p.result.Skipped)
		})
	}
}

// What follows from comparing files by their sums: those that differ are fetched; modes that
// were set are flushed; what failed leaves the directory incomplete.
func TestWhatFollowsFromSums(t *testing.T) {
	f := mtree.Entry{Name: "f", Kind: mtree.File, Size: 3}
	for name, c := range map[string]struct {
		sums    work.SumResult
		touched int
		fetches int
		failed  int64
	}{
		"equal":        {sums: work.SumResult{Equal: []mtree.Change{{Want: &f}}}},
		"other modes":  {sums: work.SumResult{Equal: []mtree.Change{{Want: &f}}, Modes: 1}, touched: 1},
		"other bytes":  {sums: work.SumResult{Differ: []mtree.Change{{Want: &f}}}, fetches: 1},
		"one failed":   {sums: work.SumResult{Failed: []fetch.Failure{{Path: "a/f", Err: errAway}}}, failed: 1},
		"no sums came": {sums: work.SumResult{Err: errAway, Differ: []mtree.Change{{Want: &f}}, Modes: 1}, failed: 1},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			p := r.begun("a")
			n := p.ready[0]
			p.recordSums(n, &c.sums)
			require.Len(t, p.touched, c.touched)
			require.Equal(t, c.touched > 0, n.changed)
			require.Equal(t, c.fetches, n.open)
			require.Equal(t, c.failed, p.result.Failed)
			require.Equal(t, c.failed > 0, n.blocked)
		})
	}
}

// Files that were compared are not compared again while their directory's record says nothing
// of them, because it has others that are not compared.
func TestWhatWasComparedIsKnown(t *testing.T) {
	simulate(t, "files that we exclude", "a/f a/g", func(t *testing.T, r *rig) {
		r.env.Filters = last(t, "mine")
		r.replica.Filters = r.env.Filters
		require.NoError(t, r.Shell.Write("/copy/a/mine", "x"))
		require.NoError(t, r.replica.Distrust(replica.DoubtBytes))
		r.complete()
		require.Equal(t, 1, r.asked("sums"))
		record, _ := r.record("a")
		require.Equal(t, mtree.Unix(1, 0), record.Now)
		for range 2 {
			r.wait = time.Hour
			r.write("a/g")
			require.Equal(t, int64(1), r.complete().Fetched)
		}
		require.Equal(t, 1, r.asked("sums"))
	})
}

// Where ctimes are of another clock, a file that was compared is compared again until its ctime is
// old by that clock, too: a write may have gone on. With each pass a minute goes by.
func TestWhatADistantSourceVerifies(t *testing.T) {
	for name, c := range map[string]struct {
		behind time.Duration
		sums   int
	}{
		"near":    {sums: 1},
		"distant": {behind: 2 * time.Minute, sums: 3},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			r.wait = time.Minute
			r.show = func(_ string, l *source.Dir) { l.Behind = c.behind }
			require.True(t, r.Tree.Rewrite("a/f"))
			for range 5 {
				r.write("a/g")
				r.complete()
			}
			require.Equal(t, c.sums, r.asked("sums"))
		})
	}
}
