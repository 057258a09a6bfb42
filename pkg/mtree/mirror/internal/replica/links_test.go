package replica

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/simkernel"
	"tidemark/pkg/mtree/mirror/internal/links"
)

// A mirror with --hard-links did not start on a full disk, and so could not delete anything either.
func TestNoRoomForTheIndexOfLinks(t *testing.T) {
	k := newFaulty(t, simkernel.Options{}, 0)
	o := k.options()
	o.HardLinks = true
	k.Refuse("write "+links.Name, unix.ENOSPC, 1)
	r, err := Open(o)
	require.NoError(t, err)
	require.True(t, r.Links == nil)
	require.Contains(t, k.log.String(), "no room for the index")
	r.Close()
	k.Fail = func(call string) error {
		return map[string]error{"write " + links.Name: unix.ENOSPC, "unlink " + links.Name: unix.EIO}[call]
	}
	_, err = Open(o)
	require.ErrorIs(t, err, unix.EIO, "what would be wrong later is still there")
	k.Fail = nil
	r, err = Open(o)
	require.NoError(t, err)
	defer r.Close()
	require.NotNil(t, r.Links)
	require.True(t, r.Links.IsNew())
}

// linked opens the copy with the index of hard links.
func (k *faulty) linked() *Replica {
	k.t.Helper()
	o := k.options()
	o.HardLinks = true
	r, err := Open(o)
	require.NoError(k.t, err)
	k.t.Cleanup(r.Close)
	return r
}

// A copy whose index is lost, or that had none, is walked once: no stamp shows which names are one file. What is
// none yet is walked anyway.
func TestALostIndexOfLinks(t *testing.T) {
	k := newFaulty(t, simkernel.Options{}, 0)
	r := k.linked()
	_, known := k.record(r, "")
	require.False(t, known, "it is no copy yet")
	k.claimed(r)
	k.complete(r, "", listed)
	r.Close()
	r = k.linked()
	require.False(t, r.IsDoubted(DoubtBelow), "the index is there")
	r.Close()
	require.NoError(t, k.Shell.Remove("/copy/.tidemark/"+links.Name))
	o := k.options()
	o.HardLinks = true
	k.Refuse("setxattr copy", unix.EIO, 1)
	_, err := Open(o)
	require.ErrorIs(t, err, unix.EIO)
	require.NoError(t, k.Shell.Remove("/copy/.tidemark/"+links.Name))
	require.True(t, k.linked().IsDoubted(DoubtBelow))
}

// What is known of hard links holds for one tree, in one epoch, at one source.
func TestLinksOfAnotherTree(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(t *state.Tree)
		forgets bool
	}{
		"another tree":    {func(t *state.Tree) { t.ID = state.NewTreeID() }, true},
		"another epoch":   {func(t *state.Tree) { t.Epoch++ }, true},
		"another source":  {func(t *state.Tree) { t.Upstream = "http://other/" }, true},
		"another options": {func(t *state.Tree) { t.Fingerprint = "bbbbbb" }, false},
	} {
		k := newFaulty(t, simkernel.Options{}, 0)
		r := k.linked()
		tree := k.claimed(r)
		r.Links.Note(links.File{Path: "a", Same: 5, Node: 7})
		c.change(&tree)
		require.NoError(t, r.SetTree(tree))
		_, known := r.Links.Of("a")
		require.Equal(t, c.forgets, !known, name)
	}
}
