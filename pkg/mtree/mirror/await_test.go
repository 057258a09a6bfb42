package mirror

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/mirror/internal/source"
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

// A cache answered for the root with what serve had said under other options, and took away
// If-None-Match, as nginx's does. Only the polls told of the present options, and nobody looked: what
// is published under them did not come until the root had another stamp.
func TestOtherOptionsThatOnlyAPollTells(t *testing.T) {
	s := watched(t, "a = x")
	b := s.benchOverHTTP()
	b.equal(s)
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	root, err := m.source.Root(t.Context(), source.Poll{})
	require.NoError(t, err)
	d := &daemon{mirror: m, begun: true, complete: true, known: knownOf(&root)}
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("If-None-Match")
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "wait=45", "wait=0.1", 1)
		return false
	})
	a, err := d.await(t.Context())
	require.NoError(t, err)
	require.True(t, a.Unchanged)
	d.known.fingerprint = "" // a proxy took it from the root
	a, err = d.await(t.Context())
	require.NoError(t, err)
	require.True(t, a.Unchanged)
	d.known.fingerprint = "000000"
	a, err = d.await(t.Context())
	require.NoError(t, err)
	require.False(t, a.Unchanged, "the root is looked at")
}
