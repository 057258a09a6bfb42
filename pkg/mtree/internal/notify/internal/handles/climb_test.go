package handles

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A directory that is removed while its path is looked for is nowhere. That is no loss.
func TestClimbFromARemovedDirectory(t *testing.T) {
	top := t.TempDir()
	inner := top + "/d/" + strings.Repeat("x", 200)
	require.NoError(t, os.MkdirAll(inner, 0o755))
	dir, err := os.Open(inner)
	require.NoError(t, err)
	defer dir.Close()
	require.NoError(t, os.RemoveAll(top+"/d"))
	p := &Resolver{top: top, climbed: map[inode]string{}}
	_, ok, err := p.climb("handle", int(dir.Fd()))
	require.NoError(t, err)
	require.False(t, ok)
}
