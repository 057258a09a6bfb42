package mirror

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// Parts are asked for where nothing is held, and into a copy that keeps names and times.
func TestWhenPartsAreAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		held, folds bool
		granule     time.Duration
		asks        bool
	}{
		"any copy":          {granule: 1, asks: true},
		"something is held": {granule: 1, held: true},
		"case is ignored":   {granule: 1, folds: true},
		"times are coarse":  {granule: 100},
	} {
		r := &replica.Replica{Staging: &disk.Staging{Folds: c.folds}}
		r.Times.Granule = c.granule
		d := &daemon{mirror: &mirror{replica: r}, held: c.held}
		require.Equal(t, c.asks, d.takesParts(), name)
	}

	s, b := overHTTP(t, "a/f = one")
	b.start()
	b.eventually(s)
	b.server.awaitPoll()
	for i, asked := range b.server.requests() {
		require.Equal(t, strings.Contains(asked, "since="), strings.Contains(asked, "part=1"), asked)
		require.False(t, i == 0 && strings.Contains(asked, "part=1"), "the first pass after a start")
	}
}

// answering is a source that answers polls with a part of a root, and other requests with the
// whole.
type answering struct {
	origin
	root  source.Root
	polls []source.Poll
}

func (a *answering) Root(_ context.Context, poll source.Poll) (source.Root, error) {
	a.polls = append(a.polls, poll)
	root := a.root
	if poll.Since == nil {
		root.Part = nil
	}
	return root, nil
}

// If the root is not as in the last pass, a part of it is not enough to find out what that means.
func TestAPartOfAnotherTree(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	b.equal(s)
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	for name, change := range map[string]func(a *source.Root){
		"the same": nil,

		"another tree":      func(a *source.Root) { a.Tree.ID = strings.Repeat("b", 32) },
		"another epoch":     func(a *source.Root) { a.Tree.Epoch++ },
		"another directory": func(a *source.Root) { a.TreePath = "/x" },
		"another state":     func(a *source.Root) { a.State = wire.Auditing },
		"another run":       func(a *source.Root) { a.Runs = []wire.Run{{ID: "b"}} },
		"other options":     func(a *source.Root) { a.Fingerprint = "f" },
	} {
		root := source.Root{State: wire.Watched, TreePath: "/", Runs: []wire.Run{{ID: "a"}}, Validator: "v", Unread: 1}
		root.Tree, root.Fingerprint, root.Stamp = source.Tree{ID: strings.Repeat("a", 32), Epoch: 5}, "e", mtree.Unix(5, 0)
		d := &daemon{mirror: m, begun: true, known: knownOf(&root)}
		root.Stamp, root.Validator, root.Unread = mtree.Unix(6, 0), "w", 0
		root.Part = []mtree.Span{{From: mtree.Unix(5, 0), To: mtree.Unix(5, 0)}}
		if change != nil {
			change(&root)
		}
		was := m.source
		from := &answering{origin: was, root: root}
		m.source = from
		a, err := d.await(t.Context())
		m.source = was
		require.NoError(t, err, name)
		require.Equal(t, change == nil, a.IsPart(), name)
		require.Equal(t, change == nil, len(from.polls) == 1, name)
		require.True(t, from.polls[0].Parts, name)
	}
}

// Passes begin with a gap between them, but a change that comes alone does not wait.
func TestPassesKeepADistance(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	b.equal(s)
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	for ago, waits := range map[time.Duration]bool{0: true, passGap + time.Second: false} {
		root := source.Root{State: wire.Watched}
		d := &daemon{mirror: m, begun: true, known: knownOf(&root), started: time.Now().Add(-ago)}
		root.Stamp = mtree.Unix(6, 0)
		was := m.source
		m.source = &answering{origin: was, root: root}
		began := d.started
		_, err := d.await(t.Context())
		m.source = was
		require.NoError(t, err)
		if waits {
			require.GreaterOrEqual(t, time.Since(began), passGap-time.Millisecond)
		}
	}
}
