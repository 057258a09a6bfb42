package records

import (
	"errors"
	"os"
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

// A log that was removed, cut, or replaced under a running mirror, or that a full disk left with a
// line without its end, stayed so: for serve the directories of the copy were unfinished until
// mirror ended, and copies of the copy were never complete.
func TestALogIsMended(t *testing.T) {
	m := marker(t)
	path := m.Dir().Path() + "/" + LogName
	l, err := OpenLog(m)
	require.NoError(t, err)
	defer l.Close()
	record := Record{Stamp: mtree.Unix(1, 2), Now: mtree.Unix(3, 4)}
	require.NoError(t, l.SetStay("7"))
	require.NoError(t, l.Set("a", record))
	inode := func() uint64 {
		info, err := m.Dir().Stat(LogName)
		require.NoError(t, err)
		return info.Node.Ino
	}
	was := inode()
	require.NoError(t, l.Mend(m))
	require.Equal(t, was, inode(), "nothing to mend")
	for _, spoil := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.Truncate(path, 5) },
		func() error { return os.Truncate(path, 0) },
		func() error { return errors.Join(os.Remove(path), os.WriteFile(path, []byte("x"), 0o644)) },
		func() error { // as after a write that a full disk cut: the next line joins it
			_, err := l.file.WriteString(recordLine("b", record)[:9])
			return errors.Join(err, l.Set("b", record))
		},
	} {
		require.NoError(t, spoil())
		require.NoError(t, l.Mend(m))
		require.NoError(t, l.Set("c", record), "it is written on")
		there, err := ReadLog(m)
		require.NoError(t, err)
		require.Equal(t, l.records, there.records)
		require.Equal(t, "7", there.Stay())
		require.NoError(t, there.Close())
		was = inode()
		require.NoError(t, l.Mend(m))
		require.Equal(t, was, inode(), "mended once")
	}
	again, err := OpenLog(m)
	require.NoError(t, err)
	defer again.Close()
	require.NoError(t, again.Mend(m))
	require.Equal(t, was, inode(), "one that was read is whole")
}
