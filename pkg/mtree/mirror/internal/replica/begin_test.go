package replica

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// listed is a record as a listing gives it.
var listed = records.Record{Stamp: mtree.Unix(1_000, 5), Now: mtree.Unix(1_001, 0), ID: "0123456789abcdef", Excluded: 2, Fingerprint: "e"}

// with returns the record of a listing, changed.
func with(change func(r *records.Record)) records.Record {
	r := listed
	change(&r)
	return r
}

// unfinished returns that record as it is while the directory is unfinished.
func unfinished(in stay, d Doubts) records.Record {
	return with(func(r *records.Record) { r.Stamp = d.stamp(in) })
}

// The least stamps stand for directories that are unfinished: for what is doubted in them,
// and for the stay in which they were begun. All others are a source's.
func TestWhatAStampStandsFor(t *testing.T) {
	r := &Replica{stay: 7}
	for _, in := range []stay{0, 1, 7, 1<<stayBits - 1} {
		for _, d := range []Doubts{0, DoubtBelow, DoubtClock, DoubtBelow | DoubtBytes | DoubtHidden | DoubtRecent | DoubtClock} {
			record := records.Record{Stamp: d.stamp(in)}
			doubts, begun := DoubtsOf(record)
			require.True(t, begun)
			require.Equal(t, d, doubts)
			require.Equal(t, in != 7, r.MayBeLost(record))
			require.Equal(t, d != 0 && d != DoubtClock, d.Below())
		}
	}
	for _, stamp := range []mtree.Stamp{mtree.MinStamp.Add(1 << (stayShift + stayBits)), {}, mtree.Unix(-5, 0), mtree.Unix(1_000, 1), mtree.MaxStamp} {
		doubts, begun := DoubtsOf(records.Record{Stamp: stamp})
		require.False(t, begun, stamp)
		require.Zero(t, doubts)
		require.False(t, r.MayBeLost(records.Record{Stamp: stamp}), "it was complete, so it was flushed")
	}
}

// What Begin makes of a record, of a listing and of doubts. It is written once.
func TestWhatBeginWrites(t *testing.T) {
	const present, earlier = 7, 3
	newer := with(func(r *records.Record) {
		r.Stamp, r.Now, r.ID = mtree.Unix(2_000, 0), mtree.Unix(2_001, 0), "fedcba9876543210"
	})
	for name, c := range map[string]struct {
		had    *records.Record // nil: none
		listed records.Record
		doubts Doubts
		want   *records.Record // nil: none
	}{
		"it had none":      {listed: listed, want: ptr(unfinished(present, 0))},
		"none, and doubts": {listed: listed, doubts: DoubtBytes, want: ptr(unfinished(present, DoubtBytes))},
		"none, and left out by whom": {listed: with(func(r *records.Record) { r.Fingerprint = "" }),
			want: ptr(with(func(r *records.Record) { r.Stamp, r.Fingerprint = Doubts(0).stamp(present), "" }))},
		"none, no listing":            {},
		"none, no listing and doubts": {doubts: DoubtBelow, want: &records.Record{Stamp: DoubtBelow.stamp(present)}},
		"none, and a stamp of ours":   {listed: unfinished(present, 0), want: ptr(unfinished(present, 0))},
		"a complete one":              {had: &listed, listed: newer, want: ptr(unfinished(present, 0))},
		"a complete one, no listing":  {had: &listed, want: ptr(unfinished(present, 0))},
		"doubts are added":            {had: ptr(unfinished(present, DoubtBytes)), listed: newer, doubts: DoubtHidden, want: ptr(unfinished(present, DoubtBytes|DoubtHidden))},
		"begun in an earlier stay":    {had: ptr(unfinished(earlier, 0)), listed: newer, doubts: DoubtHidden, want: ptr(unfinished(earlier, DoubtHidden))},
		"begun already":               {had: ptr(unfinished(present, DoubtBytes)), listed: newer, want: ptr(unfinished(present, DoubtBytes))},
		"more is left out now": {had: ptr(unfinished(present, 0)), listed: with(func(r *records.Record) { r.Excluded = 3 }),
			want: ptr(unfinished(present, 0))},
		"less is left out now": {had: ptr(unfinished(present, 0)), listed: with(func(r *records.Record) { r.Excluded = 1 }),
			want: ptr(with(func(r *records.Record) { r.Stamp, r.Excluded = Doubts(0).stamp(present), 1 }))},
		"others leave it out": {had: ptr(unfinished(present, 0)), listed: with(func(r *records.Record) { r.Excluded, r.Fingerprint = 9, "f" }),
			want: ptr(with(func(r *records.Record) { r.Stamp, r.Excluded, r.Fingerprint = Doubts(0).stamp(present), 9, "f" }))},
		"it lacks now": {had: ptr(with(func(r *records.Record) { r.Stamp, r.Now = Doubts(0).stamp(present), mtree.Stamp{} })), listed: listed,
			want: ptr(unfinished(present, 0))},
		"it lacks an id": {had: ptr(with(func(r *records.Record) { r.Stamp, r.ID = Doubts(0).stamp(present), "" })), listed: listed,
			want: ptr(unfinished(present, 0))},
		"nobody has now and id": {had: ptr(with(func(r *records.Record) { r.Stamp, r.Now, r.ID = Doubts(0).stamp(present), mtree.Stamp{}, "" })),
			listed: with(func(r *records.Record) { r.Now, r.ID = mtree.Stamp{}, "" }),
			want:   ptr(with(func(r *records.Record) { r.Stamp, r.Now, r.ID = Doubts(0).stamp(present), mtree.Stamp{}, "" }))},
	} {
		k, r := simulated(t)
		r.stay = present
		if c.had != nil {
			require.NoError(t, r.SetRecord(r.Root, "", *c.had))
		}
		k.Made("")
		for again := range 2 {
			require.NoError(t, r.Begin(r.Root, "", c.listed, c.doubts), name)
			got, known, _ := r.Record(r.Root, "")
			require.Equal(t, c.want != nil, known, name)
			if c.want != nil {
				require.Equal(t, *c.want, got, name)
			}
			writes := 0
			if again == 0 && c.want != nil && (c.had == nil || *c.had != *c.want) {
				writes = 1
			}
			require.Equal(t, writes, k.Made("setxattr"), name)
		}
	}
}

