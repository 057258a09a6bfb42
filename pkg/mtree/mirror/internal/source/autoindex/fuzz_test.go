package autoindex

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// Whatever a server sends, it is a listing with names that are safe, within the memory
// that RoomFor says, or an error that says it is none.
func FuzzParse(f *testing.F) {
	kinds := []string{"text/html", "application/json", "text/xml; charset=utf-8", "text/plain"}
	for _, text := range []string{
		`<html><head><title>Index of /</title></head><body><h1>Index of /</h1><pre><a href="../">../</a><a href="d/">d/</a> 03-Feb-2024 04:05 - <a href="/x/f%20g">f g</a> 03-Feb-2024 04:05 1.2K</pre></body></html>`,
		`<html><title>Index of</title><A HREF=a><time datetime="2024-02-03T04:05:06Z"><size>12</size></html>`,
		`[{"name":"a","type":"file","mtime":"Sat, 03 Feb 2024 04:05:06 GMT","size":3},{"name":"d","type":"dir","mtime":1706933106}]`,
		`[{"name":"e/","is_dir":true,"mod_time":"2024-02-03T04:05:06.123456789Z","size":4096},null]`,
		`<?xml version="1.0"?><list><directory mtime="2024-02-03T04:05:06Z">d</directory><file mtime="2024-02-03T04:05:06Z" size="3">a</file></list>`,
		`<list><x:file>a</x:file><y:directory>b</y:directory></list>`,
	} {
		for kind := range kinds {
			f.Add([]byte(text), byte(kind), "/x/")
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, kind byte, path string) {
		entries, files, err := Parse(text, kinds[int(kind)%len(kinds)], path)
		if err != nil {
			require.ErrorIs(t, err, mtree.ErrListing)
			return
		}
		require.LessOrEqual(t, 400*len(entries), RoomFor(text))
		for i := range entries {
			e := &entries[i]
			require.NoError(t, mtree.CheckName(e.Name))
			require.Contains(t, []mtree.Kind{mtree.File, mtree.Dir}, e.Kind)
			b, ok := files[e.Name]
			require.True(t, ok, e.Name)
			require.True(t, b.High < 0 || b.Low <= b.High && b.Low >= 0, "%+v", b)
			require.True(t, e.Size == 0 || e.Size == b.Low && e.Size == b.High || twice(entries, e.Name), "only an exact size is one")
		}
	})
}

// twice reports whether a name occurs more than once; only the last one's bounds are kept.
func twice(entries []mtree.Entry, name string) bool {
	n := 0
	for i := range entries {
		if entries[i].Name == name {
			n++
		}
	}
	return n > 1
}
