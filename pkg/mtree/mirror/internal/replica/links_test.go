package replica

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

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
	r, err = Open(o)
	require.NoError(t, err)
	defer r.Close()
	require.NotNil(t, r.Links)
	require.True(t, r.Links.IsNew())
}
