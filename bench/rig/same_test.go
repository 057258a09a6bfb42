package rig

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

func TestSameContents(t *testing.T) {
	tree := map[string]string{"a/one": "1", "a/b/two": "22", "empty": ""}
	for name, c := range map[string]struct {
		change func(copy string) error
		want   string // of the error; "": none
	}{
		"equal":           {func(string) error { return nil }, ""},
		"own state":       {func(c string) error { write(t, c, map[string]string{".tidemark/x": "", ".stfolder/y": ""}); return nil }, ""},
		"one is missing":  {func(c string) error { return os.Remove(c + "/a/b/two") }, "not whole"},
		"one too many":    {func(c string) error { return os.WriteFile(c+"/a/more", nil, 0o644) }, "the copy has a/more"},
		"another content": {func(c string) error { return os.WriteFile(c+"/a/b/two", []byte("23"), 0o644) }, "two has 2 bytes"},
		"shorter":         {func(c string) error { return os.Truncate(c+"/a/one", 0) }, "one has 0 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			source, copy := t.TempDir(), t.TempDir()
			write(t, source, tree)
			write(t, copy, tree)
			require.NoError(t, c.change(copy))
			err := SameContents(source, copy)
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
			}
		})
	}
}
