package mounts

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk/disktest"
)

// The mount table could not be read when watch began, for want of memory or descriptors.
// Reading it later, with the first change after that, was a panic: a write to a nil map.
// Everything that is mounted then came in between, for all that is known.
func TestTheFirstReadFailed(t *testing.T) {
	f, err := Follow(disktest.OpenRoot(t, t.TempDir()), false, func(string) bool { return false })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	is := f.at[""]
	f.at, f.unread = nil, true // as Follow leaves it when it fails
	require.False(t, f.Known())
	change, err := f.Look()
	require.NoError(t, err)
	require.True(t, change.Root, "it may be another one")
	require.Empty(t, change.Paths)
	require.True(t, f.Known())
	require.Equal(t, is, f.at[""])
}

// One mount takes the place of another: there are as many as before.
func TestAMountInThePlaceOfAnother(t *testing.T) {
	f, err := Follow(disktest.OpenRoot(t, t.TempDir()), false, func(string) bool { return false })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	is := f.at[""]
	other := is
	other.What += " before"
	f.at, f.unread = table{"": other}, true // it is read anew
	change, err := f.Look()
	require.NoError(t, err)
	require.True(t, change.Root)
	require.Equal(t, is, f.at[""])
}
