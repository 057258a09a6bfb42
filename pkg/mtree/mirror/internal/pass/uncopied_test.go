package pass

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// Where nothing more is found, the count of an earlier pass stays.
func TestNothingMoreIsUncopied(t *testing.T) {
	bubble(t, "", func(t *testing.T, r *rig) {
		nothingIsDeleted := func(string) bool { return false }
		require.NoError(t, r.replica.UpdateUncopied(replica.Uncopied{"a": 3}, nothingIsDeleted, false))
		p := &pass{env: &work.Env{Replica: r.replica}, uncopied: replica.Uncopied{}}
		p.addUncopied("a", 0)
		require.Empty(t, p.uncopied)
		p.addUncopied("a", 2)
		require.Equal(t, replica.Uncopied{"a": 2}, p.uncopied)
	})
}
