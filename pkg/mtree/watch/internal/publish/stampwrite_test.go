package publish

import (
	"errors"
	"log/slog"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/wire"
)

// desk is a publisher in a machine in memory, with one directory to be stamped.
type desk struct {
	*faultkernel.Kernel
	*publisher
	dir   *disk.Dir
	now   mtree.Stamp // what the clock says
	set   int         // times that were set
	wrote int         // times that the source was told of
	tells bool        // whether the source tells of our own writes
}

// here is the place of the directory.
const here ownwrites.Place = 5

// heard is a source that counts what it is told.
type heard struct {
	notify.Source
	desk *desk
}

func (h heard) Wrote() bool {
	h.desk.wrote++
	return h.desk.tells
}

func newDesk(t *testing.T) *desk {
	k := faultkernel.New(t, 0)
	require.NoError(t, k.Shell.Mkdir("/d", 0o755))
	dir, err := disk.OpenRoot("/d")
	require.NoError(t, err)
	d := &desk{Kernel: k, dir: dir, now: mtree.Unix(time.Now().Unix()+100, 0)}
	clock := stamprule.NewClock(func() mtree.Stamp { return d.now })
	d.publisher = &publisher{
		Tree: &Tree{
			Source: heard{desk: d}, Clock: &clock, SaveExceptions: func() {},
			SetTime: func(dir *disk.Dir, stamp mtree.Stamp) error {
				d.set++
				return dir.SetTime(stamp)
			},
			OwnWrites: ownwrites.New(nil, nil, mtree.Unix(0, 0)),
			Health:    health.NewMonitor(slog.New(slog.DiscardHandler), new(atomic.Int64), new(atomic.Int64)),
		},
		rule: stamprule.Rule{Floor: mtree.Unix(4000, 0), Granule: 1}, batch: &Batch{},
	}
	return d
}

// write gives the directory a stamp, as the rule has it.
func (d *desk) write(top mtree.Stamp) mtree.Stamp {
	return d.publisher.write(d.dir, "d", here, top, nil, mtree.MinStamp, 0)
}

// shows is fstat of the directory.
func (d *desk) shows(t *testing.T) disk.Info {
	info, err := d.dir.Self()
	require.NoError(t, err)
	return info
}

// refused returns the stamp that .tidemark/stamps is to have for the directory.
func (d *desk) refused(t *testing.T) (mtree.Stamp, bool) {
	return d.Health.Exceptions.StampOf("d", d.shows(t).Node.Ino)
}

// A directory that is stamped shows it, and the write is known as ours. What it refused
// before is forgotten.
func TestWrite(t *testing.T) {
	d := newDesk(t)
	d.Health.Refuse("d", d.shows(t).Node, mtree.Unix(3000, 0), unix.EPERM)
	stamp := d.write(d.now.Add(-time.Second))
	require.Equal(t, d.now.Add(-time.Second), stamp)
	require.Equal(t, stamp, d.shows(t).MTime)
	require.True(t, d.OwnWrites.Has(d.shows(t)))
	_, refused := d.refused(t)
	require.False(t, refused)
	require.Equal(t, []any{1, true, stamp, 1, 1}, []any{d.Stamped, d.Changed, d.Top, d.set, d.wrote})
}

// What refused below a directory is saved before the directory gets its stamp: a reader who
// sees that one finds it. What refused elsewhere can wait.
func TestSavedBeforeTheStampAbove(t *testing.T) {
	for _, below := range []bool{true, false} {
		d := newDesk(t)
		saved := 0
		d.SaveExceptions = func() {
			saved++
			require.Equal(t, 0, d.set)
		}
		since := d.Health.Exceptions.Placed()
		d.Health.Refuse("d/below", disk.Node{Ino: 5}, mtree.Unix(3000, 0), unix.EPERM)
		if !below {
			since = d.Health.Exceptions.Placed()
		}
		d.publisher.write(d.dir, "d", here, d.now.Add(-time.Second), nil, mtree.MinStamp, since)
		require.Equal(t, below, saved == 1)
		require.Equal(t, 1, d.set)
	}
}

// A directory that cannot be looked at is not stamped. Nothing says what its readers have, so
// the tree is degraded.
func TestWriteWithoutALook(t *testing.T) {
	d := newDesk(t)
	d.Refuse("statx d", unix.EIO, 1)
	top := d.now.Add(-time.Second)
	require.Equal(t, top, d.write(top))
	require.True(t, d.Health.Overflowed())
	require.True(t, d.Changed)
	require.Equal(t, 0, d.set)
}

