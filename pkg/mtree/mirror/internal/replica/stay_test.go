package replica

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// bare returns a new copy where there are no extended attributes.
func bare(t *testing.T) (*faulty, *Replica) {
	k := newFaulty(t, simkernel.Options{NoXattrs: true}, 0)
	return k, k.replica()
}

// inAnotherStay opens the copy again, as after a power cut: only its log knows of it here.
func (k *faulty) inAnotherStay(r *Replica) *Replica {
	k.t.Helper()
	require.NoError(k.t, r.records.SetStay("12"))
	r.Close()
	return k.replica()
}

// The log of a new copy lacks no line, and that of a copy lacks none in the same stay. In another
// one, and where no stay is known, every directory that is not complete is doubted.
func TestTheStayOfTheLog(t *testing.T) {
	k, r := bare(t)
	nothing := records.Record{}
	require.False(t, r.MayBeLost(nothing))
	require.Equal(t, r.stay.String(), r.records.Stay())
	k.claimed(r)
	r.Close()
	r = k.replica()
	require.False(t, r.MayBeLost(nothing))
	require.False(t, r.MayBeLost(listed))

	r = k.inAnotherStay(r)
	require.True(t, r.MayBeLost(nothing))
	require.True(t, r.MayBeLost(listed), "the line of its beginning is lost")
	require.False(t, r.MayBeLost(unfinished(r.stay, 0)), "it was compared in this stay")
	require.True(t, r.MayBeLost(unfinished(12, 0)))
	require.Equal(t, "12", r.records.Stay())
	r.Close()
	o := k.options()
	o.ReadOnly = true
	dry, err := Open(o)
	require.NoError(t, err)
	defer dry.Close()
	require.True(t, dry.MayBeLost(nothing), "a dry run compares what a pass compares")

	require.NoError(t, k.Shell.Remove("/copy/.tidemark/"+records.LogName))
	r = k.replica()
	require.True(t, r.MayBeLost(nothing), "the log itself is lost")
}

// A log that cannot say in which stay it lacks nothing is not used.
func TestAStayThatIsNotWritten(t *testing.T) {
	k := newFaulty(t, simkernel.Options{NoXattrs: true}, 0)
	k.Refuse("write "+records.LogName, unix.ENOSPC, -1)
	_, err := Open(k.options())
	require.ErrorIs(t, err, unix.ENOSPC)
}

// A copy that has attributes has no log that could lose a line.
func TestAttributesAreNotLost(t *testing.T) {
	k, r := simulated(t)
	k.claimed(r)
	r.Close()
	r = k.replica()
	require.False(t, r.MayBeLost(records.Record{}))
	require.NoError(t, r.Complete(r.Root, "", listed))
}

// While lines may be missing, a directory that is begun is not of this stay until it was
// compared: the mirror may be killed before. When the root is complete, all was compared.
func TestLinesAreMissedUntilTheRootIsComplete(t *testing.T) {
	k, r := bare(t)
	k.claimed(r)
	k.tree("d/")
	r = k.inAnotherStay(r)
	dir := k.dir(r, "d")
	require.NoError(t, r.Begin(dir, "d", listed, 0))
	record, _, _ := r.Record(dir, "d")
	require.True(t, r.MayBeLost(record))
	require.NoError(t, r.Recovered(dir, "d"))
	record, _, _ = r.Record(dir, "d")
	require.False(t, r.MayBeLost(record))

	require.NoError(t, r.Complete(dir, "d", listed))
	record, _, _ = r.Record(dir, "d")
	require.Equal(t, listed, record)
	require.True(t, r.MayBeLost(records.Record{}))
	k.RefuseNth("write "+records.LogName, 1, unix.ENOSPC)
	require.ErrorIs(t, r.Complete(r.Root, "", listed), unix.ENOSPC)
	require.True(t, r.MayBeLost(records.Record{}))
	k.RefuseNth("write "+records.LogName, 2, unix.ENOSPC) // the record is written, the stay is not
	require.ErrorIs(t, r.Complete(r.Root, "", listed), unix.ENOSPC)
	require.True(t, r.MayBeLost(records.Record{}))
	k.Fail = nil
	require.NoError(t, r.Complete(r.Root, "", listed))
	require.False(t, r.MayBeLost(records.Record{}))
	require.NoError(t, r.Begin(dir, "d", listed, 0))
	record, _, _ = r.Record(dir, "d")
	require.False(t, r.MayBeLost(record))
	r.Close()
	r = k.replica()
	require.False(t, r.MayBeLost(records.Record{}))
}

// Where the boot is not known, as without /proc, a power cut may lie before each start. All had
// one stay: after the cut, files of the right size and time that the disk had lost were kept.
func TestStayOfAnUnknownBoot(t *testing.T) {
	for _, missing := range []bool{true, false} {
		k, r := simulated(t)
		k.NoProc = missing
		var stays []stay
		for range 2 {
			r.Close()
			r = k.replica()
			stays = append(stays, r.stay)
		}
		require.Equal(t, !missing, stays[0] == stays[1])
	}
}
