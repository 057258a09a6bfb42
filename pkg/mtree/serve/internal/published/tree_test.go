package published

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/wire"
)

// Dotfiles, what is excluded and paths that are too long to be opened are hidden, with all
// below them.
func TestHides(t *testing.T) {
	exclude, err := glob.Excluding([]string{"**/x/**/y/**/z", "*.tmp"})
	require.NoError(t, err)
	tree, err := Open(Config{Root: t.TempDir(), Exclude: exclude, Log: slog.New(slog.DiscardHandler), Now: machine.Now})
	require.NoError(t, err)
	defer tree.Close()
	fits := strings.Repeat("y/", 2047) + "z"
	for path, hidden := range map[string]bool{
		"": false, "a": false, "a/b.c": false, ".a": true, "a/.b": true, "a/.b/c": true, "a..": false,
		"a.tmp": true, "a.tmp/b": true, "x/y/z": true, "y/x/z": false, fits: false, fits + "z": true,
	} {
		require.Equal(t, hidden, tree.Hides(path, false), path)
	}
	at, err := wire.ParseURLPath("/" + fits)
	require.NoError(t, err)
	require.Equal(t, fits, at.Path)
	_, err = wire.ParseURLPath("/" + fits + "z")
	require.ErrorIs(t, err, wire.ErrPathTooLong)
	tree.cfg.Hidden = true
	require.False(t, tree.Hides("a/.b", false))
}

// The href of a directory on another's page is relative, and never begins with a slash.
func TestRelative(t *testing.T) {
	for _, test := range [][3]string{
		{"", "", "./"}, {"", "a", "a/"}, {"a", "", "../"}, {"a", "a", "./"}, {"a", "a/b c", "b%20c/"}, {"a/b", "a/c", "../c/"},
		{"ab", "a", "../a/"}, {"a/b/c", "a", "../../"}, {"a/b", "x/y", "../../x/y/"},
	} {
		require.Equal(t, test[2], string(Relative(test[0], test[1])), test)
	}
}
