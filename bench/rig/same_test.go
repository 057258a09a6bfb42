package rig

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
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

// appendTo makes a file longer.
func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func TestSameContents(t *testing.T) {
	tree := map[string]string{"a/one": "1", "a/b/two": "22", "empty": "", "large": strings.Repeat("x", 300<<10), "exact": strings.Repeat("x", 128<<10)}
	for name, c := range map[string]struct {
		change func(copy string) error
		want   string // of the error; "": none
	}{
		"equal":           {func(string) error { return nil }, ""},
		"own state":       {func(c string) error { write(t, c, map[string]string{".tidemark/x": "", ".stfolder/y": ""}); return nil }, ""},
		"one is missing":  {func(c string) error { return os.Remove(c + "/a/b/two") }, "not whole"},
		"one too many":    {func(c string) error { return os.WriteFile(c+"/a/more", nil, 0o644) }, "the copy has a/more"},
		"another content": {func(c string) error { return os.WriteFile(c+"/a/b/two", []byte("23"), 0o644) }, "two is not what"},
		"larger":          {func(c string) error { return os.WriteFile(c+"/exact", make([]byte, 1+128<<10), 0o644) }, "exact is not what"},
		"longer":          {func(c string) error { return appendTo(c+"/exact", "x") }, "exact is not what"},
		"cut in a piece":  {func(c string) error { return os.Truncate(c+"/large", 256<<10) }, "large is not what"},
		"the last byte": {func(c string) error {
			return errors.Join(os.Truncate(c+"/large", 300<<10-1), appendTo(c+"/large", "y"))
		}, "large is not what"},
		"shorter": {func(c string) error { return os.Truncate(c+"/a/one", 0) }, "one is not what"},
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
