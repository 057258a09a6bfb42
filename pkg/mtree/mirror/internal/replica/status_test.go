package replica

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// A status is written with its time if something in it is new.
func TestUpdateStatus(t *testing.T) {
	p := newPublished(t)
	require.NoError(t, p.UpdateStatus(func(s *state.Status) bool { s.State = wire.Mirrored; return false }))
	require.Empty(t, p.Status().State)
	_, err := p.marker.ReadStatus()
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, p.UpdateStatus(func(s *state.Status) bool { s.State, s.Stamps = wire.Mirrored, 7; return true }))
	require.Equal(t, state.Status{State: wire.Mirrored, Updated: &p.at, Boot: machine.BootID(), PID: os.Getpid()}, p.read())

	p.Refuse("write status.json", unix.EIO, 1)
	err = p.UpdateStatus(func(*state.Status) bool { return true })
	require.ErrorIs(t, err, unix.EIO)
	require.True(t, IsLocal(err))
	p.Refuse("write status.json", unix.EIO, 1)
	require.ErrorIs(t, p.Publish(ends()), unix.EIO)
}

// What is confirmed is announced at once, and in the file with what else is written, or at
// the end.
func TestConfirm(t *testing.T) {
	p := newPublished(t)
	require.NoError(t, p.UpdateStatus(func(s *state.Status) bool { s.State = wire.Mirrored; return true }))
	updated := *p.read().Updated
	p.Made("")
	p.StoreConfirmed()
	require.Zero(t, p.Made("write"), "nothing was confirmed")
	for _, sec := range []int64{4_000, 4_001} {
		p.Confirm(mtree.Unix(sec, 5))
		told, err := p.marker.Announced()
		require.NoError(t, err)
		require.Equal(t, sec, told)
	}
	require.Zero(t, p.Made("write"))
	require.Nil(t, p.read().Confirmed)
	p.at = p.at.Add(1)
	p.StoreConfirmed()
	require.Equal(t, mtree.Unix(4_001, 5), *p.read().Confirmed)
	require.Equal(t, updated, *p.read().Updated)
	p.Confirm(mtree.Unix(4_002, 0))
	require.NoError(t, p.UpdateStatus(func(*state.Status) bool { return true }))
	require.Equal(t, mtree.Unix(4_002, 0), *p.read().Confirmed)
	p.Refuse("write status.json", unix.EIO, 1)
	p.StoreConfirmed()
	require.Contains(t, p.faulty.log.String(), "input/output error")
}

// What a claim keeps of the status that it finds.
func TestResetStatus(t *testing.T) {
	recent := &state.Deletions{Base: 5}
	for _, c := range []struct {
		was  wire.State
		anew bool
		want state.Status
		held bool
	}{
		{was: wire.Mirrored, want: state.Status{State: wire.Mirrored, Error: "e", Deletions: recent}, held: true},
		{was: "", want: state.Status{State: wire.Filling, Deletions: recent}, held: true},
		{was: wire.Mirrored, anew: true, want: state.Status{State: wire.Filling}},
		{was: "", anew: true, want: state.Status{State: wire.Filling}},
	} {
		p := newPublished(t)
		p.status = state.Status{State: c.was, Error: "e", Deletions: recent}
		require.NoError(t, p.SetHeld(&HeldList{Entries: []Deletion{{Path: "a"}}}))
		require.NoError(t, p.ResetStatus(c.anew))
		require.Equal(t, c.want, p.read())
		l, err := p.Held()
		require.NoError(t, err)
		require.Equal(t, c.held, len(l.Entries) > 0)
	}
	for _, call := range []string{"unlink held", "write status.json"} {
		p := newPublished(t)
		require.NoError(t, p.SetHeld(&HeldList{Entries: []Deletion{{Path: "a"}}}))
		p.Refuse(call, unix.EIO, 1)
		require.ErrorIs(t, p.ResetStatus(true), unix.EIO, call)
	}
}

// What is complete of a copy that was never complete is written by itself.
func TestStoreFilled(t *testing.T) {
	p := newPublished(t)
	p.status = state.Status{State: wire.Filling, Error: "e"}
	filled := wire.Entries{Files: 3, Directories: 2, Bytes: 7}
	p.StoreFilled(filled)
	require.Equal(t, state.Status{State: wire.Filling, Error: "e", Filled: &filled}, p.read())
	p.Refuse("write status.json", unix.EIO, 1)
	p.StoreFilled(filled)
	require.Contains(t, p.faulty.log.String(), "input/output error")
}

// What the guard of --max-delete remembers is written by itself, and outlives a status that
// was removed.
func TestWhatTheGuardRemembers(t *testing.T) {
	p := newPublished(t)
	p.status = state.Status{State: wire.Mirrored, Error: "e"}
	p.StoreDeletions(&state.Deletions{Base: 5})
	require.Equal(t, state.Status{State: wire.Mirrored, Error: "e", Deletions: &state.Deletions{Base: 5}}, p.read())
	p.Refuse("write status.json", unix.EIO, 1)
	p.StoreDeletions(&state.Deletions{Base: 6})
	require.Contains(t, p.faulty.log.String(), "input/output error")

	later := &Replica{}
	later.RecallDeletions(p.Replica)
	require.EqualValues(t, 6, later.Status().Deletions.Base)
	p.status.Deletions = &state.Deletions{Base: 7}
	later.RecallDeletions(p.Replica)
	require.EqualValues(t, 6, later.Status().Deletions.Base)
}

