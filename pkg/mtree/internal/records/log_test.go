package records

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// marker returns that of a new copy.
func marker(t *testing.T) *state.Marker {
	root, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// The log was read in lines of any length, so that a file of a gigabyte without a line
// end was read into memory.
func TestLongRecordLine(t *testing.T) {
	m := marker(t)
	want := Record{Stamp: mtree.Unix(1, 2), Now: mtree.Unix(3, 4)}
	text := recordLine("a", want) + strings.Repeat("x", 3*maxRecordLine) + recordLine("b", want) + recordLine("c", want)
	require.NoError(t, state.WriteFile(m.Dir(), LogName, []byte(text)))
	l, err := OpenLog(m)
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, map[string]Record{"a": want, "c": want}, l.records)
	info, err := m.Dir().Stat(LogName)
	require.NoError(t, err)
	require.Less(t, info.Size, int64(maxRecordLine), "rewritten without it")
}

// The stay is kept with the records, also when the log is rewritten; of several the last one
// counts, and one that a crash cut off does not. Lines that are not understood are none.
func TestTheStayOfALog(t *testing.T) {
	m := marker(t)
	record := Record{Stamp: mtree.Unix(1, 2), Now: mtree.Unix(3, 4)}
	long := "stay " + strings.Repeat("x", 3*maxRecordLine) + "\n"
	for text, stay := range map[string]string{
		"":                                   "",
		recordLine("a", record):              "",
		"stay 7\n" + recordLine("a", record): "7",
		"stay 7\nstay 12\n":                  "12",
		recordLine("stay 1", record) + "stay 7\n": "7",
		"stay 7\nstay 12":                         "7",
		"stay 7\n" + long:                         "7",
		"\x00\x00stay 7\n":                        "",
	} {
		require.NoError(t, state.WriteFile(m.Dir(), LogName, []byte(text)))
		l, err := OpenLog(m)
		require.NoError(t, err)
		require.Equal(t, stay, l.Stay(), text)
		require.NoError(t, l.Close())
	}
	require.NoError(t, state.WriteFile(m.Dir(), LogName, nil))
	l, err := OpenLog(m)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, l.SetStay("5"))
	}
	require.Equal(t, "5", l.Stay())
	for i := range 3000 { // as many as make it worth rewriting
		record.Now = mtree.Unix(5, int64(i))
		require.NoError(t, l.Set("a", record))
	}
	require.NoError(t, l.Close())
	for range 2 {
		l, err = OpenLog(m)
		require.NoError(t, err)
		require.Equal(t, "5", l.Stay())
		require.Equal(t, map[string]Record{"a": record}, l.records)
		require.NoError(t, l.Close())
	}
	info, err := m.Dir().Stat(LogName)
	require.NoError(t, err)
	require.Less(t, info.Size, int64(200))
}
