package fetch

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// Times by the source's clock.
var (
	longAgo = mtree.Unix(900_000_000, 5)         // of its files
	now     = mtree.Unix(1_000_000_000+3_600, 0) // when a directory is listed
	changed = now.Add(time.Second)               // when a file of it is
)

const (
	ours   = "00000000000000aa" // the id of the directory
	theirs = "00000000000000bb"
)

var errAway = errors.New("the source does not answer")

// newCopy returns what writes to an empty copy.
func newCopy(t *testing.T) Writer { return openCopy(t, t.TempDir()) }

// newFaultyCopy returns what writes to an empty copy in memory, and its disk, of which calls may fail.
func newFaultyCopy(t *testing.T) (Writer, *faultkernel.Kernel) {
	k := faultkernel.New(t, 0)
	require.NoError(t, k.Shell.Mkdir("/copy", 0o755))
	return openCopy(t, "/copy"), k
}

func openCopy(t *testing.T, path string) Writer {
	r, err := replica.Open(&replica.Options{Path: path, Log: slog.New(slog.DiscardHandler), Now: machine.Now})
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return Writer{Replica: r, BeforeChange: func() {}}
}

// entry returns an entry of a listing.
func entry(kind mtree.Kind, name string) mtree.Entry {
	e := mtree.Entry{Name: name, Kind: kind, MTime: longAgo, Mode: 0o644, Has: mtree.HasMode}
	if kind == mtree.Dir {
		e.Mode, e.MTime = 0o755, now
	}
	return e
}

func file(name string) mtree.Entry { return entry(mtree.File, name) }
func dir(name string) mtree.Entry  { return entry(mtree.Dir, name) }
