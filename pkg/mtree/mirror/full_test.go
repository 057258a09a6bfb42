//go:build filesystems

package mirror

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/exit"
)

// TestFull: on a disk without blocks or inodes the mirror says so, and what to do. The copy
// holds whole files only, no incomplete directory carries its stamp, and the mirror goes on
// by itself when there is space.
func TestFull(t *testing.T) {
	ext4 := func(t *testing.T) string { return testfs.Image(t, "mkfs.ext4", "-q", "-F", "-m", "0", "-N", "128") }
	tmpfs := func(t *testing.T) string {
		dir := t.TempDir()
		testfs.Mount(t, dir, "mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=128", "tidemark", dir)
		return dir
	}
	for name, tc := range map[string]struct {
		make func(t *testing.T) string
		fill func(t *testing.T, ballast string)
	}{
		"ext4 blocks":  {ext4, fillBlocks},
		"ext4 inodes":  {ext4, fillInodes},
		"tmpfs blocks": {tmpfs, fillBlocks},
		"tmpfs inodes": {tmpfs, fillInodes},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := overHTTP(t, append(many("d", 10), "a/f = x", "old = y")...)
			at := tc.make(t)
			b.config.Dest, b.config.Log = filepath.Join(at, "copy"), nil
			b.equal(s)
			ballast := filepath.Join(at, "ballast")
			require.NoError(t, os.Mkdir(ballast, 0o755))
			tc.fill(t, ballast)
			for i := range 40 {
				s.change(fmt.Sprintf("new%d/sub/f = %s", i%4, strings.Repeat("x", 60_000)), fmt.Sprintf("d/%03d = changed %s", i, strings.Repeat("y", i*900)))
			}
			err := b.once()
			require.Equal(t, exit.Local, exit.Of(err), "%v", err)
			require.ErrorIs(t, err, syscall.ENOSPC)
			var with *exit.Error
			require.True(t, errors.As(err, &with))
			require.Contains(t, err.Error(), "make room on the file system of DEST")
			b.holdsWholeFiles(s)
			b.start()
			require.True(t, assertEventually(func() bool { return strings.Contains(b.printStatus(), "no space left on device") }))
			b.holdsWholeFiles(s)
			require.NoError(t, os.RemoveAll(ballast))
			b.eventually(s)
		})
	}
}

// fillBlocks takes all space except about 300 KB, which is less than the source has.
func fillBlocks(t *testing.T, ballast string) {
	for size := int64(256 << 20); size >= 128<<10; {
		f, err := os.CreateTemp(ballast, "")
		require.NoError(t, err)
		if err = syscall.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.NoError(t, os.Remove(f.Name()))
			size /= 2
		}
		require.NoError(t, f.Close())
	}
}

// fillInodes takes all inodes except ten.
func fillInodes(t *testing.T, ballast string) {
	var made []string
	for i := 0; ; i++ {
		name := filepath.Join(ballast, fmt.Sprint(i))
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			break
		}
		made = append(made, name)
	}
	for _, name := range made[len(made)-10:] {
		require.NoError(t, os.Remove(name))
	}
}

// holdsWholeFiles requires that each file of the copy is the one of the source, or the one
// that the copy had before, and that the root does not carry its stamp.
func (b *bench) holdsWholeFiles(s *tree) {
	b.t.Helper()
	have, err := testtree.Snapshot(b.config.Dest)
	require.NoError(b.t, err)
	for name, text := range have {
		if !strings.HasPrefix(text, "-") {
			continue
		}
		got := b.read(name)
		want, err := os.ReadFile(s.path(name))
		require.NoError(b.t, err, name)
		require.True(b.t, got == string(want) || len(got) <= 2, "%q is neither old nor new: %d bytes", name, len(got))
	}
	record, ok := b.record("")
	require.True(b.t, ok)
	require.NotEqual(b.t, stampOf(b.t.(*testing.T), s.root), record.Stamp)
}
