package work

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// Bytes that were known at a ctime stay known if the ctime was old then. If it was young,
// nothing is known: the write may have gone on.
func TestVerifiedFiles(t *testing.T) {
	var s VerifiedFiles
	e := &mtree.Entry{Name: "f", CTime: mtree.Unix(1000, 0), Has: mtree.HasCTime}
	at := func(after time.Duration) mtree.Stamp { return e.CTime.Add(after) }
	require.False(t, s.has("f", e))
	s.Add("f", e, at(time.Second))
	require.False(t, s.has("f", e), "known while it was young")
	s.Add("f", e, at(11*time.Second))
	require.True(t, s.has("f", e))
	require.False(t, s.has("g", e))
	other := *e
	other.CTime = e.CTime.Add(1)
	require.False(t, s.has("f", &other))
	for i := range mostVerified {
		s.Add(string(rune(i)), e, at(time.Second))
	}
	require.LessOrEqual(t, len(s.files), mostVerified)
}