func ptr[T any](x T) *T { return &x }

// What cannot be written is told: nothing may be changed in a directory that was not begun.
func TestARecordThatIsNotWritten(t *testing.T) {
	for _, o := range []simkernel.Options{{}, {NoXattrs: true}} {
		k := newFaulty(t, o, 0)
		r := k.replica()
		call := "setxattr copy"
		if o.NoXattrs {
			call = "write records"
		}
		require.NoError(t, r.SetRecord(r.Root, "", with(func(r *records.Record) { r.Stamp = Doubts(0).stamp(1) })))
		for name, do := range map[string]func() error{
			"SetRecord": func() error { return r.SetRecord(r.Root, "", listed) },
			"Begin":     func() error { return r.Begin(r.Root, "", listed, DoubtBytes) },
			"Distrust":  func() error { return r.Distrust(0) },
			"SetNow":    func() error { return r.SetNow(r.Root, "", mtree.Unix(5, 5)) },
			"Recovered": func() error { return r.Recovered(r.Root, "") },
		} {
			k.Refuse(call, unix.EIO, -1)
			require.ErrorIs(t, do(), unix.EIO, name)
		}
	}
}

// A record that could not be read counted as none: a repair left a directory complete in which it
// had spoiled a file, and what was doubted, and since when a file is known, was forgotten.
func TestARecordThatCannotBeRead(t *testing.T) {
	k, r := simulated(t)
	require.NoError(t, r.SetRecord(r.Root, "", listed))
	for name, do := range map[string]func() error{
		"Begin":          func() error { return r.Begin(r.Root, "", listed, DoubtBytes) },
		"MarkUnfinished": func() error { return r.MarkUnfinished("") },
		"SetNow":         func() error { return r.SetNow(r.Root, "", mtree.Unix(5, 5)) },
		"Recovered":      func() error { return r.Recovered(r.Root, "") },
		"IsNew":          func() error { _, err := r.IsNew(); return err },
	} {
		k.Refuse("getxattr copy", unix.ENOMEM, 1)
		require.ErrorIs(t, do(), unix.ENOMEM, name)
		record, ok := k.record(r, "")
		require.True(t, ok && record == listed, name)
	}
	k.Refuse("getxattr copy", unix.ENOMEM, 1)
	require.True(t, r.IsDoubted(DoubtBelow))
	require.False(t, r.IsDoubted(DoubtBelow))
	require.NoError(t, records.Drop(r.Root))
	for _, none := range []error{unix.ENODATA, unix.ENOTSUP, unix.ERANGE} {
		k.Refuse("getxattr copy", none, 1)
		_, ok := k.record(r, "")
		require.False(t, ok)
	}
}

