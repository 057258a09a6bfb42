package machine

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzMountLine: what the kernel writes about a mount is read back, whatever bytes are in
// its paths; any other line is read or not, and no more. Blanks of Unicode in a path were
// taken for the end of a field, so that a mount with such a name was not seen to come or go.
func FuzzMountLine(f *testing.F) {
	f.Add("36 35 98:0 / /a\\040b rw,noatime master:1 - ext3 /dev/root rw", "/a b\\\t\n", "/x")
	f.Add("1 2 3:4 / /", "/", "")
	f.Add("1 2 3:4 / /a\u00a0b x", "a\u00a0b", "c\rd\v\u2003")
	f.Fuzz(func(t *testing.T, line, point, root string) {
		if m, ok := parseMount(line); ok {
			require.NotEmpty(t, m.point)
			require.LessOrEqual(t, len(m.point)+len(m.root), len(line))
		}
		if strings.Contains(point+root, "\x00") {
			return
		}
		point, root = "/"+point, "/"+root
		mangle := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace
		m, ok := parseMount("36 35 98:0 " + mangle(root) + " " + mangle(point) + " rw shared:1 - btrfs /dev/x rw")
		require.True(t, ok)
		require.Equal(t, mountLine{id: "36", parent: "35", dev: "98:0", root: root, point: point, kind: "btrfs", source: "/dev/x"}, m)
	})
}
