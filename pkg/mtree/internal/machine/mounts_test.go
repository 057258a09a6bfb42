package machine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Of several mounts at one path the one counts that shows, at the root as well. Where that is not known, the
// last one in the table does.
func TestTheMountThatShows(t *testing.T) {
	lines := []mountLine{
		{id: "1", dev: "8:1", root: "/srv", point: "/r"},
		{id: "2", dev: "8:2", root: "/", point: "/r"},
		{id: "3", dev: "8:1", root: "/x", point: "/r/d"},
		{id: "4", dev: "8:1", root: "/y", point: "/r/d"},
	}
	for _, c := range []struct {
		top, at   string // ids of the mounts that show
		root, dir string
		covered   string
	}{
		{"1", "3", "/srv", "/x", "/y"},
		{"2", "4", "/", "/y", "/x"},
		{"", "", "/", "/y", "/x"},
	} {
		b := mountsBelow{top: "/r", id: c.top, mounts: map[string]Mounted{}, shown: map[string]bool{}, seen: map[string]sight{"d": {id: c.at, file: true}}}
		for _, l := range lines {
			b.add(&l)
		}
		require.Equal(t, c.root, b.mounts[""].Root, c)
		require.Equal(t, c.dir, b.mounts["d"].Root, c)
		require.True(t, b.mounts["d"].File)
		require.Equal(t, []Shown{{"8:1", c.covered}}, b.mounts["d"].Covered)
		require.Empty(t, b.mounts[""].Covered)
		require.Contains(t, b.mounts["d"].What, "/x")
		require.Contains(t, b.mounts["d"].What, "/y")
	}
}
