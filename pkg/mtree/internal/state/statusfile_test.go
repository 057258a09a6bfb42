package state

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/wire"
)

// A status file is in its marker until its name is gone or that of another file.
func TestAStatusThatIsReplaced(t *testing.T) {
	top, m := newMarker(t)
	f, err := m.CreateStatus()
	require.NoError(t, err)
	defer f.Close()
	at := filepath.Join(top, mtree.MarkerName, statusName)
	is := func(still bool) {
		t.Helper()
		require.Equal(t, []bool{still, !still}, []bool{f.StillIn(m), f.Displaced(m)})
	}
	is(true)
	require.NoError(t, os.Rename(at, at+".old"))
	is(false)
	require.NoError(t, os.WriteFile(at, nil, 0o644))
	is(false)
	require.NoError(t, os.Rename(at+".old", at))
	is(true)
}

// What a status cannot hold is left out, or is an error that leaves the old one. It never
// is cut.
func TestAStatusThatIsTooLong(t *testing.T) {
	top, m := newMarker(t)
	at := filepath.Join(top, mtree.MarkerName, statusName)
	f, err := m.CreateStatus()
	require.NoError(t, err)
	defer f.Close()
	info, err := os.Stat(at)
	require.NoError(t, err)
	require.Zero(t, info.Size())
	_, err = m.ReadStatus()
	require.ErrorIs(t, err, fs.ErrNotExist, "made, and not written yet")
	kept, dropped, refused := 0, 0, 0
	for n := statusSize - 300; n <= statusSize; n++ {
		was := Status{State: wire.Watched, Error: strings.Repeat("e", n), Counters: map[string]int64{"a": 1}}
		require.NoError(t, f.Write(was))
		got, err := m.ReadStatus()
		require.NoError(t, err)
		if got.Error == "" {
			was.Error, was.Counters = "", nil
			dropped++
		} else {
			kept++
		}
		require.Equal(t, was, got)

		long := Status{State: wire.Watched, Boot: strings.Repeat("b", n)}
		if err := f.Write(long); err != nil {
			require.ErrorContains(t, err, "too long")
			long = was
			refused++
		}
		got, err = m.ReadStatus()
		require.NoError(t, err)
		require.Equal(t, long, got)
		page := read(t, at)
		require.Len(t, page, statusSize)
		require.True(t, strings.HasSuffix(page, "\n"))
	}
	require.True(t, kept > 10 && dropped > 10 && refused > 10)
}

// A text that fills the page has no room for the end of the line: it is too long, too.
func TestAStatusThatJustFits(t *testing.T) {
	_, m := newMarker(t)
	f, err := m.CreateStatus()
	require.NoError(t, err)
	defer f.Close()
	for _, long := range []func(text string) Status{
		func(text string) Status { return Status{State: wire.Watched, Error: text} },
		func(text string) Status { return Status{State: wire.Watched, Boot: text} },
	} {
		text, err := statusText(long("x"))
		require.NoError(t, err)
		for n := statusSize - len(text) - 3; n < statusSize-len(text)+3; n++ {
			for range 40 { // the sum in it has ten digits, or less
				last := Status{State: wire.Audited}
				require.NoError(t, f.Write(last))
				if want := long(strings.Repeat("x", n)); f.Write(want) == nil {
					last = want
				}
				got, err := m.ReadStatus()
				require.NoError(t, err)
				if got.Error == "" {
					last.Error = ""
				}
				require.Equal(t, last, got)
			}
		}
	}
}

// A status file of another length: what follows the page is cut, what is short stays as it
// is until it is written.
func TestAStatusOfAnotherLength(t *testing.T) {
	top, m := newMarker(t)
	at := filepath.Join(top, mtree.MarkerName, statusName)
	for _, size := range []int{0, 100, statusSize, statusSize + 1, 3 * statusSize} {
		require.NoError(t, os.WriteFile(at, []byte(strings.Repeat("x", size)), 0o644))
		f, err := m.CreateStatus()
		require.NoError(t, err)
		require.Len(t, read(t, at), min(size, statusSize))
		require.NoError(t, f.Write(Status{State: wire.Watched}))
		got, err := m.ReadStatus()
		require.NoError(t, err)
		require.Equal(t, wire.Watched, got.State)
		require.NoError(t, f.Close())
	}
}