// The doubts about a whole copy are on disk before anything else is done.
func TestDistrustIsOnDisk(t *testing.T) {
	k, r := simulated(t)
	k.Refuse("fsync copy", unix.EIO, 1)
	require.ErrorIs(t, r.Distrust(DoubtBytes), unix.EIO)
	require.NoError(t, r.Distrust(DoubtBytes))
	require.True(t, r.IsDoubted(DoubtBelow))
	require.True(t, r.IsDoubted(DoubtBytes|DoubtClock))
	require.False(t, r.IsDoubted(DoubtClock))
	require.NoError(t, r.SetRecord(r.Root, "", listed))
	require.False(t, r.IsDoubted(DoubtBelow|DoubtBytes), "it is complete")
	require.NoError(t, records.Drop(r.Root))
	require.False(t, r.IsDoubted(DoubtBelow|DoubtBytes), "there is no record")
	require.False(t, (&Replica{}).IsDoubted(DoubtBelow), "there is no copy")
}

// All above a directory that is marked is unfinished, too; what has no record gets none.
func TestMarkUnfinished(t *testing.T) {
	k, r := simulated(t)
	k.tree("a/", "a/b/", "a/b/c/", "d/")
	for _, path := range []string{"", "a", "a/b/c", "d"} {
		require.NoError(t, r.SetRecord(k.dir(r, path), path, listed))
	}
	calls := 0
	k.Fail = func(string) error {
		if calls++; calls > 1000 {
			panic("it does not end")
		}
		return nil
	}
	require.NoError(t, r.MarkUnfinished("a/b/c"))
	for path, begun := range map[string]bool{"": true, "a": true, "a/b/c": true, "d": false} {
		record, known := k.record(r, path)
		_, is := DoubtsOf(record)
		require.True(t, known, path)
		require.Equal(t, begun, is, path)
	}
	_, known := k.record(r, "a/b")
	require.False(t, known)

	require.ErrorIs(t, r.MarkUnfinished("a/x"), unix.ENOENT)
	require.NoError(t, r.SetRecord(k.dir(r, "d"), "d", listed))
	k.Refuse("setxattr d", unix.EIO, 1)
	require.ErrorIs(t, r.MarkUnfinished("d"), unix.EIO)
}

// Files that were compared in this stay are known by size and time from then on; the
// doubts stay.
func TestRecovered(t *testing.T) {
	k, r := simulated(t)
	r.stay = 7
	for _, c := range []struct{ had, want *records.Record }{
		{nil, nil},
		{&listed, &listed},
		{ptr(unfinished(7, DoubtBytes)), ptr(unfinished(7, DoubtBytes))},
		{ptr(unfinished(3, DoubtBytes)), ptr(unfinished(7, DoubtBytes))},
	} {
		if c.had != nil {
			require.NoError(t, r.SetRecord(r.Root, "", *c.had))
		}
		k.Made("")
		require.NoError(t, r.Recovered(r.Root, ""))
		require.Equal(t, c.had != c.want && *c.had != *c.want, k.Made("setxattr") == 1)
		got, known, _ := r.Record(r.Root, "")
		require.Equal(t, c.want != nil, known)
		if known {
			require.Equal(t, *c.want, got)
		}
	}
}

// Only the clock of a record changes, and only of one that is there.
func TestSetNow(t *testing.T) {
	k, r := simulated(t)
	require.NoError(t, r.SetNow(r.Root, "", mtree.Unix(5, 5)))
	_, known, _ := r.Record(r.Root, "")
	require.False(t, known)
	require.NoError(t, r.SetRecord(r.Root, "", listed))
	k.Made("")
	require.NoError(t, r.SetNow(r.Root, "", listed.Now))
	require.Zero(t, k.Made("setxattr"))
	now := listed.Now.Add(-time.Second)
	require.NoError(t, r.SetNow(r.Root, "", now))
	got, _, _ := r.Record(r.Root, "")
	require.Equal(t, with(func(r *records.Record) { r.Now = now }), got)
}

