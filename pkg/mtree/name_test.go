package mtree_test

import (
	"cmp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

func TestEscapeName(t *testing.T) {
	for name, want := range map[string]string{
		"plain-file_1.txt~":   "plain-file_1.txt~",
		"a b":                 "a%20b",
		"100%":                "100%25",
		"what?#[]{}":          "what%3F%23%5B%5D%7B%7D",
		`"<>\^|` + "`":        "%22%3C%3E%5C%5E%7C%60",
		"tab\tnewline\n\x7f":  "tab%09newline%0A%7F",
		"caf\u00e9":           "caf\u00e9",
		"\u4e2d\u6587":        "\u4e2d\u6587",
		"c1\u0085":            "c1%C2%85",
		"bad\xff\xfeutf8":     "bad%FF%FEutf8",
		"half\xe4\xb8":        "half%E4%B8",
		"\ufffd":              "\ufffd",
		"zero\u200bwidth":     "zero%E2%80%8Bwidth",
		"nb\u00a0sp\u3000":    "nb%C2%A0sp%E3%80%80", // white space would separate columns
		"a+b=c&d;e:f@g,h!$'*": "a+b=c&d;e:f@g,h!$'*",
	} {
		require.Equal(t, want, mtree.EscapeName(name), "%q", name)
		back, err := mtree.UnescapeName(want)
		require.NoError(t, err)
		require.Equal(t, name, back)
	}
}

func TestUnescapeNameDecodesPercentOnly(t *testing.T) {
	for text, want := range map[string]string{"a+b": "a+b", "%2f": "/", "%2F": "/", "&amp;": "&amp;", "%25%32%30": "%20"} {
		got, err := mtree.UnescapeName(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{"%", "%2", "%zz", "a%", "a%g0", "%0"} {
		_, err := mtree.UnescapeName(bad)
		require.ErrorIs(t, err, mtree.ErrName, "%q", bad)
	}
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "...", ".hidden", ".tidemark2", ".gitignore", "\xff", "-", "~", strings.Repeat("x", 255)} {
		require.NoError(t, mtree.CheckName(good), "%q", good)
	}
	for _, bad := range []string{"", ".", "..", ".tidemark", "a/b", "/", "a\x00b", strings.Repeat("x", 256)} {
		require.ErrorIs(t, mtree.CheckName(bad), mtree.ErrName, "%q", bad)
	}
}

func TestCheckPath(t *testing.T) {
	for _, good := range []string{"", "a", "a/b/c"} {
		require.NoError(t, mtree.CheckPath(good), "%q", good)
	}
	for _, bad := range []string{"/", "/a", "a/", "a//b", "../a", "a/../b", "a/.tidemark/tree", "."} {
		require.ErrorIs(t, mtree.CheckPath(bad), mtree.ErrName, "%q", bad)
	}
	require.Equal(t, "a", mtree.JoinPath("", "a"))
	require.Equal(t, "a/b", mtree.JoinPath("a", "b"))
	for _, path := range []string{"a", "a/b", "a/b/c"} {
		require.Equal(t, path, mtree.JoinPath(mtree.ParentPath(path), mtree.BaseName(path)))
	}
	require.Equal(t, "a/b", mtree.ParentPath("a/b/c"))
	require.Empty(t, mtree.ParentPath("a"))
}

func FuzzName(f *testing.F) {
	for _, seed := range []string{"a b", "%41", "\xff\u00e9", "\u0085", "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		escaped := mtree.EscapeName(name)
		for _, c := range []byte(escaped) {
			require.False(t, c <= ' ' || c == 0x7f, "a control or blank in %q", escaped)
		}
		back, err := mtree.UnescapeName(escaped)
		require.NoError(t, err)
		require.Equal(t, name, back)
	})
}

func TestTreeOrder(t *testing.T) {
	walk := []string{"", "a", "a/b", "a/b/c", "a/b-", "a-", "a-/b", "b"}
	for i, a := range walk {
		for j, b := range walk {
			require.Equal(t, cmp.Compare(i, j), cmp.Compare(mtree.TreeOrder(a, b), 0), "%q %q", a, b)
		}
	}
}
