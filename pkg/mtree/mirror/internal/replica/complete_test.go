package replica

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// A directory is complete with one stamp, by its record and by its mtime. What cannot be
// read is not.
func TestIsComplete(t *testing.T) {
	stamp := listed.Stamp
	for name, c := range map[string]struct {
		set  func(k *faulty, r *Replica)
		asks mtree.Stamp
		want bool
	}{
		"complete":         {want: true},
		"another stamp":    {asks: stamp.Add(1)},
		"touched":          {set: func(k *faulty, r *Replica) { require.NoError(t, k.dir(r, "a/b").SetTime(stamp.Add(1))) }},
		"without a record": {set: func(k *faulty, r *Replica) { require.NoError(t, records.Drop(k.dir(r, "a/b"))) }},
		"begun": {set: func(k *faulty, r *Replica) {
			k.complete(r, "a/b", unfinished(1, 0))
			require.NoError(t, k.dir(r, "a/b").SetTime(stamp))
		}},
		"it cannot be opened":    {set: func(k *faulty, _ *Replica) { k.Refuse("open b", unix.EIO, -1) }},
		"it cannot be looked at": {set: func(k *faulty, _ *Replica) { k.Refuse("statx b", unix.EIO, -1) }},
		"touched since the scan": {set: func(k *faulty, _ *Replica) {
			k.Fail = func(call string) error {
				if call == "open b" {
					require.NoError(t, k.Shell.Touch("/copy/a/b", time.Unix(5, 0), false))
				}
				return nil
			}
		}},
	} {
		k, r := simulated(t)
		k.tree("a/", "a/b/")
		k.complete(r, "a/b", listed)
		if c.set != nil {
			c.set(k, r)
		}
		dir := k.dir(r, "a")
		fail := k.Fail
		k.Fail = nil
		have := k.entry(dir, "b")
		k.Fail = fail
		if c.asks == (mtree.Stamp{}) {
			c.asks = stamp
		}
		require.Equal(t, c.want, r.IsComplete(dir, "a", c.asks, have), name)
		k.Made("")
		require.Equal(t, c.want, r.IsComplete(dir, "a", c.asks, have), "%s, again", name)
		if c.want || have.MTime != c.asks {
			require.Empty(t, k.Calls, "%s: it costs nothing", name)
		}
	}
}

// Where times are coarse, a stamp is complete only by its record; where there are no
// attributes, by the log.
func TestIsCompleteElsewhere(t *testing.T) {
	for _, o := range []simkernel.Options{{Granule: 2 * time.Second}, {NoXattrs: true}} {
		k := newFaulty(t, o, 0)
		r := k.replica()
		k.tree("a/")
		k.complete(r, "a", listed)
		have := k.entry(r.Root, "a")
		require.Equal(t, o.NoXattrs, have.MTime == listed.Stamp)
		require.False(t, r.IsComplete(r.Root, "", listed.Stamp.Add(1), have))
		require.True(t, r.IsComplete(r.Root, "", listed.Stamp, have))
		require.Equal(t, o.NoXattrs, k.Made("getxattr a") == 0)
	}
}

// A directory whose record is missing is not complete, even if the source lists it with no
// stamp at all.
func TestNoRecordIsNotTheZeroStamp(t *testing.T) {
	k, r := simulated(t)
	k.tree("a/")
	require.NoError(t, k.dir(r, "a").SetTime(mtree.Stamp{}))
	require.False(t, r.IsComplete(r.Root, "", mtree.Stamp{}, k.entry(r.Root, "a")))
	k.complete(r, "a", records.Record{})
	require.True(t, r.IsComplete(r.Root, "", mtree.Stamp{}, k.entry(r.Root, "a")))
}

// All are forgotten only when there are too many.
func TestWhatIsProvenStaysSo(t *testing.T) {
	var m proven
	for i := range mostProven {
		m.add(strconv.Itoa(i), listed, disk.Info{})
	}
	require.Len(t, m.byPath, mostProven)
	m.add("more", listed, disk.Info{})
	require.Len(t, m.byPath, 1)
	require.False(t, m.has("0", mtree.Stamp{}, &mtree.Entry{Has: mtree.HasCTime}), "what is not known has no proof")
}

// Mirror runs as a user who owns the directory, and the source's mode lets nobody write to
// it: it is made writable for as long as its record is written. Only then is its mode
// touched.
func TestARecordOnWhatNobodyMayWrite(t *testing.T) {
	for name, c := range map[string]struct {
		mode uint32
		set  func(k *faulty)
		err  error
		set2 int // how often the mode was set
	}{
		"it may be written":             {mode: 0o700},
		"nobody may write":              {mode: 0o555, set2: 2},
		"another's":                     {mode: 0o555, set: func(k *faulty) { require.NoError(t, k.Shell.Chown("/copy/a", 7)) }, err: unix.EACCES, set2: 1},
		"the disk fails":                {mode: 0o555, set: func(k *faulty) { k.Refuse("setxattr a", unix.EIO, 1) }, err: unix.EIO},
		"the file system is read-only":  {mode: 0o755, set: func(k *faulty) { k.Refuse("setxattr a", unix.EROFS, 1) }, err: unix.EROFS},
		"its mode is not known":         {mode: 0o555, set: func(k *faulty) { k.refuseAfter("setxattr a", "statx a") }, err: unix.EACCES},
		"it fails again":                {mode: 0o555, set: func(k *faulty) { k.Refuse("setxattr a", unix.EPERM, 2) }, err: unix.EPERM, set2: 2},
		"the mode cannot be given back": {mode: 0o555, set: func(k *faulty) { k.RefuseNth("chmod a", 2, unix.EIO) }, err: unix.EIO, set2: 2},
	} {
		k := newFaulty(t, simkernel.Options{}, 1000)
		r := k.replica()
		k.tree("a/")
		require.NoError(t, k.Shell.Chown("/copy/a", 1000))
		require.NoError(t, k.Shell.Chmod("/copy/a", c.mode))
		dir := k.dir(r, "a")
		if c.set != nil {
			c.set(k)
		}
		err := r.SetRecord(dir, "a", listed)
		require.ErrorIs(t, err, c.err, name)
		k.Fail = nil
		require.Equal(t, c.set2, k.Made("chmod a"), name)
		info, statErr := dir.Self()
		require.NoError(t, statErr)
		if name != "the mode cannot be given back" {
			require.EqualValues(t, c.mode, info.Mode, name)
		}
		got, known, _ := r.Record(dir, "a")
		require.Equal(t, err == nil || info.Mode != c.mode, known, name)
		require.Equal(t, known, got == listed, name)
	}
}

// refuseAfter lets a call fail once another one was made.
func (k *faulty) refuseAfter(first, call string) {
	made := false
	k.Fail = func(is string) error {
		made = made || is == first
		if made && is == call {
			return unix.EIO
		}
		return nil
	}
}
