package plan

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// A file that is refused is not fetched, and nothing else becomes of it: what the copy has of it stays,
// equal or not. What stands under its name and is no file has gone at the source.
func TestFilesThatAreRefused(t *testing.T) {
	f, d, l := file("n"), dir("n"), symlink("n", "to")
	big := with(f, func(e *mtree.Entry) { e.Size = 50 })
	for _, c := range []struct {
		name           string
		have, want     *mtree.Entry
		options        Options
		plan           string
		refused, older int
	}{
		{"one that is not", with(f, func(e *mtree.Entry) { e.Size = 9 }), &f, Options{}, "fetch:n", 0, 0},
		{"a missing file", nil, big, Options{}, "", 1, 0},
		{"an equal one", big, big, Options{}, "", 0, 0},
		{"an equal one with another mode", big, with(*big, func(e *mtree.Entry) { e.Mode = 0o600 }), Options{}, "chmod:n", 0, 0},
		{"an equal one of doubtful bytes", big, big, Options{CheckAll: true}, "check:n", 0, 0},
		{"another version", &f, big, Options{}, "", 1, 1},
		{"another version and mode", &f, with(*big, func(e *mtree.Entry) { e.Mode = 0o600 }), Options{CheckAll: true}, "", 1, 1},
		{"another version that may lack bytes", &f, big, Options{Lost: true}, "fetch:n", 0, 0},
		{"a missing file where others may", nil, big, Options{Lost: true}, "", 1, 0},
		{"a directory where files may", &d, big, Options{Lost: true}, "delete:n", 1, 0},
		{"a version of another time", with(*big, func(e *mtree.Entry) { e.MTime = at.Add(1) }), big, Options{}, "", 1, 1},
		{"a directory in its place", &d, big, Options{}, "delete:n", 1, 0},
		{"a directory that stays", &d, big, Options{NoDelete: true}, "unvisited:n", 1, 0},
		{"a symlink in its place", &l, big, Options{}, "delete:n", 1, 0},
		{"one that the source no longer has", big, nil, Options{}, "delete:n", 0, 0},
		{"a directory of the same size", nil, with(d, func(e *mtree.Entry) { e.Size = 50 }), Options{}, "mkdir:n dir:n", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var have []mtree.Entry
			listing := &mtree.Listing{}
			if c.have != nil {
				have = append(have, *c.have)
			}
			if c.want != nil {
				listing.Entries = append(listing.Entries, *c.want)
			}
			c.options.Refuses = func(e *mtree.Entry) bool { return e.Size > 5 && e.Size != 9 }
			p := Make(have, listing, &c.options)
			require.Equal(t, c.plan, describe(&p))
			require.Equal(t, int64(c.refused), p.Refused)
			require.Len(t, p.Older, c.older)
		})
	}
}
