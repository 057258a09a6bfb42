package mirror

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/serve"
)

// What the simulation found.

// A copy without entries counted as new, so its record was trusted after a change of
// options: if filters or serve had left out everything, the copy stayed empty and
// "mirrored" when they no longer did.
func TestAnEmptyCopyIsComparedAnew(t *testing.T) {
	s, b := served(t, serve.Config{Exclude: []string{"*.o"}}, "a.o = x", "b.o = y")
	require.NoError(t, b.once())
	b.server.reopen(serve.Config{Root: s.root})
	b.equal(s)

	s, b = overHTTP(t, "a.o = x", "b.o = y")
	b.config.Filters = []string{"- *.o"}
	require.NoError(t, b.once())
	b.config.Filters = nil
	b.equal(s)
}

// A full walk that found nothing was not written down, so it was due again at once: a week
// after its last change an idle copy was walked at every turn, once a second.
func TestAWalkThatFindsNothingIsWrittenDown(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "b/g = y")
	b.equal(s)
	b.at(30 * 24 * time.Hour)
	before := b.stats.Walks.Load()
	require.NoError(t, b.once())
	require.Equal(t, before+1, b.stats.Walks.Load())
	b.requireIdle()
}

// The clock of the machine stood in another decade when a full walk ended. After it was set right,
// no other walk was due until then. A clock that was a little ahead makes none due.
func TestAWalkInTheFuture(t *testing.T) {
	for ahead, walks := range map[time.Duration]int64{59 * time.Minute: 0, 61 * time.Minute: 1, 14 * 365 * 24 * time.Hour: 1} {
		s, b := overHTTP(t, "a/f = x", "b/g = y")
		b.at(ahead)
		b.equal(s)
		b.at(0)
		before := b.stats.Walks.Load()
		require.NoError(t, b.once())
		require.Equal(t, before+walks, b.stats.Walks.Load(), ahead)
		b.requireIdle()
	}
}

