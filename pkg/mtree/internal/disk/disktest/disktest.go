// Package disktest opens directories for tests, and fills them.
package disktest

import (
	"os"
	"path/filepath"
	"testing"

	"tidemark/pkg/mtree/internal/disk"
)

// OpenRoot opens the directory at path and closes it at the end of the test.
func OpenRoot(t testing.TB, path string) *disk.Dir {
	t.Helper()
	d, err := disk.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// Write makes a file, mode 0644, and the directories above it.
func Write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
