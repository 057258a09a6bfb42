package work

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/links"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// linkedBench returns a bench whose copy has one file under the names a and b of d, and an index that says so.
func linkedBench(t *testing.T) *bench {
	b := newBench(t, 0, "a")
	require.NoError(t, b.Shell.Link("/copy/d/a", "/copy/d/b"))
	b.env.Replica.Close()
	r, err := replica.Open(&replica.Options{Path: "/copy", HardLinks: true, Log: slog.New(slog.NewTextHandler(&b.log, nil)), Now: func() mtree.Stamp { return now }})
	require.NoError(t, err)
	t.Cleanup(r.Close)
	b.env.Replica, b.env.Overlap.Replica = r, r
	for _, have := range b.has() {
		r.Links.Note(links.FileOf("d/"+have.Name, &mtree.Entry{Same: 7, Size: have.Size, MTime: have.MTime}, have.Same, have.CTime))
		have.CTime = longAgo
		have.Has &^= mtree.HasCTime | mtree.HasOwner | mtree.HasSame
		b.list(have)
	}
	return b
}

// same lists a name as one of a file with several.
func (b *bench) same(name string, same uint64) *mtree.Entry {
	i := slices.IndexFunc(b.listing.Entries, func(e mtree.Entry) bool { return e.Name == name })
	e := &b.listing.Entries[i]
	e.Same, e.Has = same, e.Has|mtree.HasSame|mtree.HasCTime
	return e
}

// In a copy that lies in this one each name is a file of its own, and gets its mode as one.
func TestModesInANestedCopy(t *testing.T) {
	b := linkedBench(t)
	require.NoError(t, b.Shell.Mkdir("/copy/d/.tidemark", 0o755))
	b.same("a", 7).Mode = 0o600
	b.same("b", 7).Mode = 0o600
	v := b.visit()
	require.Empty(t, v.Failed)
	require.True(t, v.Nested)
	for _, have := range b.has() {
		require.EqualValues(t, 0o600, have.Mode, have.Name)
	}
}

// Where a link is to be taken apart and the disk is full, the name stays: it has the right bytes. Nothing
// failed, and the next visit tries it again.
func TestALinkThatStaysOnAFullDisk(t *testing.T) {
	for name, same := range map[string]uint64{"one name": 0, "a name of another file": 8} {
		t.Run(name, func(t *testing.T) {
			b := linkedBench(t)
			if same != 0 {
				b.same("b", same)
			}
			full := 0
			b.Fail = func(call string) error {
				if strings.HasPrefix(call, "fsync ") {
					full++
					return unix.ENOSPC
				}
				return nil
			}
			v := b.visit()
			require.Empty(t, v.Failed)
			require.NotZero(t, full)
			require.NotEmpty(t, v.Plan.Linked)
			require.Equal(t, b.has()[0].Same, b.has()[1].Same)
			f, ok := b.env.Replica.Links.Of("d/b")
			require.True(t, ok)
			require.EqualValues(t, 7, f.Same)

			b.Fail = nil
			v = b.visit()
			require.Empty(t, v.Failed)
			require.NotEqual(t, b.has()[0].Same, b.has()[1].Same)
		})
	}
}

// A name was made and could not be looked at: it was not noted, and stayed apart from the other names of its
// file until the next full walk. Its directory is looked at again.
func TestALinkedNameThatCannotBeLookedAt(t *testing.T) {
	b := linkedBench(t)
	b.same("b", 8)
	made := false
	b.Fail = func(call string) error {
		made = made || call == "rename b"
		if made && call == "statx b" {
			return unix.ESTALE
		}
		return nil
	}
	index, nowhere := b.env.Replica.Links, func(string, uint64) bool { return false }
	require.Empty(t, b.visit().Failed)
	require.True(t, made)
	require.Equal(t, map[string]bool{"d": true}, index.Behind(nowhere))
	require.Empty(t, index.Behind(nowhere))
}

// Names whose bytes the mirror's user may not read, of mode 0111: nothing compares them. They are linked to another
// file that has the version of the source. They were fetched, one after the other, without an end. A name of the
// same file proves nothing, nor does another file, if the bytes were read and differ.
func TestLinkedNamesThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct{ another, denied bool }{
		"another file":                  {another: true, denied: true},
		"the same file":                 {denied: true},
		"another file, and it was read": {another: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := linkedBench(t)
			b.make("d", "c")
			want := *b.same("a", 7)
			want.CTime = now
			is := b.has()
			to := &is[1]
			if c.another {
				to = &is[2]
			}
			b.env.Replica.Links.Note(links.FileOf("d/"+to.Name, &want, to.Same, to.CTime))
			b.Fail = func(call string) error {
				if call == "open a" && c.denied {
					return unix.EACCES
				}
				return nil
			}
			target := Target{Path: "d"}
			sums := b.env.CompareSums(t.Context(), []fetch.Group{{Target: target.ToChange(), Changes: []mtree.Change{{Want: &want, Have: &is[0]}}}})
			require.NoError(t, sums[0].Err)
			require.Equal(t, "a", namesOf(sums[0].Differ))
			r, rest := b.env.Link(t.Context(), target, sums[0].Differ)
			require.NoError(t, r.Err)
			linked := c.another && c.denied
			require.Equal(t, linked, len(rest) == 0)
			require.Equal(t, linked, b.has()[0].Same == is[2].Same)
		})
	}
}
