package lineage

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSelection(t *testing.T) {
	for _, s := range []Selection{
		{}, {Filters: []string{"- *.o", "+ a"}, NoLinks: true}, {NoDelete: true, NoLinks: true, Owner: true},
		{Chmod: []string{"D755,F644"}}, {Chown: "1:2"}, {Owner: true, Chmod: []string{"go="}, Chown: "web"},
	} {
		require.Equal(t, s, ParseSelection(s.Rules()))
	}
	require.Equal(t, []string{"- *.o", "no-delete", "owner"}, Selection{Filters: []string{"- *.o"}, NoDelete: true, Owner: true}.Rules())
}

// Which selections keep the same entries, and how a message names them.
func TestSelectionsThatAreAlike(t *testing.T) {
	was := Selection{Filters: []string{"+ a b", "- /local/"}, NoDelete: true, NoLinks: true}
	require.Equal(t, `--include "a b" --exclude "/local/" --no-delete --no-links`, was.Options())
	require.Equal(t, "--owner", Selection{Owner: true}.Options())
	require.Empty(t, Selection{}.Options())
	for name, c := range map[string]struct {
		change func(s *Selection)
		want   bool
	}{
		"the same":        {func(*Selection) {}, true},
		"owners":          {func(s *Selection) { s.Owner = true }, true},
		"other filters":   {func(s *Selection) { s.Filters = []string{"+ a b", "- /other/"} }, false},
		"another order":   {func(s *Selection) { s.Filters = []string{"- /local/", "+ a b"} }, false},
		"fewer":           {func(s *Selection) { s.Filters = s.Filters[:1] }, false},
		"it deletes":      {func(s *Selection) { s.NoDelete = false }, false},
		"it copies links": {func(s *Selection) { s.NoLinks = false }, false},
	} {
		is := was
		c.change(&is)
		require.Equal(t, c.want, is.IsLike(was), name)
	}
	require.True(t, Selection{Filters: []string{}}.IsLike(Selection{}))
}