// A copy is new while it has neither a record nor an entry.
func TestIsNew(t *testing.T) {
	k, r := simulated(t)
	isNew := func() bool {
		is, err := r.IsNew()
		require.NoError(t, err)
		return is
	}
	require.True(t, isNew())
	require.NoError(t, r.SetRecord(r.Root, "", listed))
	require.False(t, isNew(), "the source had no entry")
	require.NoError(t, records.Drop(r.Root))
	k.tree("lost+found/")
	require.True(t, isNew(), "mkfs made it")
	k.tree("f")
	require.False(t, isNew())
	require.NoError(t, k.Shell.Remove("/copy/lost+found"))
	require.False(t, isNew())
	k.Refuse("list copy", unix.EIO, 1)
	_, err := r.IsNew()
	require.ErrorIs(t, err, unix.EIO)
}

// What is doubted of files gets a time that no source lists. It was one in 1901 everywhere: FAT keeps
// none before 1980, so a file of 1970 had the time that it should have, and was trusted; and another
// name of a file, in somebody's snapshot, got that time, too.
func TestDoubt(t *testing.T) {
	const fat = 315_532_800 // 1980
	for name, c := range map[string]struct {
		first  int64
		set    func(k *faulty)
		names  string
		marked string
		bySums bool
	}{
		"two files":              {names: "f g", marked: "f g"},
		"no times before 1980":   {first: fat, names: "f", marked: "f"},
		"another name":           {names: "f linked g", marked: "f g", bySums: true},
		"only another name":      {names: "linked", bySums: true},
		"its time cannot be set": {set: func(k *faulty) { k.Refuse("utimes f", unix.EPERM, 1) }, names: "f g", marked: "g", bySums: true},
		"no look at it":          {set: func(k *faulty) { k.Refuse("statx f", unix.EIO, 1) }, names: "f g", marked: "g", bySums: true},
		"it is gone":             {names: "none g", marked: "g"},
		"it is no file":          {names: "d g", marked: "g"},
		"none":                   {},
	} {
		k := newFaulty(t, simkernel.Options{First: c.first}, 0)
		r := k.replica()
		k.tree("a/", "a/f", "a/g", "a/linked", "a/d/")
		require.NoError(t, k.Shell.Link("/copy/a/linked", "/other"))
		was := map[string]time.Time{}
		for _, file := range []string{"f", "g", "linked", "d"} {
			require.NoError(t, k.Shell.Touch("/copy/a/"+file, time.Unix(1, 0), false)) // Nix gives this date
			was[file], _, _ = k.Shell.Times("/copy/a/" + file)
		}
		k.complete(r, "a", listed)
		if c.set != nil {
			c.set(k)
		}
		require.NoError(t, r.Doubt(k.dir(r, "a"), "a", strings.Fields(c.names)), name)
		k.Fail = nil
		var marked []string
		for _, file := range []string{"d", "f", "g", "linked"} {
			is, _, err := k.Shell.Times("/copy/a/" + file)
			require.NoError(t, err)
			if !is.Equal(was[file]) {
				marked = append(marked, file)
				require.Equal(t, c.first == 0, mtree.FromTime(is) == Doubtful, name)
			}
			require.Equal(t, !is.Equal(was[file]), r.IsDoubtful(mtree.FromTime(is)), name)
		}
		require.Equal(t, c.marked, strings.Join(marked, " "), name)
		record, _ := k.record(r, "a")
		doubts, begun := DoubtsOf(record)
		require.Equal(t, c.bySums, begun && doubts == DoubtBytes, name)
		require.Equal(t, !c.bySums, record == listed, name)
	}

	k, r := simulated(t)
	k.tree("a/", "a/f")
	require.NoError(t, k.Shell.Link("/copy/a/f", "/other"))
	k.Refuse("setxattr a", unix.EIO, 1)
	require.ErrorIs(t, r.Doubt(k.dir(r, "a"), "a", []string{"f"}), unix.EIO)
}

// The options of serve are noted where there is a record, and with them that nothing is left out.
func TestSetOptions(t *testing.T) {
	k, r := simulated(t)
	require.NoError(t, r.SetOptions(r.Root, "", "f"))
	_, known := k.record(r, "")
	require.False(t, known, "there was none")
	k.complete(r, "", listed)
	require.NoError(t, r.SetOptions(r.Root, "", "f"))
	record, _ := k.record(r, "")
	require.Equal(t, with(func(r *records.Record) { r.Excluded, r.Fingerprint = 0, "f" }), record)
	for _, call := range []string{"getxattr copy", "setxattr copy"} {
		k.Refuse(call, unix.EIO, 1)
		require.ErrorIs(t, r.SetOptions(r.Root, "", "g"), unix.EIO, call)
	}
}

