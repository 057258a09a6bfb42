package mirror

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
)

// Summing a file that takes hours ends when the program is to end.
func TestSummingEndsWithItsContext(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(path, "huge"), nil, 0o644))
	require.NoError(t, os.Truncate(filepath.Join(path, "huge"), 8<<40))
	root, err := disk.OpenRoot(path)
	require.NoError(t, err)
	defer root.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = sumFiles(ctx, root, false, []string{"huge"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
