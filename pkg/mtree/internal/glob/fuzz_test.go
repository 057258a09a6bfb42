package glob

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzGlobs: what is accepted selects paths as a regular expression does that is made of
// it, as long as it has no brackets and braces; what is accepted once is accepted when it
// is read from a record; what is below an excluded directory is hidden.
func FuzzGlobs(f *testing.F) {
	f.Add("*.o", "a/b.o", false)
	f.Add("/a/**/b", "a/x/y/b", true)
	f.Add("a/*/", "x/a/b", true)
	f.Add("{a,b/**}/[!c]", "b/d/e", false)
	f.Add(`\*\\?`, `*\x`, false)
	f.Add("**/a/**", "a", true)
	f.Fuzz(func(t *testing.T, pattern, path string, isDir bool) {
		if path == "" || strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.Contains(path, "//") || len(pattern) > 64 || len(path) > 64 {
			return
		}
		rules := []string{"- " + pattern}
		l, err := New(rules)
		if err != nil {
			return
		}
		recorded, err := Recorded(rules)
		require.NoError(t, err)
		got := l.Excluded(path, isDir)
		require.Equal(t, got, recorded.Excluded(path, isDir))
		if want, plain := reference(pattern, path, isDir); plain {
			require.Equal(t, want, got, "%q of %q, %v", pattern, path, isDir)
		}
		require.False(t, got && !l.Hides(path, isDir))
		if l.Excluded(path, true) {
			require.True(t, l.Hides(path+"/below", false))
		}
		kept, err := New([]string{"+ " + pattern, "- *"})
		require.NoError(t, err)
		require.Equal(t, !got, kept.Excluded(path, isDir), "the first that matches decides")
	})
}

// reference says what a pattern without brackets, braces and backslashes selects, by a
// regular expression; plain is false for others.
func reference(pattern, path string, isDir bool) (excluded, plain bool) {
	if strings.Contains(pattern, "**/**") || // the library is more generous with these
		strings.ContainsAny(pattern, `[]{}\`) || strings.ContainsAny(pattern+path, "\n") || !isText(pattern) || !isText(path) {
		return false, false
	}
	rest, dirOnly := strings.CutSuffix(pattern, "/")
	rest, anchored := strings.CutPrefix(rest, "/")
	if strings.Contains(rest, "//") || strings.HasPrefix(rest, "/") || strings.HasSuffix(rest, "/") {
		return false, false
	}
	var re strings.Builder
	if !anchored {
		re.WriteString("(?:.*/)?")
	}
	parts := strings.Split(rest, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part == "**" && last && i > 0: // "a/**" is a itself, too
			text := strings.TrimSuffix(re.String(), "/")
			re.Reset()
			re.WriteString(text + "(?:/.*)?")
		case part == "**" && last:
			re.WriteString(".*")
		case part == "**":
			re.WriteString("(?:[^/]+/)*")
		default:
			re.WriteString(component(part))
			if !last {
				re.WriteString("/")
			}
		}
	}
	if dirOnly && !isDir {
		return false, true
	}
	return regexp.MustCompile("(?s)^" + re.String() + "$").MatchString(path), true
}

func component(part string) string {
	quoted := regexp.QuoteMeta(part)
	return strings.ReplaceAll(strings.ReplaceAll(quoted, `\*`, "[^/]*"), `\?`, "[^/]")
}

func isText(s string) bool { return strings.ToValidUTF8(s, "") == s }
