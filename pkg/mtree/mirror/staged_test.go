package mirror

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func fullDirectory() (lines []string) {
	for i := range 32 { // twice as many as make staging worth while
		lines = append(lines, fmt.Sprintf("a/b/f%d = text %d", i, i))
	}
	return lines
}

// Readers see a new directory empty, or with all its files: it is replaced by another
// one.
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

// If another program wrote into the directory meanwhile, it is filled in place.
func TestADirectoryThatCannotBeReplacedIsFilledInPlace(t *testing.T) {
	s, b := overHTTP(t, fullDirectory()...)
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.RequestURI(), "?tar") {
			require.NoError(t, os.WriteFile(filepath.Join(b.config.Dest, "a/b/f1"), []byte("in the way"), 0o644))
		}
		return false
	})
	m, err := open(b.config)
	require.NoError(t, err)
	_, err = m.once(t.Context())
	require.NoError(t, err)
	require.True(t, m.replica.InPlace.Load(), "from now on")
	m.close()
	b.server.interfere(nil)
	b.equal(s)
	b.requireIdle()
}

// A directory that inherits a group or an ACL is filled in place.
func TestDirectoriesThatInheritAreFilledInPlace(t *testing.T) {
	s, b := overHTTP(t, "a/old = x")
	b.equal(s)
	require.NoError(t, os.Chown(b.path("a"), -1, 4242))
	require.NoError(t, os.Chmod(b.path("a"), 0o755|os.ModeSetgid))
	s.change(fullDirectory()...)
	require.NoError(t, b.once())
	info, err := os.Stat(b.path("a/b"))
	require.NoError(t, err)
	require.EqualValues(t, 4242, info.Sys().(*syscall.Stat_t).Gid)
}

// The ctime rule holds in a directory that was filled in the staging directory and never
// completed.
func TestFilledAsideAndNeverCompleted(t *testing.T) {
	s, b := overHTTP(t, append(fullDirectory(), "a/b/forged = one @1000000000")...)
	b.halfway()
	require.Equal(t, "one", b.read("a/b/forged"))
	s.forge("a/b/forged", "two")
	s.publish("a/b/forged")
	b.equal(s)
}
