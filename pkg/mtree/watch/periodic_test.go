package watch_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// The next periodic audit finds what no event tells of: a write through a name outside the
// tree. During the audit and after it the tree counts as watched.
func TestPeriodicAudit(t *testing.T) {
	eachBackend(t, testPeriodicAudit)
}

func testPeriodicAudit(t *testing.T, backend string) {
	root := newTree(t, "a/f = x", "b/")
	outside := filepath.Join(newTree(t), "other") // on the same file system
	must(t, os.Link(filepath.Join(root, "a/f"), outside))
	states := make(chan string, 1000)
	r := begin(t, watch.Config{Root: root, Backend: backend, AuditInterval: 100 * time.Millisecond, Notify: func(text string) { states <- text }})
	r.await(wire.Watched)
	was, beside := stampOf(t, root, "a"), stampOf(t, root, "b")
	write(t, outside, "changed through another name")
	require.Eventually(t, func() bool { return stampOf(t, root, "a") != was }, deadline, time.Millisecond)
	require.Eventually(t, func() bool { return !stampOf(t, root, "").Before(stampOf(t, root, "a")) }, deadline, time.Millisecond)
	require.Equal(t, beside, stampOf(t, root, "b"), "nothing changed there")
	require.NotContains(t, drain(states), "watched auditing", "a periodic audit is no loss")
}