// TestSimulationFound keeps what the simulation found: each history is the shortest that
// failed. What broke stands above it.
func TestSimulationFound(t *testing.T) {
	for name, history := range map[string]string{
		// A copy without entries counted as new, so its record was trusted after a change of
		// serve's options.
		"empty copy": "exclude f; write f; publish; pass",

		// A directory was made, and its mode could not be set. No line of --print told that it is there.
		"made in part": "pass; mkdir b; set backup=../backup; mkdir a; errno EACCES 250; pass",

		// The simulation itself was wrong: a part of the directory above does not tell what was written by a
		// name below.
		"written by a name below": "mkdir a; write a/g; at 1501 hardlink a/g b; at 1501 publish; at 1503 soon 13 rewrite a/g; at 1503 soon 13 publish; run 2m",

		// A source was rolled back, so the ctimes of its files were earlier than before: each name of a file
		// was taken for one of an earlier version, and the names stayed separate files for ever.
		"linked, and rolled back": "set hard-links; write f; at 1503 hardlink f a; at 1503 snapshot; at 1503 soon 15 rewrite f; at 1507 soon 11 restore; run 2m",

		// A power cut took the records of all directories, while serve excluded a name that the copy had.
		// The pass after it compared what was listed, and its record was trusted for that file, too.
		"records lost while a file is excluded": "machine noxattrs; mkdir a; at 1503 old a/f; at 1505 soon 47 publish; at 1506 exclude f; run 2m; at 1501 old a/f; run 2m; cut 143",

		// A file that stayed by --no-delete was gone at the source while serve excluded its name, and came
		// again with the size and time of ours. The directory's record did not say that it was left out.
		"gone, excluded, come again": "set no-delete; at 1501 soon 16 old f; at 1501 soon 16 publish; at 1502 exclude f; at 1503 replace a; at 1503 soon 7 old f; at 1505 link b; at 1506 filling; run 2m",

		// The clock was set back while nobody watched, and a file was rewritten under its size and time.
		// The epoch was named by the start of the next watch, which was later than the copy.
		"rewritten after a clock was set back": "write b; source-clock -7m; at 1504 soon 27 stop; at 1505 source-clock -20m; at 1506 soon 19 rewrite b; run 2m",

		// The simulation itself was wrong: a root's state and its entries were those of two trees.
		"filled in mid-answer": "at 1503 write a; at 1506 soon 62 write b; run 2m; mount a; at 1502 chmod b; at 1503 soon 2 filling; at 1503 soon 2 publish; run 2m",

		// A pass made a directory and failed below it, and its mirror ended. A cache answered the next mirror
		// with listings from before, all of one time, and the directory was deleted.
		"a cache after a mirror that ended": "at 1501 soon 17 mkdir b; run 2m; mkdir b/e; publish; fail 3; pass; cache 2 1 5; pass",

		// The simulation itself was wrong: a directory that left its place while it was listed was not hot.
		"swapped in mid-listing": "parts 0; at 1501 mkdir b; at 1504 soon 2 publish; at 1505 soon 14 write f; run 2m; pass; mkdir b/e; pass; mkdir a; at 1500 soon 1 publish; at 1501 rm b/e; at 1501 publish; at 1501 soon 50 swap f b; at 1501 soon 50 publish; run 2m",

		// Something was mounted at the source, so a directory that went was kept: that one might be covered,
		// too. The mount went again, and a part told of that only.
		"a part after a mount": "at 1500 soon 9 mkdir a; at 1500 soon 23 lose; at 1502 mount a; at 1505 mkdir b; at 1505 soon 16 rm b; at 1505 soon 16 publish; at 1506 rm a; at 1507 publish; run 2m",

		// The simulation itself was wrong: it expected a file below directories that show a move
		// only when it is published.
		"moved two down": "write a; mkdir b; mkdir b/e; pass; mv a b/e/g; pass",

		// A full walk that found nothing was not written down: the next pass was one again.
		"idle walk": "mkdir b; publish; pass; local-rm f",

		// A full walk asked for a file that may not be read: the record of its directory said
		// "unfinished" from then on, and a copy of the copy waited for it.
		"denied file": "mkdir a; write a/f; mkdir a/g; deny a/f; publish; local-write a/d/h; pass",

		// While the source did not name its tree, other options of the mirror were not noted:
		// what was done by them stayed when they were gone.
		"options without id": "mkdir f; pass; nameless; set no-delete; rm f",
		"filters without id": "write f; pass; nameless; set filter=f; rewrite f; publish; pass; set filter=f; nameless",

		// A file changed under its size and mtime while it was not listed. When it was listed
		// again, its ctime lay before the listing that the directory had been completed from.
		"changed while excluded": "write f; pass; at 25 exclude f; more f; pass",
		"changed while filtered": "write f; write g; publish; pass; set filter=f; rewrite f; write g; publish; wait 1m; pass; wait 1m; set filter=f; pass",
		"changed while denied":   "write f; publish; pass; wait 1m; deny f; rewrite f; publish; wait 1m; pass; trust; pass",

		// A directory of the copy was put back out of a backup without extended attributes. It had no
		// record, and its files counted as known by size and time.
		"put back without attributes": "mkdir a; write a/f; publish; pass; wait 1m; rewrite a/f; local-strip a; publish; pass",

		// A file was left out while its directory was compared by sums, or with more than the
		// usual doubt of ctimes, since the clock was set back or the tree restored. The directory
		// was complete, and later the file counted as known by size and time.
		"hidden while the clock was set back":   "write f; pass; exclude f; source-clock -20s; rewrite f",
		"filtered while the clock was set back": "write f; pass; set filter=f; source-clock -20s; rewrite f; pass; set filter=f",
		"hidden in a walk of the stopped watch": "write f; pass; stop; exclude f; source-clock -20s; rewrite f; pass; start; pass",
		"hidden while the tree was restored":    "write f; publish; pass; snapshot; rewrite f; publish; wait 1m; pass; exclude f; restore; pass",
		"filtered while the tree was restored":  "write f; publish; pass; snapshot; rewrite f; publish; wait 1m; pass; set filter=f; restore; pass; set filter=f; pass",

		// The same with a whole directory: its record was of before.
		"hidden below while the clock was set back": "mkdir b; write b/f; pass; mount b; source-clock -20s; rewrite b/f",
		"hidden below while the tree was restored":  "mkdir b; mkdir b/e; write b/e/g; publish; pass; snapshot; rewrite b/e/g; publish; wait 1m; pass; exclude e; restore; pass; write b/e/h; publish; pass",

		// What the mirror's filters excluded did not count as hidden when serve began to exclude
		// it, too: the record said that the copy had none of it. Without the filters it was
		// deleted.
		"excluded while filtered":              "mkdir a; write a/g; publish; pass; set filter=g; pass; exclude g; pass; set filter=g; pass",
		"excluded while filtered, in mid-pass": "mkdir a; mkdir a/g; pass; at 173 exclude g; set filter=g; pass; set filter=g",

		// A cache gave a listing of before serve was started with --exclude, in a pass whose root
		// told of the new options: it was noted as one of these, with nothing left out, so what was
		// left out the next time counted as deleted.
		"excluded, and listed by a cache": "mkdir a; write a/f; pass; exclude f; kill 305; pass; cache 3 4 5; publish; run 2m",

		// With --no-delete, what the source had begun to hide did not count as hidden: the record
		// said that the copy had none of it. Listed again it was taken for unchanged, and without
		// --no-delete it was deleted while it was still hidden.
		"changed while excluded, without deletions":   "mkdir a; old a/g; pass; exclude g; set no-delete; rewrite a/g",
		"excluded, and without deletions for a while": "mkdir a; write a/f; write a/g; publish; pass; set no-delete; exclude g; publish; wait 1m; pass; set no-delete; write a/f; publish; pass",

		// Somebody put a tree into a directory after it was measured, and before a file took its
		// place. The tree was not deleted, but stayed in the staging directory.
		"a tree in the place of a file": "mkdir a; mkdir a/d; mkdir b; write f; pass; rm a; old a; at 213 local-tree a/d; pass",

		// What was held counted as gone in the record of its directory. Serve left its name out
		// under other options, the file was there again, and its copy was deleted without a release.
		"held and hidden": "write f; mkdir b; pass; exclude f; pass; rm f; rm b; pass; write f",

		// A file that replaced a directory was staged, the pass committed in between and
		// flushed the directory, and then stamped what a power cut emptied.
		"replacement over a commit": "write f; mkdir b; mkdir b/f; pass; rm b/f; set commit=1; publish; replace b/f; pass; rm f; pass; cut 12",

		// The source's clock was set back. What was rewritten then under its size and mtime had a
		// ctime below the listing that its directory had been completed from: the copy kept the
		// old bytes and was complete.
		"clock set back":               "write f; pass; source-clock -20m; rewrite f",
		"clock set back below":         "mkdir a; write a/f; wait 30m; pass; source-clock -20m; rewrite a/f",
		"clock set back while stopped": "mkdir a; write a/f; publish; stop; wait 2h; pass; source-clock -1h; rewrite a/f; start; pass",

		// A cache listed a directory as it had been before a file was moved down into it. Above,
		// that file was deleted, and then the source was away.
		"moved below the past": "mkdir a; mkdir a/d; write a/f; publish; pass; mv a/f a/d/f; publish; cache 1 3; fail 4; pass",

		// A listing of the past completed a directory, below one that had a later stamp.
		"completed by the past": "mkdir a; pass; publish; pass; write a/g; publish; cache 3 2 2; pass",

		// A cache answered with the past throughout: what was below went back first, and the root
		// stayed complete with its later stamp. After a kill nothing would have mended that.
		"back below the root": "mkdir a; pass; publish; pass; cache 2 1 5; pass",

		// The same after the source's clock was set back: what was older had the later stamps.
		"back below, by another clock": "mkdir a; mkdir a/g; pass; at 158 source-clock -7m; pass; fail 1; cut 149; pass; cache 2 1 5; pass",

		// The listing before the parts, out of a cache that answers with another reading of it when it is
		// asked again: what the parts had brought was deleted.
		"before the parts": "parts 8; at 1500 soon 13 old a; at 1501 publish; at 1501 soon 39 mkdir b; at 1501 soon 39 publish; at 1504 write a; at 1504 publish; run 2m; cache 3 1 2; pass",

		// A part confirmed a file that had changed after it was listed. Then the source was rolled back to before
		// that change: nobody had noted the stamp, and the copy stayed ahead.
		"confirmed, and rolled back": "parts 4; mkdir a; write a/f; publish; pass; write a/f; publish; snapshot; at 164 write a/f; at 164 publish; pass; restore; pass",

		// A listing of the past put a directory in the place of a file that came since.
		"another kind in the past": "mkdir f; pass; at 96 rm f; at 106 write f; pass; cache 3 1 3; pass",

		// In a full walk no listing counted as one of the past, and what came since was deleted,
		// though only a week had passed, or options were others.
		"walk of the past":            "write e; publish; pass; write f; publish; pass; wait 200h; cache 2 1 5; pass",
		"walk of the past below":      "mkdir a; write a/e; publish; pass; write a/f; publish; pass; wait 200h; cache 2 1 5; pass",
		"other filters over the past": "write e; publish; pass; write f; publish; pass; set filter=g; cache 2 1 5; pass",
	} {
		t.Run(name, func(t *testing.T) { simulateHistory(t, strings.Split(history, "; ")) })
	}
}

