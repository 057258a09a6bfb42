package testtree_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
)

func TestMakeAndDifferences(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	lines := []string{`"new\nline" = x @5.25`, "d/f = two words mode=0600 @7", "l -> d/f", "d/ @9.000000001", "./ @10"}
	testtree.Make(t, a, lines...)
	testtree.Make(t, b, lines...)
	require.NoError(t, os.Remove(b+"/l"))
	require.NoError(t, os.Symlink("d/f", b+"/l"))
	same := func() []string {
		differences, err := testtree.Differences(a, b)
		require.NoError(t, err)
		return differences
	}
	// The times of symlinks count too.
	require.Len(t, same(), 2, "the link and the directory it is in")
	require.NoError(t, os.Remove(a+"/l"))
	require.NoError(t, os.Remove(b+"/l"))
	testtree.Make(t, a, "./ @10")
	testtree.Make(t, b, "./ @10")
	require.Empty(t, same())

	text, err := os.ReadFile(a + "/d/f")
	require.NoError(t, err)
	require.Equal(t, "two words", string(text))
	require.NoError(t, os.WriteFile(b+"/d/f", []byte("two wordz"), 0o600))
	testtree.Make(t, b, ".tidemark/tree = hidden", "./ @10")
	require.Len(t, same(), 1, "another byte and time")
	testtree.Make(t, b, "extra = x")
	require.Len(t, same(), 3)
}
