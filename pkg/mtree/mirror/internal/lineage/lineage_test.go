package lineage

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

const (
	ours   = "00000000000000000000000000000001" // the id of the tree
	theirs = "00000000000000000000000000000002"
	from   = "http://a"
)

// nowhere is a source that is on no disk here.
type nowhere struct{}

func (nowhere) List(context.Context, string, mtree.Stamp) (source.Dir, error) {
	return source.Dir{}, nil
}

func (nowhere) Serves(context.Context, string, []byte) bool { return false }

// bench is a lineage with a copy in a directory of its own.
type bench struct {
	*Lineage
	t      *testing.T
	path   string
	log    *bytes.Buffer
	pauses int
}

// newBench opens the copy at path, or a new one.
func newBench(t *testing.T, path string, o Options, ro replica.Options) *bench {
	if path == "" {
		path = t.TempDir()
	}
	b := &bench{t: t, path: path, log: &bytes.Buffer{}}
	o.Log = slog.New(slog.NewTextHandler(b.log, nil))
	if o.Upstream == "" {
		o.Upstream = from
	}
	ro.Path, ro.Log, ro.Now = path, o.Log, machine.Now
	r, err := replica.Open(&ro)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	b.Lineage = New(o, nowhere{})
	b.pause = func(time.Duration) { b.pauses++ }
	require.NoError(t, b.SetReplica(r))
	return b
}

// made returns a bench whose copy was claimed from the tree ours, and completed.
func made(t *testing.T, o Options) *bench {
	b := newBench(t, "", o, replica.Options{})
	b.claim(rootOf(func(*source.Root) {}))
	b.complete()
	return b
}

// complete is the end of a full walk.
func (b *bench) complete() {
	record := records.Record{Stamp: mtree.Unix(100, 0)}
	require.NoError(b.t, b.replica.SetRecord(b.replica.Root, "", record))
	b.log.Reset()
	b.pauses = 0
}

// set changes the tree of the copy.
func (b *bench) set(change func(*state.Tree)) {
	tree := b.replica.Tree()
	change(&tree)
	require.NoError(b.t, b.replica.SetTree(tree))
}

// claim claims, and returns what the pass may do.
func (b *bench) claim(root *source.Root) Claim {
	b.t.Helper()
	claim, err := b.Claim(context.Background(), root)
	require.NoError(b.t, err)
	return claim
}

// rootOf returns the root of the tree ours, changed.
func rootOf(change func(*source.Root)) *source.Root {
	root := &source.Root{State: wire.Watched, TreePath: "/", Runs: []wire.Run{{ID: "0000000000000001"}}}
	root.Tree = source.Tree{ID: ours, Epoch: 5}
	root.Stamp, root.Fingerprint = mtree.Unix(100, 0), "e"
	change(root)
	return root
}
