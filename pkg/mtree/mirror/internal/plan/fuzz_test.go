package plan

import (
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzLink: a link that is copied leads nowhere outside of the copy, at no step on its way.
func FuzzLink(f *testing.F) {
	f.Add("a/b", "../../c")
	f.Add("a", "b/../c")
	f.Add("", "./..")
	f.Add("a/b/c", "..//../.././")
	f.Fuzz(func(t *testing.T, dir, target string) {
		if dir != "" && (path.Clean("/"+dir) != "/"+dir) || strings.Contains(target, "\x00") {
			return
		}
		safe := isSafeLink(dir, target)
		if target == "" || target[0] == '/' {
			require.False(t, safe)
			return
		}
		at, left := strings.Split(dir, "/"), false
		if dir == "" {
			at = nil
		}
		down := false // a name was entered, which may be a link itself
		for _, part := range strings.Split(target, "/") {
			switch part {
			case "", ".":
			case "..":
				if left = left || down || len(at) == 0; !left {
					at = at[:len(at)-1]
				}
			default:
				down = true
			}
		}
		require.Equal(t, !left, safe, "%q in %q", target, dir)
	})
}
