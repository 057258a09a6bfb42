package beneath

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Resolve leads to the same place as the kernel, and nowhere if that is outside of the
// root.
func TestResolve(t *testing.T) {
	root := t.TempDir()
	link := func(name, target string) { require.NoError(t, os.Symlink(target, filepath.Join(root, name))) }
	require.NoError(t, os.MkdirAll(filepath.Join(root, "a/b/c"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "a/b/c/f"), nil, 0o644))
	link("a/up", "..")
	link("a/b/file", "c/f")
	link("a/b/far", "../../a/./b//c/../c/f")
	link("a/b/way", "../up/a/b/file")
	link("dir", "a/b/")
	link("out", "../x")
	link("a/over", "../../x")
	link("abs", root+"/a")
	link("self", "self")
	link("none", "a/none")
	link("chain0", "a")
	for i := range maxLinks {
		link(fmt.Sprint("chain", i+1), fmt.Sprint("chain", i))
	}
	d, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	defer unix.Close(d)
	for path, want := range map[string]any{
		"": "", ".": "", "a/..": "", "a/up": "", "a/up/a/up/a": "a", "a/b/c/f": "a/b/c/f",
		"a/b/file": "a/b/c/f", "a/b/far": "a/b/c/f", "a/b/way": "a/b/c/f", "a/up/dir/way": "a/b/c/f",
		"dir": "a/b", "dir/": "a/b", "dir/..": "a", "dir/../up/dir/c": "a/b/c", "chain39": "a", "chain39/b": "a/b",
		"out": unix.EXDEV, "a/over": unix.EXDEV, "a/over/y": unix.EXDEV, "abs": unix.EXDEV, "abs/b": unix.EXDEV, "..": unix.EXDEV, "a/../..": unix.EXDEV,
		"self": unix.ELOOP, "self/x": unix.ELOOP, "chain40": unix.ELOOP,
		"none": unix.ENOENT, "a/none/x": unix.ENOENT, "a/b/c/f/x": unix.ENOTDIR,
	} {
		got, err := Resolve(d, path, false)
		if wrong, ok := want.(error); ok {
			require.ErrorIs(t, err, wrong, path)
			continue
		}
		require.NoError(t, err, path)
		require.Equal(t, want, got, path)
	}
}

// The same with random links.
func TestResolveAnything(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "c", ".", "..", ""}
	path := func() string {
		var parts []string
		for range 1 + random.IntN(5) {
			parts = append(parts, names[random.IntN(len(names))])
		}
		return strings.Join(parts, "/")
	}
	for range 60 {
		at := filepath.Join(root, filepath.Clean("/"+path()))
		if random.IntN(3) > 0 {
			_ = os.MkdirAll(at, 0o755) // a link in the way is no matter: there are enough
		} else if target := strings.TrimLeft(path(), "/"); target != "" {
			_ = os.Symlink(target, at)
		}
	}
	d, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	defer unix.Close(d)
	inside := 0
	for range 5000 {
		p := strings.TrimLeft(path(), "/")
		got, err := Resolve(d, p, false)
		want, wantErr := filepath.EvalSymlinks(root + "/" + p)
		if err != nil {
			continue // it may have left the root and come back
		}
		inside++
		require.NoError(t, wantErr, p)
		require.Equal(t, filepath.Clean(root+"/"+got), want, p)
	}
	require.Greater(t, inside, 500)
}