// After a power cut of the copy's machine, files of unfinished directories were known by size
// and time, if their ctimes at the source were old. A disk may have kept these and left zeros,
// and the directory was completed with them.
func TestSimulatedBytesThatTheCopyLost(t *testing.T) {
	first := callOf(t, oneFile, "source: fetch /a/f")
	for call := first + 10; call < first+25; call++ { // as the file is written and flushed
		simulateHistory(t, strings.Split(fmt.Sprintf(oneFile+"; cut %d", call), "; "))
	}
}

// oneFile is a history after which a pass makes a copy of one file.
const oneFile = "seed 2; mkdir a; write a/f; wait 1m; publish"

// callOf returns which call of the pass after a history is the first with this text in the trace. So the
// calls before it may become more.
func callOf(t *testing.T, history, text string) (call int) {
	t.Helper()
	_, lines, err := simulate(t, strings.Split(history+"; kill 100000", "; "), true)
	require.NoError(t, err)
	for _, line := range lines {
		if _, what, _ := strings.Cut(line, " "); strings.HasPrefix(what, "mirror: ") || strings.HasPrefix(what, "source: ") {
			if call++; strings.HasPrefix(what, text) {
				return call
			}
		}
	}
	require.FailNow(t, "no call "+text)
	return 0
}

// As many names were left out as before, but another one: what was mounted over a file, or
// over a directory, deleted it from the copy.
func TestSimulatedMountInPlaceOfAnExcludedName(t *testing.T) {
	simulateHistory(t, strings.Split("mkdir a; write a/f; at 36 exclude g; write a/g; pass; mount a/f; rm a/g", "; "))
	simulateHistory(t, strings.Split("exclude g; mkdir a; mkdir a/d; write a/d/f; write a/g; pass; mount a/d; rm a/g", "; "))
	simulateHistory(t, strings.Split("mkdir a; mkdir a/d; mkdir a/e; write a/d/f; write a/e/f; pass; mount a/d; pass; unmount a/d; pass; mount a/e; pass; mount a/d; unmount a/e; pass", "; "))
}

