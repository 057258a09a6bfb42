package work

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// Which `now` a record gets if not all files are compared with a listing.
func TestTheTimeOfAPart(t *testing.T) {
	for name, c := range map[string]struct {
		had, all, byCTime, hasNow bool
		inCopy                    int64
		unseen                    bool
		want                      mtree.Stamp
	}{
		"known by time":                  {had: true, byCTime: true, hasNow: true, want: before},
		"known by nothing":               {had: true, hasNow: true},
		"all are compared":               {had: true, all: true, byCTime: true, hasNow: true, want: never},
		"all are compared, no time":      {had: true, all: true, hasNow: true, want: never},
		"all, and it tells no time now":  {had: true, all: true, byCTime: true, want: never},
		"all, and there was no time":     {had: true, all: true},
		"all are compared, not recorded": {all: true, hasNow: true},
		"so, and it had entries":         {all: true, hasNow: true, inCopy: 1, want: never},
		"so, and it had excluded ones":   {all: true, hasNow: true, unseen: true, want: never},
		"so, and none are compared":      {hasNow: true, inCopy: 1, unseen: true},
		"so, and there is no time":       {all: true, inCopy: 1, unseen: true},
	} {
		v := &VisitResult{Had: c.had, InCopy: c.inCopy, Unseen: c.unseen}
		v.Listing.HasNow = c.hasNow
		o := plan.Options{CheckAll: c.all, ByCTime: c.byCTime, Slack: plan.CTimeSlack}
		if c.byCTime {
			o.Listed = before
		}
		require.Equal(t, c.want, v.knownBy(&o), name)
	}
	v := &VisitResult{Had: true}
	require.Zero(t, v.knownBy(&plan.Options{Slack: plan.LossSlack}))
	require.Equal(t, before.Add(10*time.Second-5*time.Minute), v.knownBy(&plan.Options{ByCTime: true, Listed: before, Slack: plan.LossSlack}))
}

// Directories of the copy that a visit leads to none of are doubted as those that it leads to:
// extra ones, and those that filters exclude, with all below them that are ours.
func TestDirectoriesThatAreNotSeen(t *testing.T) {
	for doubts, doubted := range map[replica.Doubts]bool{0: false, replica.DoubtBytes: true, replica.DoubtRecent: true, replica.DoubtBelow: false} {
		b := newBench(t, 0, "f seen/ extra/ extra/below/ extra/below/file extra/bare/ extra/bare/below/ extra/tree/ extra/tree/.tidemark/ mine/ done/")
		b.exclude("mine")
		all := []string{"seen", "extra/below", "extra", "extra/bare/below", "extra/tree", "mine"}
		for _, path := range all {
			b.recordAt("d/"+path, records.Record{Stamp: before, Now: before, ID: ours})
			b.env.Wholes.Note("d/"+path, now, true)
		}
		b.recordAt("d/done", records.Record{Stamp: before, Now: never})
		b.list(gone("extra"), gone("mine"), gone("done"))
		b.changes = 0
		b.Made("")
		v := b.try(Target{Path: "d", Doubts: doubts})
		require.NoError(t, v.Err)
		for _, path := range all {
			is := doubted && (path == "extra" || path == "extra/below" || path == "mine")
			record := b.recorded("d/" + path)
			require.Equal(t, is, record.Now == never, "%d %s", doubts, path)
			require.Equal(t, is, b.env.Wholes.At("d/"+path) == mtree.Stamp{}, "it does not count as listed whole")
			require.Equal(t, before, record.Stamp, "a copy of the copy may have it")
		}
		options := doubts == replica.DoubtBelow // another test's
		require.Equal(t, doubted || options, b.changes > 1)
		require.Zero(t, b.count("open file"))
		require.Equal(t, options, b.count("setxattr done") > 0)
		require.Equal(t, options, b.count("list done") > 1, "once to measure it")
	}
	b := newBench(t, 0, "f extra/ extra/below/")
	b.recordAt("d/extra/below", records.Record{Stamp: before, Now: before})
	b.recordAt("d/extra", records.Record{Stamp: before, Now: before})
	b.list(gone("extra"))
	t.Cleanup(sys.Simulate(untyped{b.Kernel}))
	require.NoError(t, b.try(Target{Path: "d", Doubts: replica.DoubtBytes}).Err)
	require.Equal(t, never, b.recorded("d/extra/below").Now)
}