// A hold is on disk before it is listed, and whoever wants it there learns that it is not.
func TestWhatTheGuardRemembersDurably(t *testing.T) {
	p := newPublished(t)
	require.NoError(t, p.KeepDeletions(&state.Deletions{Base: 5, Shut: true}))
	require.Equal(t, &state.Deletions{Base: 5, Shut: true}, p.read().Deletions)
	require.Equal(t, 1, p.Made("fsync status.json"))
	for _, failing := range []string{"write status.json", "fsync status.json"} {
		p.Refuse(failing, unix.EIO, 1)
		err := p.KeepDeletions(&state.Deletions{Base: 6})
		require.ErrorIs(t, err, unix.EIO)
		require.True(t, IsLocal(err))
	}
}

// The copy is at its path, with marker, lock and status. A status that was removed or
// replaced is there again; nothing else is.
func TestStillAt(t *testing.T) {
	k, r := simulated(t)
	require.NoError(t, r.StillAt())
	inode := func() (inode uint64) {
		info, err := r.marker.Dir().Stat("status.json")
		require.NoError(t, err)
		return info.Node.Ino
	}
	was := inode()
	k.Made("")
	require.NoError(t, r.StillAt())
	require.Zero(t, k.Made("open status.json"), "it has its place")
	require.NoError(t, k.Shell.Remove("/copy/.tidemark/status.json"))
	require.NoError(t, r.StillAt())
	require.NotEqual(t, was, inode())
	_, err := r.marker.ReadStatus()
	require.ErrorIs(t, err, fs.ErrNotExist, "there is nothing to say yet")

	require.NoError(t, r.UpdateStatus(func(s *state.Status) bool { s.State = wire.Mirrored; return true }))
	for _, call := range []string{"open status.json", "write status.json"} {
		_ = k.Shell.Remove("/copy/.tidemark/status.json")
		k.Refuse(call, unix.EIO, 1)
		require.ErrorIs(t, r.StillAt(), unix.EIO, call)
	}
	require.NoError(t, r.StillAt())
	require.NoError(t, k.Shell.Remove("/copy/.tidemark/status.json"))
	open := len(k.Open)
	require.NoError(t, r.StillAt())
	require.Len(t, k.Open, open, "the earlier file is closed")
	require.NoError(t, r.UpdateStatus(func(s *state.Status) bool { s.Error = "e"; return true }))
	s, err := r.marker.ReadStatus()
	require.NoError(t, err)
	require.Equal(t, wire.Mirrored, s.State)
	require.Equal(t, "e", s.Error)
}

func TestStillAtIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(k *faulty) error
		unmarked bool
	}{
		"another directory": {change: func(k *faulty) error {
			return errors.Join(k.Shell.Rename("/copy", "/away", 0), k.Shell.Mkdir("/copy", 0o755))
		}},
		"no marker":        {change: func(k *faulty) error { return k.Shell.Remove("/copy/.tidemark") }, unmarked: true},
		"a marker renamed": {change: func(k *faulty) error { return k.Shell.Rename("/copy/.tidemark", "/copy/x", 0) }, unmarked: true},
		"no lock":          {change: func(k *faulty) error { return k.Shell.Remove("/copy/.tidemark/lock") }, unmarked: true},
	} {
		k, r := simulated(t)
		require.NoError(t, c.change(k), name)
		err := r.StillAt()
		require.Error(t, err, name)
		require.Equal(t, c.unmarked, errors.Is(err, ErrUnmarked), "%s: %v", name, err)
	}
}

// The log of the records is there again if it was removed under a running mirror: for serve no
// directory of the copy was finished.
func TestStillAtMendsTheLog(t *testing.T) {
	k, r := bare(t)
	require.NoError(t, r.SetRecord(r.Root, "", listed))
	require.NoError(t, k.Shell.Remove("/copy/.tidemark/"+records.LogName))
	k.Refuse("rename "+records.LogName, unix.EIO, 1)
	require.ErrorIs(t, r.StillAt(), unix.EIO)
	require.NoError(t, r.StillAt())
	l, err := records.ReadLog(r.marker)
	require.NoError(t, err)
	defer l.Close()
	record, ok := l.Get("")
	require.True(t, ok)
	require.Equal(t, listed, record)
}

// When the root of the source was read is worth writing: a cache that answers with an earlier one is known
// by it.
func TestWhenTheSourceWasReadIsWritten(t *testing.T) {
	a := state.Status{SourceRead: new(mtree.Unix(1, 0)), Counters: Counters{Walked: 1}.fields(), Deletions: &state.Deletions{}}
	b := a
	require.True(t, sameStatus(&a, &b))
	b.SourceRead = new(mtree.Unix(2, 0))
	require.False(t, sameStatus(&a, &b))
}
