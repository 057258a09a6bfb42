package pass

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// The other name of a file that was changed may be where the copy's owner has no rights. It was not looked at, and
// kept what the file was before until the next full walk.
func TestAnotherNameInADirectoryWithoutRights(t *testing.T) {
	r := newRig(t, 1000)
	r.wait = 0
	r.write("d/f d/g")
	r.complete()
	p := newPass(&r.env, &r.options)
	dir, err := r.replica.Dir("d")
	require.NoError(t, err)
	defer dir.Close()
	info, err := dir.Stat("f")
	require.NoError(t, err)
	require.True(t, p.isStill("d/f", info.Node.Ino))
	require.False(t, p.isStill("d/g", info.Node.Ino))
	require.False(t, p.isStill("d/none", info.Node.Ino))
	require.False(t, p.isStill("none/f", info.Node.Ino))
	for _, mode := range []uint32{0, 0o400, 0o200} {
		require.NoError(t, r.Shell.Chmod("/copy/d", mode))
		require.True(t, p.isStill("d/f", info.Node.Ino), "%o", mode)
	}
}

// Bytes that were copied from another file of the copy, or linked, have arrived. They are no longer under way when
// their files are done: progress was ahead by all of them, as long as others were awaited.
func TestWhatIsCopiedIsNotUnderWay(t *testing.T) {
	r := newRig(t, 0)
	p := newPass(&r.env, &r.options)
	p.queue.counts.waitingBytes, p.queue.counts.settledBytes = 1000, 0
	p.arriving.Store(300)
	_, finished := p.known()
	require.EqualValues(t, 300, finished.Bytes)
	p.queue.counts.waitingBytes, p.queue.counts.settledBytes = 700, 300
	p.tally(&node{}, &fetch.Result{Bytes: 100, Copied: 200})
	_, finished = p.known()
	require.EqualValues(t, 300, finished.Bytes)
}

// A source was rolled back, so the ctimes of its files are earlier than those that were noted. What makes a walk due
// then stands in the root's record: no name is taken for one of an earlier version of its file.
func TestLinksOfASourceThatWasRolledBack(t *testing.T) {
	for _, doubt := range []func(r *rig){
		func(r *rig) { require.NoError(t, r.replica.Distrust(replica.DoubtBytes)) },
		func(r *rig) { r.options.Full = true },
	} {
		bubble(t, "", func(t *testing.T, r *rig) {
			r.replica.Close()
			r.open(replica.Options{HardLinks: true})
			r.options.HardLinks = true
			r.write("d/f")
			require.True(t, r.Tree.Hardlink("d/f", "d/g"))
			r.Tree.Publish()
			r.complete()
			before := r.Tree.Snapshot()
			require.True(t, r.Tree.Rewrite("d/f"))
			r.Tree.Publish()
			r.complete()
			known, _ := r.replica.Links.Of("d/f")
			newPass(&r.env, &r.options).begin()
			require.True(t, r.replica.Links.KnowsLater(&mtree.Entry{Same: known.Same, CTime: mtree.MinStamp}), "other passes compare them")
			r.Tree.Restore(before)
			doubt(r)
			r.complete()
			dir, err := r.replica.Dir("d")
			require.NoError(t, err)
			defer dir.Close()
			f, err := dir.Stat("f")
			require.NoError(t, err)
			g, err := dir.Stat("g")
			require.NoError(t, err)
			require.Equal(t, f.Node, g.Node)
		})
	}
}
