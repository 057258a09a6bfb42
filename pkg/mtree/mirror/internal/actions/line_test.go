package actions

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tidemark/pkg/mtree"
)

func TestText(t *testing.T) {
	l := Line{Stamp: mtree.Unix(17, 5), Action: Rename, Path: "a b/\n\xff/c", From: "old", Entries: 3, Why: "no"}
	require.Equal(t, "17.000000005\trename\ta%20b/%0A%FF/c\n", string(l.appendText(nil)))
	require.Equal(t, "a/", Path("a", mtree.Dir))
	require.Equal(t, "a", Path("a", mtree.File))
	require.Equal(t, "a", Path("a", mtree.Symlink))
}

// decoded is a line of JSON.
type decoded struct {
	Stamp, Action, Path, From, Why string
	Entries                        int64
}

func TestJSON(t *testing.T) {
	l := Line{Stamp: mtree.Unix(-17, 5), Action: Hold, Path: "d/", Entries: 3, Why: `a "reason" <of> its own`}
	require.Equal(t, `{"stamp":"-16.999999995","action":"hold","path":"d/","entries":3,"why":"a \"reason\" \u003cof\u003e its own"}`+"\n", string(l.appendJSON(nil)))
	l = Line{Action: Create, Path: "f"}
	require.Equal(t, `{"stamp":"0.000000000","action":"create","path":"f"}`+"\n", string(l.appendJSON(nil)))
}

// Whatever a name is, a line is one line, and says what it is.
func TestLinesOfAnyName(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
		l := Line{Stamp: mtree.Unix(rapid.Int64Range(-1<<31, 1<<34).Draw(t, "s"), 7), Action: Rename, Path: name.Draw(t, "path"), From: name.Draw(t, "from")}
		text := string(l.appendText(nil))
		require.Equal(t, len(text)-1, strings.IndexByte(text, '\n'))
		fields := strings.Split(strings.TrimSuffix(text, "\n"), "\t")
		require.Len(t, fields, 3)
		require.Equal(t, []string{l.Stamp.String(), "rename"}, fields[:2])
		require.Equal(t, l.Path, plain(t, fields[2]))

		text = string(l.appendJSON(nil))
		require.Equal(t, len(text)-1, strings.IndexByte(text, '\n'))
		var is decoded
		require.NoError(t, json.Unmarshal([]byte(text), &is))
		require.Equal(t, decoded{Stamp: l.Stamp.String(), Action: "rename", Path: mtree.EscapeName(l.Path), From: mtree.EscapeName(l.From)}, is)
	})
}

// plain returns the path that was escaped.
func plain(t *rapid.T, escaped string) string {
	path, err := mtree.UnescapeName(escaped)
	require.NoError(t, err)
	return path
}
