package remote

import (
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/mirror/internal/source"
)

// Of a local SOURCE that mirror may not enter it was asked whether serve is running there.
func TestRemedyForADirectory(t *testing.T) {
	err := fmt.Errorf("root: %w", &fs.PathError{Op: "open", Path: "/srv/a", Err: unix.EACCES})
	require.Contains(t, Remedy(err), "run mirror as another user")
	require.Contains(t, Remedy(source.ErrOtherDirectory), "none")
}