// A stamp that equals the ctime which writing it leaves is written again, one granule more.
// One that is rounded is written again for that, one of the coarser steps more.
func TestWriteInTheTickOfTheChange(t *testing.T) {
	for _, whole := range []bool{false, true} {
		d := newDesk(t)
		top := d.now.Add(-time.Second).Add(5)
		sec, nsec := top.Unix()
		d.Show = func(_ string, stx *unix.Statx_t) {
			if stx.Mtime.Sec == sec && int64(stx.Mtime.Nsec) == int64(nsec) {
				stx.Ctime = stx.Mtime
				if whole {
					stx.Mtime.Nsec = 0
				}
			}
		}
		want := top.Add(1)
		if whole {
			want = top.Floor(time.Second).Add(100) // the next step there is
		}
		stamp := d.write(top)
		require.Equal(t, want, stamp)
		require.Equal(t, stamp, d.shows(t).MTime)
		require.Equal(t, stamp, d.Top)
		require.Equal(t, 2, d.set)
		require.True(t, d.OwnWrites.Has(d.shows(t)))
	}
}

// rounds lets every time be shown in steps of so many seconds, as on a coarser file system that is
// mounted there. If ctimes follow, each is the mtime.
func (d *desk) rounds(step int64, follow bool) {
	d.Show = func(_ string, stx *unix.Statx_t) {
		stx.Mtime.Sec, stx.Mtime.Nsec = stx.Mtime.Sec-stx.Mtime.Sec%step, 0
		stx.Ctime.Sec, stx.Ctime.Nsec = stx.Ctime.Sec-stx.Ctime.Sec%step, 0
		if follow {
			stx.Ctime = stx.Mtime
		}
	}
}

// What is mounted below the root may store coarser steps than the root. It rounded two stamps to
// one, and a reader who had the first never saw what came with the second. Our own write was taken
// for somebody else's, which led to the next one, for ever.
func TestStampsOnACoarserFileSystem(t *testing.T) {
	for _, step := range []int64{1, 2} {
		d := newDesk(t)
		d.rounds(step, false)
		last := d.shows(t).MTime
		for range 3 {
			stamp := d.write(last.Add(1)) // as the least stamp above everything published
			require.True(t, stamp.After(last), "%s after %s", stamp, last)
			require.Equal(t, stamp, d.shows(t).MTime)
			require.Equal(t, stamp, d.Top)
			require.True(t, d.OwnWrites.Has(d.shows(t)))
			last = stamp
		}
		_, refused := d.refused(t)
		require.False(t, refused)
	}
}

// On FAT the ctime is the mtime: whatever stamp is written, it equals the ctime, and nobody can
// tell the write from somebody else's. .tidemark/stamps has the stamp. Where the root's own file
// system is such a one, the stamp holds all the same.
func TestStampsThatTheCTimeFollows(t *testing.T) {
	for _, c := range []struct {
		granule time.Duration // of the root
		set     int           // times: once for each of six granules, then three times, as it equals the ctime
		holds   bool
	}{{1, 6 + 3, false}, {2 * time.Second, 3, true}} {
		d := newDesk(t)
		d.rule.Granule = c.granule
		d.rounds(2, true)
		top := d.shows(t).MTime.Add(1)
		stamp := d.write(top)
		require.Equal(t, stamp, d.Top)
		have, refused := d.refused(t)
		require.Equal(t, !c.holds, refused)
		require.Equal(t, !c.holds, d.Health.DoesNotHold("d"))
		require.Equal(t, c.holds, stamp == d.shows(t).MTime)
		if !c.holds {
			require.Equal(t, []mtree.Stamp{top, top}, []mtree.Stamp{stamp, have})
		}
		require.Equal(t, c.set, d.set)
	}
}

// Beyond its end a file system shows one time for all stamps. .tidemark/stamps has them.
func TestStampsBeyondTheEnd(t *testing.T) {
	d := newDesk(t)
	d.now = mtree.Unix(math.MaxInt32+1000, 0)
	d.Show = func(_ string, stx *unix.Statx_t) {
		if stx.Mtime.Sec > math.MaxInt32 {
			stx.Mtime.Sec, stx.Mtime.Nsec = math.MaxInt32, 0
		}
	}
	for i := range 2 {
		top := mtree.Unix(math.MaxInt32+10+int64(i), 0)
		require.Equal(t, top, d.write(top))
		have, refused := d.refused(t)
		require.True(t, refused)
		require.Equal(t, top, have)
		require.Equal(t, i+1, d.set, "once each: it will not hold")
	}
}

