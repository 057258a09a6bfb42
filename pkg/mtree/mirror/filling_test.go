package mirror

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func fullDirectory() (lines []string) {
	for i := range 2 * leastFilled {
		lines = append(lines, fmt.Sprintf("a/b/f%d = text %d", i, i))
	}
	return lines
}

// A new directory is seen empty or with its files, whole: it is another one
// afterwards.
func TestDirectoriesAreFilledAside(t *testing.T) {
	s, b := overHTTP(t, fullDirectory()...)
	var before os.FileInfo
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.RequestURI(), "?tar") {
			names, err := os.ReadDir(filepath.Join(b.config.Dest, "a/b"))
			require.NoError(t, err)
			require.Empty(t, names)
			before, err = os.Stat(filepath.Join(b.config.Dest, "a/b"))
			require.NoError(t, err)
		}
		return false
	})
	require.NoError(t, b.once())
	after, err := os.Stat(filepath.Join(b.config.Dest, "a/b"))
	require.NoError(t, err)
	require.False(t, os.SameFile(before, after))
	b.equal(s)
	b.requireIdle()
	left, err := os.ReadDir(filepath.Join(b.config.Dest, ".tidemark/tmp"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// Where somebody else wrote into the directory meanwhile it is filled in place.
func TestADirectoryThatCannotBeReplacedIsFilledInPlace(t *testing.T) {
	s, b := overHTTP(t, fullDirectory()...)
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.RequestURI(), "?tar") {
			require.NoError(t, os.WriteFile(filepath.Join(b.config.Dest, "a/b/f1"), []byte("in the way"), 0o644))
		}
		return false
	})
	require.NoError(t, b.once())
	b.server.interfere(nil)
	b.equal(s)
	b.requireIdle()
}