// Without extended attributes the power cut took the last lines of the log, too: nothing said
// that the directory was begun, and zeros of the right size and time were kept for ever.
func TestSimulatedLinesThatTheLogLost(t *testing.T) {
	for _, seed := range []int{1, 4, 10} {
		history := fmt.Sprintf("seed %d; machine noxattrs; mkdir a; write a/f; write a/g; wait 1m; publish", seed)
		lost := func(call int) string { return fmt.Sprint(history, "; cut ", call) }
		first := callOf(t, history, "source: fetch /a/")
		for call := first + 20; call < first+40; call++ { // as the files are written and flushed
			simulateHistory(t, strings.Split(lost(call), "; "))
		}
		for call := first - 25; call < first+25; call++ { // the next mirror is killed
			simulateHistory(t, strings.Split(fmt.Sprint(lost(first+30), "; kill ", call), "; "))
		}
	}
}

// What may be lost stays so until it was compared: after a kill, and after sums that the source
// did not send.
func TestSimulatedWhatMayBeLostStaysSo(t *testing.T) {
	first := callOf(t, oneFile, "source: fetch /a/f")
	lost := fmt.Sprintf(oneFile+"; cut %d; ", first+20)
	for call := first - 10; call < first+20; call++ {
		simulateHistory(t, strings.Split(fmt.Sprintf(lost+"kill %d", call), "; "))
	}
	for call := 2; call < 6; call++ {
		simulateHistory(t, strings.Split(fmt.Sprintf(lost+"fail %d; pass", call), "; "))
	}
}

// The clock of a source was set back while watch was down. Its next epoch says so, and
// deletions do not wait until the clock is where it was.
func TestSimulatedDeletionsDoNotWaitForTheClockOfAnEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(nil)
		defer sys.Simulate(s.shell.Process)()
		for _, step := range strings.Split("mkdir a; write a/f; write a/g; publish; wait 1m; pass; stop; source-clock -30s; rm a/f; start; pass", "; ") {
			s.do(step)
		}
		require.NoError(t, s.err)
		require.NotContains(t, s.read(), "a/f")
	})
}

// A mirror was killed before it flushed. The next one found the files whole, flushed only what
// it wrote itself, and stamped: a power cut then left a complete directory with files that
// were empty or zeros.
func TestSimulatedWhatAKilledMirrorWroteIsFlushed(t *testing.T) {
	first := callOf(t, oneFile, "source: fetch /a/f")
	for call := first; call < first+25; call++ {
		simulateHistory(t, strings.Split(fmt.Sprintf(oneFile+"; kill %d; pass; write g; publish; pass; cut 5", call), "; "))
	}
}

// The bytes that may be lost are compared once, even if the directory stays unfinished: a
// hold may last for weeks, and each change would compare everything again.
func TestSimulatedWhatMayBeLostIsComparedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(nil)
		sums := func(steps string) (n int) {
			for _, step := range strings.Split(steps, "; ") {
				s.do(step)
			}
			for _, call := range s.site.Asked {
				if strings.HasPrefix(call, "sums") {
					n++
				}
			}
			return n
		}
		defer sys.Simulate(s.shell.Process)()
		require.Zero(t, sums("set max-delete=0; mkdir a; write a/f; write a/g; write a/h; wait 1m; publish; pass; rm a/g; publish; wait 1m; pass"))
		s.kernel.Crash(s.rng)
		s.shell = s.kernel.Shell(0)
		sys.Simulate(s.shell.Process)
		require.Positive(t, sums("pass"), "a is held, and so unfinished")
		require.Zero(t, sums("write e; publish; pass"))
		require.NoError(t, s.err)
	})
}
