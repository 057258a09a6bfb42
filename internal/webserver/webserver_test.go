package webserver

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// A server whose port somebody else took before it could ended at once; it was waited for in
// vain, and the test failed.
func TestAServerThatEndsIsStartedAgain(t *testing.T) {
	s := Server{Name: "late", Command: "sh {DIR}/config {TREE} {PORT}", Config: `
echo >>$1/starts
test $(wc -l <$1/starts) -lt 3 && exit 1
exec python3 -m http.server --bind 127.0.0.1 -d $1 $2
`}
	r, err := s.Start(t.TempDir(), io.Discard)
	require.NoError(t, err)
	r.End()
	_, err = Server{Name: "never", Command: "false"}.Start(t.TempDir(), io.Discard)
	require.ErrorIs(t, err, errEnded)
}
