package serve

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/journal"
)

// A journal that goes on faster than it can be read is no reason to look at everything.
func TestChangesWhileTheJournalGoesOn(t *testing.T) {
	for err, want := range map[error]int{
		nil:                 0,
		journal.ErrUnproved: 410,
		fmt.Errorf("%w: %w", journal.ErrUnproved, journal.ErrAgain): 503,
		fmt.Errorf("%w: %w", journal.ErrUnproved, unix.EMFILE):      0,
		unix.EIO: 0,
	} {
		code, _ := refusalOfChanges(err)
		require.Equal(t, want, code, err)
	}
}
