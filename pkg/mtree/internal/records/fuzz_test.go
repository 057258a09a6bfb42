package records

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// What is read as a record is written so that it reads the same, and a line of the log,
// too.
func FuzzRecord(f *testing.F) {
	f.Add("1707019506.123456789 1707019507.000000000 0123456789abcdef 12/0a1b2c", "a/b")
	f.Add("-1.5 2 - 0/x", "")
	f.Add("1 1 -", "x\n y")
	f.Fuzz(func(t *testing.T, text, path string) {
		r, ok := parse(text)
		if !ok {
			require.Zero(t, r)
			return
		}
		again, ok := parse(r.String())
		require.True(t, ok, "%q", r.String())
		require.Equal(t, r, again)
		if mtree.CheckPath(path) != nil || strings.Contains(text, "\n") {
			return
		}
		line := recordLine(path, r)
		at, got, ok := parseRecordLine(strings.TrimSuffix(line, "\n"))
		require.True(t, ok, "%q", line)
		require.Equal(t, path, at)
		require.Equal(t, r, got)
	})
}

// Whatever is in the log, it is read, and what was read is what it holds when it is opened
// again. A path never counts with a record that has no line of its own.
func FuzzLog(f *testing.F) {
	f.Add([]byte("1.0 2.0 - ./\n3.0 4.0 id 1/e ./a/b\n1.0 2.0 - ./a/b\n5.0"))
	f.Add([]byte("\n\n 1.0 2.0 - ./\x00\n1 1 - a\n"))
	root, err := disk.OpenRoot(f.TempDir())
	require.NoError(f, err)
	m, err := state.CreateMarker(root, "")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text []byte) {
		require.NoError(t, os.WriteFile(m.Dir().Path()+"/"+LogName, text, 0o644))
		first, err := OpenLog(m)
		require.NoError(t, err)
		defer first.Close()
		lines := strings.Split(string(text), "\n")
		for path, r := range first.records {
			require.NoError(t, mtree.CheckPath(path))
			found := false
			for _, line := range lines[:len(lines)-1] { // the last one has no end
				at, got, ok := parseRecordLine(line)
				found = found || ok && at == path && got == r
			}
			require.True(t, found, "%q: %v", path, r)
		}
		require.NoError(t, first.Set("new", Record{Stamp: mtree.Unix(7, 7)}))
		second, err := OpenLog(m)
		require.NoError(t, err)
		defer second.Close()
		require.Equal(t, first.records, second.records)
	})
}
