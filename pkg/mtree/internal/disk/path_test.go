package disk

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// What may not be read itself, and what is in a directory that may not be entered, shows in the
// directory that lists it when the right is given. What is closed further up does not, nor what was
// closed there a moment ago, nor what nobody can look at.
func TestMarkAbove(t *testing.T) {
	closed := func(path string) func(k *faultkernel.Kernel) {
		return func(k *faultkernel.Kernel) { require.NoError(t, k.Shell.Chmod("/src/"+path, 0o700)) }
	}
	for name, c := range map[string]struct {
		path  string // with a slash: a directory
		set   func(k *faultkernel.Kernel)
		above bool
	}{
		"a directory itself":         {path: "a/b/c/", set: closed("a/b/c")},
		"a file itself":              {path: "a/b/f", set: closed("a/b/f")},
		"where a directory is":       {path: "a/b/c/", set: closed("a/b")},
		"where a file is":            {path: "a/b/f", set: closed("a/b")},
		"above where a directory is": {path: "a/b/c/", set: closed("a"), above: true},
		"above where a file is":      {path: "a/b/f", set: closed("a"), above: true},
		"in the root":                {path: "a/", set: closed("a")},
		"a directory for a moment":   {path: "a/b/c/", set: func(k *faultkernel.Kernel) { k.Refuse("open c", unix.EACCES, 1) }, above: true},
		"a file for a moment":        {path: "a/b/f", set: func(k *faultkernel.Kernel) { k.Refuse("open f", unix.EACCES, 1) }, above: true},
		"nobody can look": {path: "a/b/c/", set: func(k *faultkernel.Kernel) {
			refused := false
			k.Fail = func(call string) error {
				switch {
				case call == "open c":
					refused = true
					return unix.EACCES
				case call == "open b" && refused:
					return unix.EMFILE
				}
				return nil
			}
		}, above: true},
		"nothing is there":     {path: "a/b/none/", set: closed("a/b/c")},
		"it may be read":       {path: "a/b/f", set: closed("a/b/c")},
		"it is not to be read": {path: "a/b/c/", set: func(k *faultkernel.Kernel) { k.Refuse("open c", unix.EPERM, -1) }},
	} {
		k := faultkernel.New(t, 1000)
		k.Make(t, "/src/a/b/c/", "/src/a/b/f")
		d := rootAt(t, "/src")
		c.set(k)
		open := maps.Clone(k.Open)
		path := strings.TrimSuffix(c.path, "/")
		err := d.tryToOpen(path, false)
		marked := d.MarkAbove(path, false, err)
		require.Equal(t, c.above, errors.Is(marked, ErrAbove), "%s: %v", name, marked)
		require.Equal(t, Errno(err), Errno(marked), name)
		require.Equal(t, err == nil, marked == nil, name)
		require.Equal(t, open, k.Open, name)
	}
}
