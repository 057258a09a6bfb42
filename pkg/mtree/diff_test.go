package mtree_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

func TestDiff(t *testing.T) {
	at := func(sec int64) mtree.Stamp { return mtree.Unix(sec, 0) }
	file := func(name string, size, sec int64) mtree.Entry {
		return mtree.Entry{Name: name, Kind: mtree.File, Size: size, MTime: at(sec)}
	}
	dir := func(name string, sec int64) mtree.Entry {
		return mtree.Entry{Name: name, Kind: mtree.Dir, MTime: at(sec)}
	}
	link := func(name, to string) mtree.Entry {
		return mtree.Entry{Name: name, Kind: mtree.Symlink, Link: to}
	}
	mode := func(e mtree.Entry, mode uint32) mtree.Entry {
		e.Has, e.Mode = e.Has|mtree.HasMode, mode
		return e
	}
	have := []mtree.Entry{file("extra", 1, 1), dir("known", 1), file("later", 1, 9), mode(file("mode", 1, 1), 0o600), mode(file("setid", 1, 1), 0o4755), file("size", 1, 1), link("to", "a"), file("type", 1, 1), file("zame", 1, 1)}
	want := []mtree.Entry{file("absent", 1, 1), dir("known", 2), file("later", 1, 5), mode(file("mode", 1, 1), 0o644), mode(file("setid", 1, 1), 0o755), file("size", 2, 1), link("to", "b"), dir("type", 1), file("zame", 1, 1)}
	got := map[string]mtree.Differs{}
	var order []string
	for c := range mtree.Diff(have, want, nil) {
		e := c.Want
		if e == nil {
			e = c.Have
		}
		got[e.Name] = c.What
		order = append(order, e.Name)
	}
	require.Equal(t, map[string]mtree.Differs{
		"absent": mtree.Absent, "extra": mtree.Extra, "later": mtree.Content, "known": mtree.Tide,
		"mode": mtree.Mode, "setid": 0, "size": mtree.Content, "to": mtree.Content, "type": mtree.Type, "zame": 0,
	}, got, "an older time differs as much as a newer one")
	require.IsIncreasing(t, order)
}

func TestDiffOnACoarseFileSystem(t *testing.T) {
	want := []mtree.Entry{{Name: "f", Kind: mtree.File, MTime: mtree.Unix(5, 7)}}
	have := []mtree.Entry{{Name: "f", Kind: mtree.File, MTime: mtree.Unix(5, 0)}}
	second := func(s mtree.Stamp) mtree.Stamp { return s.Floor(time.Second) }
	for c := range mtree.Diff(have, want, second) {
		require.Zero(t, c.What)
	}
	for c := range mtree.Diff(have, want, nil) {
		require.Equal(t, mtree.Content, c.What)
	}
}

func TestDiffStopsWhenAsked(t *testing.T) {
	entries := []mtree.Entry{{Name: "a"}, {Name: "b"}}
	seen := 0
	for range mtree.Diff(entries, nil, nil) {
		seen++
		break
	}
	require.Equal(t, 1, seen)
}
