package hostile

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/pkg/mtree"
)

// endlessTree has five more directories in each directory below "a".
var endlessTree = play{
	tree: func(t tree) { t.dir("a/endless", stampOf(second)) },
	answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/a/endless") || r.Method != http.MethodGet {
			return false
		}
		l := mtree.Listing{Stamp: stampOf(second)}
		for n := range 5 {
			l.Entries = append(l.Entries, mtree.Entry{Name: fmt.Sprint(n), Kind: mtree.Dir, MTime: stampOf(second)})
		}
		w.Header().Set("Tidemark-Tree", treeID)
		w.Header().Set("Tidemark-Epoch", "1")
		w.Header().Set("Tidemark-State", "watched")
		_, _ = w.Write(mtree.FormatListing(l))
		return true
	},
}

// A pass that was stopped marked all directories that it had begun, of which there are many
// in such a tree, or in a first copy of a large one: it did not end within 5 s of SIGTERM, and
// was cut off.
//
// A tree without an end keeps a pass busy for ever, but takes no memory to speak of; the
// mirror can be ended, and with an honest server the copy becomes equal.
func TestEndlessTree(t *testing.T) {
	t.Parallel()
	p, b := newPeer(t, first), newBox(t)
	require.Zero(t, b.honestly(p).code)
	p.becomes(second, endlessTree)
	m, err := proof.Launch(proof.Command{Args: []string{"mirror", "--durability", "none", p.URL + "/", b.copy}, Log: filepath.Join(temporary(t), "log")})
	require.NoError(t, err)
	defer m.Kill()
	while := 2 * time.Second
	if proof.Budget(t) > 0 {
		while = time.Minute
	}
	late := time.After(while)
	<-late
	require.True(t, m.Alive(), m.Logged())
	require.Less(t, peakOf(m.Cmd.Process.Pid), int64(512<<20))
	require.NoError(t, m.Terminate(time.Minute)) // "did not stop in time" is an exit code of 143
	t.Logf("%d requests\n%s", p.requests.Load(), m.Logged())
	require.Empty(t, append(b.faults(), unclean(m.Logged())...))
	p.becomes(third)
	r := b.honestly(p, "--max-delete", "100%")
	require.Zero(t, r.code, r.text)
	require.Empty(t, b.differences(honest(third)))
	proof.Count("hostile servers", 1)
}