// A writer that lost its processor in the middle of a status has 50 ms to end it.
func TestAWriterThatIsSlow(t *testing.T) {
	_, m := newMarker(t)
	for ends, whole := range map[time.Duration]bool{0: true, 20 * time.Millisecond: true, 48500 * time.Microsecond: true, time.Second: false} {
		require.NoError(t, WriteFile(m.dir, statusName, []byte(`{"begin":1,"end":2}`)))
		f, err := m.CreateStatus()
		require.NoError(t, err)
		synctest.Test(t, func(t *testing.T) {
			began, wrote := time.Now(), make(chan error, 1)
			time.AfterFunc(ends, func() { wrote <- f.Write(Status{State: wire.Watched}) })
			synctest.Wait()
			got, err := m.ReadStatus()
			if whole {
				require.NoError(t, err)
				require.NoError(t, <-wrote)
				require.Equal(t, wire.Watched, got.State)
				require.Less(t, time.Since(began)-ends, 2*time.Millisecond)
				return
			}
			require.ErrorIs(t, err, errTorn)
			require.Equal(t, 49*time.Millisecond, time.Since(began))
		})
		require.NoError(t, f.Close())
	}
}

// What a mirror announces counts in its running copy alone. A tree whose id a mirror made
// up has none for others, and one whose status is damaged is an error.
func TestWhatReadersAreTold(t *testing.T) {
	top, m := newMarker(t)
	root, err := RootOf(m.root)
	require.NoError(t, err)
	lock, err := m.Lock()
	require.NoError(t, err)
	defer lock.Unlock()
	b, err := m.CreateBeacon()
	require.NoError(t, err)
	defer b.Close()
	published := func(role Role, noID bool) Published {
		tree := Tree{ID: NewTreeID(), Epoch: 5, Role: role, NoID: noID}
		tree.Bind(root)
		require.NoError(t, m.WriteTree(tree))
		p, err := m.Published()
		require.NoError(t, err)
		require.Equal(t, noID, p.Tree.ID == "")
		require.Equal(t, noID, p.Tree.Epoch == 0)
		return p
	}
	require.Nil(t, published(Copy, false).Status.Confirmed, "nothing is announced yet")
	require.NoError(t, b.Announce(5))
	require.Equal(t, mtree.Unix(5, 0), *published(Copy, true).Status.Confirmed)
	require.Nil(t, published(Source, false).Status.Confirmed)
	require.NoError(t, os.WriteFile(filepath.Join(top, mtree.MarkerName, statusName), []byte("x"), 0o644))
	_, err = m.Published()
	require.ErrorIs(t, err, errTorn)
}

// Where the kernel has no id of the boot, no checkpoint is of this boot.
func TestACheckpointWithoutABoot(t *testing.T) {
	k, _ := newFaulty(t)
	at := mtree.Unix(1, 0)
	require.NotEmpty(t, machine.BootID())
	k.Refuse("proc boot_id", unix.EIO, -1)
	require.False(t, (&Status{Checkpoint: &at}).CheckpointHolds(""))
}

// A status that is too long loses how far a pass is before what a mirror goes by: its counters.
func TestWhatALongStatusLoses(t *testing.T) {
	_, m := newMarker(t)
	f, err := m.CreateStatus()
	require.NoError(t, err)
	defer f.Close()
	status := Status{State: wire.Filling, Upstreams: strings.Repeat("u", statusSize-300), Counters: map[string]int64{"walked": 1}}
	long := status
	long.Pass = &Pass{Permill: 437, Left: 7, Rate: 1 << 40, Listed: 1 << 40, Fetched: 1 << 40, Bytes: 1 << 40}
	require.NoError(t, f.Write(long))
	got, err := m.ReadStatus()
	require.NoError(t, err)
	require.Equal(t, status, got)
}
