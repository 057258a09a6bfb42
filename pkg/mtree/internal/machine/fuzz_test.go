package machine

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzMountLine: what the kernel writes about a mount is read back, whatever bytes are in
// its paths; any other line is read or not, and no more.
func FuzzMountLine(f *testing.F) {
	f.Add("36 35 98:0 / /a\\040b rw,noatime master:1 - ext3 /dev/root rw", "/a b\\\t\n", "/x")
	f.Add("1 2 3:4 / /", "/", "")
	f.Fuzz(func(t *testing.T, line, point, root string) {
		if m, ok := parseMount(line); ok {
			require.NotEmpty(t, m.point)
			require.LessOrEqual(t, len(m.point)+len(m.root), len(line))
		}
		if strings.ContainsAny(point+root, "\x00\v\f\r\u0085\u00a0") || point == "" || root == "" || len(strings.Fields(point+root)) != 1 && hasOtherBlanks(point+root) {
			return
		}
		mangle := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace
		m, ok := parseMount("36 35 98:0 " + mangle(root) + " " + mangle(point) + " rw shared:1 - btrfs /dev/x rw")
		require.True(t, ok)
		require.Equal(t, mountLine{id: "36", parent: "35", dev: "98:0", root: root, point: point, kind: "btrfs", source: "/dev/x"}, m)
	})
}

// hasOtherBlanks reports whether s has blanks that the kernel leaves as they are.
func hasOtherBlanks(s string) bool {
	for _, r := range s {
		if strings.TrimSpace(string(r)) == "" && !strings.ContainsRune(" \t\n", r) {
			return true
		}
	}
	return false
}
