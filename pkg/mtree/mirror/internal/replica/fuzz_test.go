package replica

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// A list of held deletions is what was written, and one that is damaged or cut is an
// error or releases nothing that was not in it.
func FuzzHeld(f *testing.F) {
	f.Add([]byte("#held why it is\n3 d 5.000000000 a/b\n1 f -1.5 c%20d\n#held another\n1 l 0.0 e\n"), uint16(20))
	f.Add([]byte("1 f 1.0 x"), uint16(0))
	f.Add([]byte("#held \n0 d 0.000000000 abc\n"), uint16(25)) // cut to "a", it released another entry
	f.Add([]byte("0 l 0 "), uint16(0))                         // the root was read as a held deletion
	root, err := disk.OpenRoot(f.TempDir())
	require.NoError(f, err)
	m, err := state.CreateMarker(root, "")
	require.NoError(f, err)
	read := func(t *testing.T, text []byte) (HeldList, error) {
		require.NoError(t, os.WriteFile(m.Dir().Path()+"/held", text, 0o644))
		return readHeld(m, heldName)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut uint16) {
		l, err := read(t, text)
		if err != nil {
			require.Empty(t, l.Entries)
			return
		}
		for i := range l.Entries {
			require.NoError(t, mtree.CheckPath(l.Entries[i].Path))
			require.NotEmpty(t, l.Entries[i].Path, "the root is never deleted")
			require.False(t, strings.ContainsAny(l.Entries[i].Why, "\n"))
		}
		out := l.Format()
		again, err := read(t, out)
		require.NoError(t, err, "%q", out)
		require.Equal(t, l.Entries, again.Entries)
		if len(out) == 0 {
			return
		}
		short, err := read(t, out[:int(cut)%len(out)])
		if err == nil {
			for i := range short.Entries {
				require.True(t, l.Has(&short.Entries[i]) || doubled(&l, short.Entries[i].Path), "cut after %d bytes, it releases %+v\n%s", int(cut)%len(out), short.Entries[i], out)
			}
		}
	})
}

// doubled reports whether a path is in the list more than once.
func doubled(l *HeldList, path string) bool {
	n := 0
	for i := range l.Entries {
		if l.Entries[i].Path == path {
			n++
		}
	}
	return n > 1
}

// The file of what is not copied is read as it was written, and counts are above 0.
func FuzzUncopied(f *testing.F) {
	f.Add([]byte("3 ./\n1 ./a%20b\nx\n-1 ./c\n1 .\n1 ./..\n"))
	root, err := disk.OpenRoot(f.TempDir())
	require.NoError(f, err)
	m, err := state.CreateMarker(root, "")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text []byte) {
		require.NoError(t, os.WriteFile(m.Dir().Path()+"/"+uncopiedName, text, 0o644))
		u, err := readUncopied(m)
		require.NoError(t, err)
		require.LessOrEqual(t, len(u), MostUncopied)
		for path, n := range u {
			require.Positive(t, n)
			require.NoError(t, mtree.CheckPath(path))
		}
		require.NoError(t, os.WriteFile(m.Dir().Path()+"/"+uncopiedName, u.format(), 0o644))
		again, err := readUncopied(m)
		require.NoError(t, err)
		require.Equal(t, u, again)
	})
}