// What held deletions are released in is made writable for its owner, and is unfinished then. A directory
// that is writable stays as it is.
func TestMakeReady(t *testing.T) {
	for _, mode := range []uint32{0o755, 0o555} {
		k := newFaulty(t, simkernel.Options{}, 1000)
		r := k.replica()
		require.NoError(t, k.Mkdirat(r.Root.FD(), "d", 0o755))
		k.complete(r, "d", listed)
		dir := k.dir(r, "d")
		require.NoError(t, r.Root.ChmodEntry("d", mode))
		k.Refuse("statx d", unix.EIO, 1)
		require.ErrorIs(t, r.makeReady(dir, "d"), unix.EIO)
		record, _ := k.record(r, "d")
		require.Equal(t, listed, record, "nothing is known of it")
		k.RefuseNth("chmod d", 3, unix.EIO) // after those around the record
		err := r.makeReady(dir, "d")
		k.Fail = nil
		if mode == 0o555 {
			require.ErrorIs(t, err, unix.EIO)
			err = r.makeReady(dir, "d")
		}
		require.NoError(t, err)
		info, err := dir.Self()
		require.NoError(t, err)
		require.EqualValues(t, 0o755, info.Mode&0o777)
		record, _ = k.record(r, "d")
		require.Equal(t, mode == 0o755, record == listed)
	}
}

// A directory that its owner may not look into is opened all the same, with those above it. What is no
// directory, or not there, changes no modes.
func TestEnter(t *testing.T) {
	mode := func(r *Replica, path string) uint32 {
		info, err := r.Root.StatPath(path, false)
		require.NoError(t, err, path)
		return uint32(info.Mode & 0o777)
	}
	made := func() (*faulty, *Replica) {
		k := newFaulty(t, simkernel.Options{}, 1000)
		r := k.replica()
		for _, path := range []string{"a", "a/b"} {
			require.NoError(t, k.Mkdirat(r.Root.FD(), path, 0o755))
		}
		require.NoError(t, k.Shell.Write("/copy/a/f", "f"))
		require.NoError(t, k.Shell.Chown("/copy/a/f", 1000))
		require.NoError(t, r.Root.ChmodEntry("a", 0o755))
		require.NoError(t, k.dir(r, "a").ChmodEntry("b", 0))
		require.NoError(t, r.Root.ChmodEntry("a", 0))
		return k, r
	}
	k, r := made()
	dir, err := r.Enter("a/b")
	require.NoError(t, err)
	require.NoError(t, dir.Close())
	require.EqualValues(t, 0o700, mode(r, "a"))
	require.EqualValues(t, 0o700, mode(r, "a/b"))
	for _, path := range []string{"a/b", ""} {
		k.Made("")
		dir, err := r.Enter(path)
		require.NoError(t, err)
		require.NoError(t, dir.Close())
		require.Zero(t, k.Made("chmod"), "it can be opened")
	}
	for _, path := range []string{"a/f", "a/none"} {
		_, r := made()
		_, err := r.Enter(path)
		require.Error(t, err, path)
		require.EqualValues(t, 0o644, mode(r, "a/f"))
		require.NoError(t, r.Root.ChmodEntry("a", 0o500))
		_, err = r.Enter("a/none")
		require.Error(t, err)
		require.EqualValues(t, 0o500, mode(r, "a"), "nothing is denied")
	}
	for _, c := range []struct {
		mode  uint32
		fails string
		after uint32
	}{{0o400, "", 0o700}, {0o404, "statx a", 0o404}, {0o755, "", 0o755}} {
		k, r := made()
		require.NoError(t, r.Root.ChmodEntry("a", c.mode))
		k.Made("")
		k.Refuse(c.fails, unix.EIO, -1)
		dir, err := r.Enter("a/b")
		require.Equal(t, c.fails != "", err != nil)
		if err == nil {
			require.NoError(t, dir.Close())
		}
		require.Equal(t, c.mode != c.after, k.Made("chmod a") > 0, "only if it has to be")
		k.Fail = nil
		require.EqualValues(t, c.after, mode(r, "a"))
	}
	for call, from := range map[string]int{"chmod a": 1, "chmod b": 1, "statx b": 1, "statx a": 1} {
		k, r := made()
		k.Refuse(call, unix.EIO, from)
		_, err := r.Enter("a/b")
		require.Error(t, err, call)
	}
	k, r = made()
	k.Refuse("open copy", unix.EACCES, -1)
	_, err = r.Enter("")
	require.Error(t, err, "nothing is above the root")
}
