package mirror

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/sys"
)

// A proxy took away what the source says of itself, and stops doing so: nothing ends the poll that
// is held then. The change that came meanwhile was copied 45 s later, or after a minute.
func TestSimulatedStateThatComesBackUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(nil)
		defer sys.Simulate(s.shell.Process)()
		for _, step := range []string{"mkdir a", "write a/f", "publish", "wait 1m", "pass", "nameless"} {
			s.do(step)
		}
		s.do("at 5000 write a/g")
		s.do("at 5000 publish")
		s.do("at 5001 nameless")
		s.do("run 15s")
		require.NoError(t, s.err)
		require.Empty(t, s.differs(false))
	})
}