// A time that somebody changes just after us is set again, at most ten times. Then it does
// not hold, which counts as refused.
func TestTimesThatOthersSet(t *testing.T) {
	for times, holds := range map[int]bool{0: true, 1: true, 9: true, 10: false} {
		d := newDesk(t)
		set := d.SetTime
		d.SetTime = func(dir *disk.Dir, stamp mtree.Stamp) error {
			err := set(dir, stamp)
			if d.set <= times {
				err = errors.Join(err, d.Shell.Touch("/d", time.Unix(1000, 0), true))
			}
			return err
		}
		stamp := d.write(d.now.Add(-time.Second))
		require.Equal(t, min(times+1, 10), d.set)
		require.Equal(t, d.set, d.wrote)
		require.Equal(t, holds, d.shows(t).MTime == stamp)
		require.Equal(t, !holds, d.Health.DoesNotHold("d"), times)
		have, refused := d.refused(t)
		require.Equal(t, !holds, refused)
		require.Equal(t, !holds, have == stamp)
		require.Equal(t, stamp, d.Top)
	}
}

// A time that is refused, and one of which is not known whether it holds, is not tried again:
// .tidemark/stamps has it.
func TestTimesThatAreRefused(t *testing.T) {
	for call, nth := range map[string]int{"utimes d": 1, "statx d": 3} { // the third look is that after the time was set
		d := newDesk(t)
		d.RefuseNth(call, nth, unix.EIO)
		stamp := d.write(d.now.Add(-time.Second))
		require.Equal(t, 1, d.set, call)
		d.Fail = nil
		require.False(t, d.Health.DoesNotHold("d"))
		have, refused := d.refused(t)
		require.True(t, refused, call)
		require.Equal(t, stamp, have)
		require.False(t, d.OwnWrites.Has(d.shows(t)))
		require.Equal(t, 0, d.Stamped)
	}
}

// The event of a write is awaited if the source tells of ours, and if it is known what the write
// left. Two that follow each other may be one event, if no other directory has events of it: if it
// is the root, or the root of a mount.
func TestWritesThatAreAwaited(t *testing.T) {
	for name, c := range map[string]struct {
		path     string
		prepared func(d *desk)
		events   int // that are ours after two writes
	}{
		"":                     {"d", func(*desk) {}, 2},
		"root":                 {"", func(*desk) {}, 1},
		"root of a mount":      {"d", func(d *desk) { d.Mount("d") }, 1},
		"the source is silent": {"d", func(d *desk) { d.tells = false }, 0},
		"nothing is heard":     {"d", func(d *desk) { d.Hears = false }, 0},
		"unknown what it shows now": {"d", func(d *desk) {
			d.SetTime = func(*disk.Dir, mtree.Stamp) error { return nil } // it looks, too
			d.Refuse("statx d", unix.EIO, -1)
		}, 0},
	} {
		d := newDesk(t)
		d.tells, d.Hears = true, true
		before := d.shows(t)
		c.prepared(d)
		for i := range int64(2) {
			_, err := d.publisher.set(d.dir, c.path, before, mtree.Unix(5000+i, 0))
			require.Equal(t, d.Fail != nil, err != nil, name)
		}
		d.Fail = nil
		require.Equal(t, c.events > 0, d.Awaited.TellsOurs(), name)
		for range c.events {
			require.True(t, d.Awaited.Heard(before, 1), name)
		}
		require.False(t, d.Awaited.Heard(before, 1), name)
	}
}

// If somebody changed the directory between the two looks, the write is not known as ours:
// their event counts.
func TestWritesBesideOthers(t *testing.T) {
	for what, change := range map[string]func(after *disk.Info){
		"mode": func(after *disk.Info) { after.Mode ^= 0o20 }, "owner": func(after *disk.Info) { after.UID++ },
		"group": func(after *disk.Info) { after.GID++ }, "time": func(after *disk.Info) { after.MTime = after.MTime.Add(-1) },
		"nothing": func(*disk.Info) {},
	} {
		d := newDesk(t)
		before := d.shows(t)
		after := before
		after.MTime = mtree.Unix(5000, 0)
		change(&after)
		d.remember("d", here, mtree.Unix(5000, 0), before, after, nil)
		require.Equal(t, what == "nothing", d.OwnWrites.Has(after), what)
		require.Equal(t, 1, d.Stamped)
	}
}

