package mirror

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// runs makes --exec write to a file where it ran, and returns a function that reads how often.
func (b *bench) runs() func() int {
	notes := filepath.Join(b.t.TempDir(), "notes")
	b.config.Exec = "pwd >>" + notes
	return func() int {
		text, err := os.ReadFile(notes)
		if err != nil {
			return 0
		}
		require.Empty(b.t, strings.ReplaceAll(string(text), b.config.Dest+"\n", ""), "it runs in DEST")
		return strings.Count(string(text), "\n")
	}
}

// --exec runs after each pass that changed anything, and after no other.
func TestExecRunsAfterAChange(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "l -> a")
	runs := b.runs()
	b.equal(s)
	require.Equal(t, 1, runs())
	b.requireIdle()
	require.Equal(t, 1, runs())
	for i, change := range []func(){
		func() { s.change("a/f = changed") },
		func() { require.NoError(t, os.Chmod(s.path("a/f"), 0o600)); s.publish("a/f") },
		func() { require.NoError(t, os.Remove(s.path("l"))); s.change("l -> a/f") },
		func() { s.change("a/new/") },
		func() { s.remove("a/new") },
	} {
		change()
		b.equal(s)
		require.Equal(t, 2+i, runs())
	}
	s.publish("a")
	b.equal(s)
	require.Equal(t, 6, runs(), "a stamp alone is no change of the copy")
	b.config.DryRun = true
	s.change("a/f = again")
	require.NoError(t, b.once())
	require.Equal(t, 6, runs())
	b.config.DryRun, b.config.Exec = false, "exit 3"
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	b.same(s)
}

// If a pass ended early, --exec runs after the next one, even if that changes nothing.
func TestExecIsOwedAfterAPassThatFailed(t *testing.T) {
	_, b := overHTTP(t, "a/f = x", "a/l -> /x")
	runs := b.runs()
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	a, err := m.source.Root(t.Context(), source.Poll{})
	require.NoError(t, err)
	_, err = m.lineage.Claim(t.Context(), &a)
	require.NoError(t, err)
	inTheWay := b.path(".tidemark/uncopied") // the pass cannot write what it left out
	require.NoError(t, os.MkdirAll(inTheWay+"/x", 0o755))
	_, err = m.once(t.Context())
	require.Error(t, err)
	require.Equal(t, 0, runs())
	require.NoError(t, os.RemoveAll(inTheWay))
	p, err := m.once(t.Context())
	require.NoError(t, err)
	require.False(t, p.Changed)
	require.Equal(t, 1, runs())
	_, err = m.once(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, runs())
}
