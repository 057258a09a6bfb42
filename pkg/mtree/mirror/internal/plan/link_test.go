package plan

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Links that could lead out are not made.
func TestUnsafeLinks(t *testing.T) {
	for target, safe := range map[string]bool{
		"f": true, "d/f": true, "../f": true, "../../f": true, "./f": true, "f/": true, "..": true,
		"./../f": true, ".//../f": true, "../.": true, "d/.": true,
		"../d/..": false, "d/./../f": false, ".././d/../f": false,
		"../../../f": false, "/etc/passwd": false, "d/../f": false, "x/../../../f": false, "./../../../f": false, "": false,
	} {
		require.Equal(t, safe, isSafeLink("a/b", target), "%q", target)
	}
	require.False(t, isSafeLink("", ".."))
}