// On the first run a directory that shows its stamp already is not written. It is known as
// ours if the scan has judged it by this ctime, not too young for later changes to show
// another, and not too old for the next start to ask.
func TestFirstThatShowsItAlready(t *testing.T) {
	for _, c := range []struct {
		age    time.Duration // of its ctime
		judged bool
		ours   bool
	}{
		{5 * time.Second, true, true}, {5 * time.Second, false, false},
		{wire.ClockLag + 1, true, false}, {wire.ClockLag + 2, true, true},
		{2*stamprule.LookBack - 1, true, true}, {2 * stamprule.LookBack, true, false},
	} {
		d := newDesk(t)
		shows := d.shows(t)
		f := &audit.Finding{First: true, Value: shows.MTime, Showed: shows.MTime}
		if c.judged {
			f.Judged = shows.CTime
		}
		d.now = shows.CTime.Add(c.age)
		d.stampFirst(d.dir, "d", here, f)
		require.Equal(t, c.ours, d.OwnWrites.Has(shows), c)
		require.Equal(t, []any{0, 0, false, shows.MTime, 0}, []any{d.set, d.Stamped, d.Changed, d.Top, len(d.Changes)})
		if c.ours {
			require.Equal(t, ownwrites.Judged, d.OwnWrites.ProofOf(shows, here))
			require.Equal(t, ownwrites.Unproven, d.OwnWrites.ProofOf(shows, here+1), "at its place only")
		}
	}
}

// On the first run a directory is left alone that changed since the scan, that a batch has
// stamped, or that cannot be looked at.
func TestFirstThatIsLeftAlone(t *testing.T) {
	for _, why := range []string{"changed", "ours", "unknown", ""} {
		d := newDesk(t)
		showed := mtree.Unix(0, 0)
		require.NoError(t, d.dir.SetTime(showed))
		switch why {
		case "changed":
			require.NoError(t, d.dir.SetTime(mtree.Unix(6000, 0)))
		case "ours":
			d.OwnWrites.Put(d.shows(t), here, ownwrites.Proven, true)
		case "unknown":
			d.Refuse("statx d", unix.EIO, 1)
		}
		d.stampFirst(d.dir, "d", here, &audit.Finding{First: true, Value: mtree.Unix(5000, 0), Showed: showed})
		require.Equal(t, why == "", d.Changed, why)
		require.Equal(t, why == "", d.shows(t).MTime == mtree.Unix(5000, 0), why)
		require.Equal(t, why == "", d.set == 1)
	}
}

// A directory that refuses its first stamp, or takes it and does not show it, is one of those that
// .tidemark/stamps has.
func TestFirstThatIsRefused(t *testing.T) {
	for _, taken := range []bool{false, true} {
		d := newDesk(t)
		d.SetTime = func(*disk.Dir, mtree.Stamp) error {
			if taken {
				return nil
			}
			return unix.EPERM
		}
		d.stampFirst(d.dir, "d", here, &audit.Finding{First: true, Value: mtree.Unix(5000, 0), Showed: d.shows(t).MTime})
		have, refused := d.refused(t)
		require.True(t, refused)
		require.Equal(t, mtree.Unix(5000, 0), have)
		require.Equal(t, taken, d.Health.DoesNotHold("d"))
		require.Equal(t, []any{true, 0, mtree.Unix(5000, 0)}, []any{d.Changed, d.Stamped, d.Top})
	}
}

// A directory that refused its stamp shows it as soon as it takes it, and then no longer
// stands apart. Readers see nothing new.
func TestShowPublished(t *testing.T) {
	published := mtree.Unix(5001, 0)
	for _, c := range []struct {
		what     string
		apart    bool // afterwards
		shown    bool
		prepared func(d *desk, node disk.Node)
	}{
		{"it takes it", false, true, func(*desk, disk.Node) {}},
		{"it refuses it", true, false, func(d *desk, _ disk.Node) { d.Refuse("utimes d", unix.EPERM, -1) }},
		{"it refuses 1970", true, false, func(d *desk, node disk.Node) {
			d.Health.Refuse("d", node, mtree.Unix(0, 0), unix.EPERM)
			d.Refuse("utimes d", unix.EPERM, -1)
		}},
		{"it rounds it", true, false, func(d *desk, _ disk.Node) { d.rounds(2, false) }},
		{"it cannot be looked at", true, false, func(d *desk, _ disk.Node) { d.Refuse("statx d", unix.EIO, 1) }},
		{"another directory", false, false, func(d *desk, node disk.Node) {
			node.Ino++
			d.Health.Refuse("d", node, published, unix.EPERM)
		}},
	} {
		d := newDesk(t)
		before := d.shows(t)
		d.Health.Refuse("d", before.Node, published, unix.EPERM)
		c.prepared(d, before.Node)
		d.showPublished(d.dir, "d", here)
		d.Fail = nil
		stamps, _, _ := d.Health.Exceptions.Counts()
		require.Equal(t, c.apart, stamps == 1, c.what)
		require.Equal(t, c.shown, d.shows(t).MTime == published, c.what)
		require.Equal(t, c.shown, d.OwnWrites.Has(d.shows(t)), c.what)
		require.Equal(t, c.shown || c.apart && c.what != "it cannot be looked at", d.set == 1, c.what)
		require.False(t, d.Changed, c.what)
	}
}