// Something was mounted over a directory of the source while serve was started with other
// options. When the directory was in sight again, the files in it that these options exclude were
// deleted. The source had them all the time.
func TestOptionsOfDirectoriesThatAreNotSeen(t *testing.T) {
	for doubts, doubted := range map[replica.Doubts]bool{0: false, replica.DoubtBytes: false, replica.DoubtBelow: true, replica.DoubtHidden: true} {
		b := newBench(t, 0, "f seen/ extra/ extra/below/ extra/below/deep/ extra/bare/ extra/tree/ extra/tree/.tidemark/ mine/")
		b.exclude("mine")
		all := []string{"seen", "extra/below/deep", "extra/below", "extra", "extra/tree", "mine"}
		for _, path := range all {
			b.recordAt("d/"+path, records.Record{Stamp: before, Now: before, ID: ours})
		}
		b.recordAt("d/extra/below", records.Record{Stamp: before, Now: before, ID: ours, Excluded: 3, Fingerprint: otherFingerprint})
		b.recordAt("d/mine", records.Record{Stamp: before, Now: before, ID: ours, Excluded: 3, Fingerprint: "aaaaaa"})
		b.list(gone("extra"), gone("mine"))
		b.Made("")
		require.NoError(t, b.try(Target{Path: "d", Doubts: doubts}).Err)
		require.Equal(t, doubts == replica.DoubtBytes, b.count("setxattr below") > 0, "its options are not known already")
		for _, path := range all {
			is := doubted && path != "seen" && path != "extra/tree" || path == "extra/below"
			record := b.recorded("d/" + path)
			require.Equal(t, is, record.Fingerprint == otherFingerprint, "%d %s", doubts, path)
			require.Equal(t, before, record.Stamp, "a copy of the copy may have it")
			require.Equal(t, doubts != replica.DoubtBytes || path == "seen" || path == "extra/tree", record.Now == before, "%d %s", doubts, path)
		}
	}
}

// What is gone, or may not be read, is nothing to doubt. With any other error the directory stays unfinished, with its doubts.
// Such an error once ended the visit: a directory that had been given to another user, and that was excluded or gone
// at the source, stopped all that was beside it and below.
func TestDirectoriesThatCannotBeDoubted(t *testing.T) {
	for call, c := range map[string]struct {
		errno unix.Errno
		fails string
	}{
		"open extra":     {unix.ENOENT, ""},
		"open mine":      {unix.EACCES, ""},
		"open below":     {unix.EIO, "d/extra"},
		"list extra":     {unix.EIO, "d/extra"},
		"setxattr below": {unix.EPERM, "d/extra"},
		"setxattr mine":  {unix.EACCES, "d/mine"},
	} {
		for _, doubts := range []replica.Doubts{replica.DoubtBytes, replica.DoubtBytes | replica.DoubtBelow} {
			b := newBench(t, 0, "f extra/ extra/below/ mine/")
			b.exclude("mine")
			for _, path := range []string{"extra/below", "extra", "mine"} {
				b.recordAt("d/"+path, records.Record{Stamp: before, Now: before, ID: ours})
			}
			b.list(gone("extra"), gone("mine"), dir("new"))
			b.Refuse(call, c.errno, 1)
			v := b.try(Target{Path: "d", Doubts: doubts})
			require.NoError(t, v.Err, call)
			require.Contains(t, b.names(), "new", "what is beside it arrives")
			if c.fails == "" {
				require.Empty(t, v.Failed, call)
				continue
			}
			require.Len(t, v.Failed, 1, call)
			require.Equal(t, c.fails, v.Failed[0].Path)
			require.ErrorIs(t, v.Failed[0].Err, c.errno)
			require.True(t, replica.IsLocal(v.Failed[0].Err))
			if c.fails == "d/extra" {
				require.NotEqual(t, never, b.recorded("d/extra").Now, "what is below is done first")
			}
		}
	}

	b := newBench(t, 0, "f mine/")
	b.exclude("mine")
	b.recordAt("d/mine", records.Record{Stamp: before, Now: before, ID: ours})
	b.list(gone("mine"))
	b.Refuse("setxattr mine", unix.EPERM, 1)
	require.Len(t, b.try(Target{Path: "d", Doubts: replica.DoubtBelow}).Failed, 1)
	doubts, begun := replica.DoubtsOf(b.recorded("d"))
	require.True(t, begun && doubts.Below(), "nothing else is to be done, and the doubt stays")
}
