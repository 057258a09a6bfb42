package glob

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExcluded(t *testing.T) {
	for _, tc := range []struct {
		rules []string
		path  string
		isDir bool
		want  bool
	}{
		{nil, "a", false, false},
		{[]string{"- *.tmp"}, "a/b/x.tmp", false, true},
		{[]string{"- *.tmp"}, "a/b/x.txt", false, false},
		{[]string{"- /a"}, "a", false, true},
		{[]string{"- /a"}, "b/a", false, false},
		{[]string{"- a/"}, "b/a", true, true},
		{[]string{"- a/"}, "b/a", false, false},
		{[]string{"- a/*.o"}, "x/a/y.o", false, true},
		{[]string{"- a/*.o"}, "x/a/b/y.o", false, false},
		{[]string{"- a/**/*.o"}, "x/a/b/c/y.o", false, true},
		{[]string{"+ keep.tmp", "- *.tmp"}, "d/keep.tmp", false, false},
		{[]string{"+ keep.tmp", "- *.tmp"}, "d/other.tmp", false, true},
		{[]string{"- {x,y}"}, "y", false, true},
	} {
		l, err := New(tc.rules)
		require.NoError(t, err)
		require.Equal(t, tc.want, l.Excluded(tc.path, tc.isDir), "%q of %q", tc.rules, tc.path)
	}
}

// "**" beside other characters of a component silently became "*".
func TestDoubleStarWithinAComponent(t *testing.T) {
	for _, bad := range []string{"/a**", "a**", "**a", "/a/**x", "a/**x/b", "***", "a/***", "{a**,b}", "{a,**b}/c", "{a,b}**", "**{a,b}", "x{**,a}", "{**,a}x", "[a]**", "\\***", "a/{b,{c,d**}}", "a**/"} {
		_, err := New([]string{"- " + bad})
		require.ErrorContains(t, err, "** stands for whole components", bad)
		_, err = Recorded([]string{"- " + bad})
		require.NoError(t, err, bad)
	}
	for _, good := range []string{"**", "/**", "a/**", "**/a", "a/**/b", "{a,**}/b", "{**,a}", "a/{b,**}", "a/{**/b,c}", "[**]a", "\\**", "a\\*\\*", "*/**/*", "*a*", "{a,{b,**}}/c", "a,b/**", "a/**/"} {
		_, err := New([]string{"- " + good, "+ " + good})
		require.NoError(t, err, good)
	}
}

func TestHidesBelowAnExcludedDirectory(t *testing.T) {
	l, err := Excluding([]string{"/cache/"})
	require.NoError(t, err)
	require.True(t, l.Hides("cache/a/b", false))
	require.False(t, l.Hides("cached/a", false))
	require.False(t, l.Hides("cache", false), "a file of that name is no directory")
}

func TestBadGlobs(t *testing.T) {
	for _, bad := range []string{"", "- ", "- /", "x a", "- [", "-a"} {
		_, err := New([]string{bad})
		require.Error(t, err, "%q", bad)
	}
}

// "cache*/**" left out all below the directory "cache1" and the directory itself, but of the
// directory "cache" only what was below it.
func TestWhatStandsBeforeTheLastStars(t *testing.T) {
	for pattern, selected := range map[string]string{
		"cache*/**": "cache cache1 a/cache a/cache/f", "/cache*/**": "cache cache1", "cache/**": "cache a/cache a/cache/f",
		"a/**": "a a/cache a/cache/f", "/**": "a cache cache1 a/cache a/cache/f other",
	} {
		l, err := Excluding([]string{pattern})
		require.NoError(t, err)
		for _, path := range []string{"a", "cache", "cache1", "a/cache", "a/cache/f", "other"} {
			require.Equal(t, slices.Contains(strings.Fields(selected), path), l.Excluded(path, true), "%q of %q", pattern, path)
		}
	}
}
