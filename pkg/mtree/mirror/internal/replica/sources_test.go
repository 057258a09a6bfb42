package replica

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// How the sources stand is written for --status, and read again; of one source there is nothing to write.
func TestHowTheSourcesStand(t *testing.T) {
	k, r := simulated(t)
	k.claimed(r)
	l := k.look()
	at := mtree.Unix(1_000, 5)
	lists := [][]SourceState{
		nil,
		{{Name: "http://a/", Used: true, Since: at}, {Name: "/srv/b c", Since: at.Add(1), Why: "it is a\ncopy"}, {Name: "d", Since: at}},
		{{Name: "a", Since: at, Why: "x"}},
		nil,
	}
	for _, list := range lists {
		require.NoError(t, r.WriteSources(list))
		require.Equal(t, len(list) > 0, r.marker.Has(sourcesName))
		is, err := l.Sources()
		require.NoError(t, err)
		require.Equal(t, list, is)
	}
	k.Refuse("rename sources", unix.EIO, 1)
	err := r.WriteSources(lists[1])
	require.ErrorIs(t, err, unix.EIO)
	require.True(t, IsLocal(err))
	require.NoError(t, r.WriteSources(lists[1]))
	for _, call := range []string{"open sources", "read sources"} {
		k.Refuse(call, unix.EIO, 1)
		_, err = l.Sources()
		require.ErrorIs(t, err, unix.EIO, call)
	}
	k.Refuse("unlink sources", unix.EIO, 1)
	require.ErrorIs(t, r.WriteSources(nil), unix.EIO)

	r.ReadOnly = true
	for _, list := range lists {
		require.NoError(t, r.WriteSources(list))
	}
	is, err := l.Sources()
	require.NoError(t, err)
	require.Equal(t, lists[1], is, "a dry run writes nothing")
}

// Lines that make no sense are ignored.
func TestSourceLines(t *testing.T) {
	stamp := mtree.Unix(1_000, 5).String()
	for line, want := range map[string]bool{
		"+ " + stamp + " a x":  true,
		"- " + stamp + " a ":   true,
		"+ " + stamp + " a":    false,
		"+ " + stamp + " a x ": false,
		"":                     false,
		"* " + stamp + " a x":  false,
		" " + stamp + " a x":   false,
		"+ y a x":              false,
		"+ " + stamp + " %2 x": false,
		"+ " + stamp + " a %2": false,
	} {
		s, ok := parseSource(line)
		require.Equal(t, want, ok, line)
		if ok {
			require.Equal(t, line, string(formatSources([]SourceState{s}))[:len(line)])
		}
	}
	k, r := simulated(t)
	k.claimed(r)
	require.NoError(t, k.Shell.Write("/copy/.tidemark/sources", "nothing\n+ "+stamp+" a x\n\n"))
	is, err := k.look().Sources()
	require.NoError(t, err)
	require.Equal(t, []SourceState{{Name: "a", Used: true, Since: mtree.Unix(1_000, 5), Why: "x"}}, is)
}
