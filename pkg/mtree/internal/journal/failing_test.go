package journal

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// newFaulty returns a bench on a machine whose calls can fail.
func newFaulty(t *testing.T) (*faultkernel.Kernel, *bench) {
	k := faultkernel.New(t, 0)
	require.NoError(t, k.Shell.Mkdir("/tree", 0o755))
	root, err := disk.OpenRoot("/tree")
	require.NoError(t, err)
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	b := &bench{t: t, Writer: &Writer{}, marker: m}
	return k, b
}

// A machine that does not tell its boot has no journal.
func TestWriterWithoutABoot(t *testing.T) {
	k, b := newFaulty(t)
	k.Refuse("proc boot_id", unix.ENOENT, -1)
	require.ErrorIs(t, b.Begin(b.marker, ours), errNoBoot)
	require.ErrorIs(t, b.write(), errNoBoot)
	b.seesNothing(&Follower{}, ErrUnproved)
}

// Whatever call fails, and whenever: a writer that says nothing has written, and one that
// returns an error is not believed, until it has begun another run.
func TestCallsOfAWriterThatFail(t *testing.T) {
	for _, turning := range []bool{false, true} {
		total := 1
		for n := 0; n <= total; n++ {
			k, b := newFaulty(t)
			require.NoError(t, b.Begin(b.marker, ours))
			b.mustWrite(1)
			var f Follower
			b.sees(&f, 1)
			if turning {
				require.NoError(t, b.files[0].Truncate(maxFile))
				b.files[0].size = maxFile
			}
			var at int
			k.Fail = func(string) error {
				if at++; at == n {
					return unix.EIO
				}
				return nil
			}
			err := b.write()
			total, k.Fail = max(total, at), nil
			view, unproved := f.Read(b.marker, ours)
			if err != nil {
				require.ErrorIs(t, unproved, ErrUnproved, "call %d", n)
				require.ErrorIs(t, err, unix.EIO)
				b.seesNothing(&Follower{}, errNobody)
				open := len(k.Open)
				require.Equal(t, err, b.write(), "within a second the disk is left alone")
				require.Len(t, k.Open, open)
				b.retry()
				b.mustWrite(1)
			} else {
				require.NoError(t, unproved)
				_, last := view.Last()
				require.Equal(t, b.number, last)
			}
			b.mustWrite(1)
			view, err = f.Read(b.marker, ours)
			require.NoError(t, err)
			_, last := view.Last()
			require.Equal(t, b.number, last)
			require.NoError(t, b.Close())
			require.NoError(t, b.marker.Close())
		}
		require.Greater(t, total, 3)
	}
}

// So it is with the calls of Begin.
func TestCallsOfBeginThatFail(t *testing.T) {
	total := 1
	for n := 1; n <= total; n++ {
		k, b := newFaulty(t)
		require.NoError(t, b.Begin(b.marker, ours))
		b.mustWrite(1)
		var f Follower
		b.sees(&f, 1)
		var at int
		k.Fail = func(string) error {
			if at++; at == n {
				return unix.EIO
			}
			return nil
		}
		err := b.Begin(b.marker, ours)
		total, k.Fail = max(total, at), nil
		if err == nil {
			b.sees(&f)
			continue
		}
		b.seesNothing(&f, errNobody)
		b.retry()
		b.mustWrite(1)
		b.sees(&f, 2)
	}
	require.Greater(t, total, 8)
}

// Whatever call of a reader fails, it proves nothing, or has everything.
func TestCallsOfAFollowerThatFail(t *testing.T) {
	k, b := newFaulty(t)
	require.NoError(t, b.Begin(b.marker, ours))
	var f Follower
	total := 1
	for n := 1; n <= total; n++ {
		b.mustWrite(1)
		open := len(k.Open)
		var at int
		k.Fail = func(string) error {
			if at++; at == n {
				return unix.EIO
			}
			return nil
		}
		view, err := f.Read(b.marker, ours)
		total, k.Fail = max(total, at), nil
		require.Len(t, k.Open, open)
		if err != nil {
			require.ErrorIs(t, err, ErrUnproved)
			continue
		}
		_, last := view.Last()
		require.Equal(t, b.number, last)
	}
	require.Greater(t, total, 8)
	_, err := f.Read(b.marker, ours)
	require.NoError(t, err)
	k.Made("")
	_, err = f.Read(b.marker, ours)
	require.NoError(t, err)
	require.LessOrEqual(t, k.Made(""), 18, "what a reading costs if nothing is new")
}

// On a full disk nothing is believed, and the writer tries again once a second at most. When
// there is room again, it goes on.
func TestFullDisk(t *testing.T) {
	k, b := newFaulty(t)
	require.NoError(t, b.Begin(b.marker, ours))
	b.mustWrite(1)
	var f Follower
	b.sees(&f, 1)
	k.Machine.Full = true
	require.ErrorIs(t, b.write(), unix.ENOSPC)
	b.seesNothing(&f, errNobody)
	k.Made("")
	for range 100 {
		require.ErrorIs(t, b.write(), unix.ENOSPC)
	}
	require.Zero(t, k.Made(""))
	b.retry()
	require.ErrorIs(t, b.write(), unix.ENOSPC)
	require.Less(t, machine.Uptime()-b.tried, retryAfter)
	k.Machine.Full = false
	b.retry()
	b.mustWrite(1)
	b.sees(&f, 104)
}

// A write of which only a part found room leaves the run.
func TestPartOfABatch(t *testing.T) {
	b := newBench(t)
	b.mustWrite(1)
	text, err := os.ReadFile(b.name(0))
	require.NoError(t, err)
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &limit))
	short := limit
	short.Cur = uint64(len(text)) + 10
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &short))
	err = b.write()
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &limit))
	require.ErrorIs(t, err, unix.EFBIG)
	torn, err := os.ReadFile(b.name(0))
	require.NoError(t, err)
	require.Len(t, torn, len(text)+10)
	var f Follower
	b.seesNothing(&f, errNobody)
	b.retry()
	b.mustWrite(1)
	b.sees(&f, 3)
}
