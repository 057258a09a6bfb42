package records

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// The log was read in lines of any length, so that a file of a gigabyte without a line
// end was read into memory.
func TestLongRecordLine(t *testing.T) {
	root, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
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
