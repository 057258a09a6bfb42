package mirror

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
)

// start runs the mirror until the test ends.
func (b *bench) start() (stop func() error) {
	b.t.Helper()
	ready := make(chan struct{})
	c := b.config
	c.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, c) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		require.NoError(b.t, err)
	}
	var once bool
	stop = func() error {
		if once {
			return nil
		}
		once = true
		cancel()
		return <-ended
	}
	b.t.Cleanup(func() { _ = stop() })
	return stop
}

// eventually waits until the copy equals the source.
func (b *bench) eventually(s *tree) {
	b.t.Helper()
	var diff []string
	if !assertEventually(func() bool {
		var err error
		diff, err = testtree.Differences(s.root, b.config.Dest)
		return err == nil && len(diff) == 0
	}) {
		require.Empty(b.t, diff, "source | copy")
	}
}

func assertEventually(ok func() bool) bool {
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		if ok() {
			return true
		}
		<-tick.C
	}
	return ok()
}

func TestRunFollowsChanges(t *testing.T) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		b.config.Interval = 10 * time.Millisecond
		stop := b.start()
		b.eventually(s)
		for _, change := range []string{"a/b/c = 1", "a/b/c = 22", "e/new/deep/file = x", "f = y"} {
			s.change(change)
			b.eventually(s)
		}
		s.remove("a/b")
		b.eventually(s)
		require.NoError(t, stop())
		b.requireIdle()
	}, "a/b/c = one", "e/f = three")
}

// A change costs one answer for the listings and one for the file.
func TestRunNeedsTwoAnswersForAChange(t *testing.T) {
	s := watched(t, "a/b/c/d = one", "e/f = two")
	b := newBench(t, "")
	b.server = serveTree(t, s.root)
	b.config.Source = b.server.URL
	b.start()
	b.eventually(s)
	require.True(t, assertEventually(func() bool { return lastAsked(b.server, "since") }))
	b.server.requests()
	s.change("a/b/c/d = changed")
	b.eventually(s)
	require.True(t, assertEventually(func() bool { return lastAsked(b.server, "since") }))
	asked := b.server.requests()
	require.Len(t, asked, 2, "%q", asked)
	require.Equal(t, "GET /a/b/c/d", asked[0])
	require.Contains(t, asked[1], "/?txt&since=")
}

func lastAsked(s *server, what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked) > 0 && strings.Contains(s.asked[len(s.asked)-1], what)
}

// Without a change there is one request per poll, and nothing is written.
func TestRunIsIdle(t *testing.T) {
	s := watched(t, "a/b = one")
	b := newBench(t, "")
	b.server = serveTree(t, s.root)
	b.config.Source = b.server.URL
	b.start()
	b.eventually(s)
	require.True(t, assertEventually(func() bool { return lastAsked(b.server, "since") }))
	before, err := os.ReadFile(b.path(".tidemark/status.json"))
	require.NoError(t, err)
	info, err := os.Stat(b.path(".tidemark/status.json"))
	require.NoError(t, err)
	n := len(b.server.requests())
	require.Equal(t, 4, n, "root, a, the file, the poll")
	after, err := os.ReadFile(b.path(".tidemark/status.json"))
	require.NoError(t, err)
	again, err := os.Stat(b.path(".tidemark/status.json"))
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Equal(t, info.ModTime(), again.ModTime())
}
