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
// was cut off. And each directory stayed in memory with its whole path until the pass had
// written files: ten kilobytes for each, 1.3 GB after two minutes.
//
// A tree without an end keeps a pass busy for ever, but takes no memory to speak of; the
// mirror can be ended, and with an honest server the copy becomes equal.
func TestEndlessTree(t *testing.T) { // alone: mirror must end within 5 s
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
	peak := peakOf(m.Cmd.Process.Pid)
	require.Less(t, peak, int64(512<<20))
	asked := time.Now()
	require.NoError(t, m.Terminate(time.Minute)) // "did not stop in time" is an exit code of 143
	t.Logf("%d requests, %d MB, ended within %v\n%s", p.requests.Load(), peak>>20, time.Since(asked), m.Logged())
	require.Empty(t, append(b.faults(), unclean(m.Logged())...))
	p.becomes(third)
	r := b.honestly(p, "--max-delete", "100%")
	require.Zero(t, r.code, r.text)
	require.Empty(t, b.differences(honest(third)))
	proof.Count("hostile servers", 1)
}
