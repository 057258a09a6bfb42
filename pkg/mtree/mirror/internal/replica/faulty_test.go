package replica

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// faulty is a machine in memory of which single calls fail. The copy is /copy.
type faulty struct {
	*faultkernel.Kernel
	t   *testing.T
	log bytes.Buffer
}

// newFaulty simulates a machine on which mirror runs as a user.
func newFaulty(t *testing.T, o simkernel.Options, uid uint32) *faulty {
	k := &faulty{Kernel: faultkernel.New(t, uid), t: t}
	k.Machine.Granule, k.Machine.NoXattrs, k.Machine.First = max(o.Granule, 1), o.NoXattrs, o.First
	require.NoError(t, k.Shell.Mkdir("/copy", 0o755))
	require.NoError(t, k.Shell.Chown("/copy", int(uid)))
	return k
}

// options returns those of /copy.
func (k *faulty) options() *Options {
	return &Options{Path: "/copy", Log: slog.New(slog.NewTextHandler(&k.log, nil)), Now: machine.Now}
}

// replica opens the copy.
func (k *faulty) replica() *Replica {
	k.t.Helper()
	r, err := Open(k.options())
	require.NoError(k.t, err)
	k.t.Cleanup(r.Close)
	k.Made("")
	return r
}

// simulated returns a new copy on a machine in memory.
func simulated(t *testing.T) (*faulty, *Replica) {
	k := newFaulty(t, simkernel.Options{}, 0)
	return k, k.replica()
}

// tree makes files, and directories, whose paths end in a slash; all below /copy.
func (k *faulty) tree(paths ...string) {
	k.t.Helper()
	for _, path := range paths {
		if path[len(path)-1] == '/' {
			require.NoError(k.t, k.Shell.Mkdir("/copy/"+path[:len(path)-1], 0o755), path)
		} else {
			require.NoError(k.t, k.Shell.Write("/copy/"+path, path), path)
		}
	}
}

// dir opens a directory of the copy.
func (k *faulty) dir(r *Replica, path string) *disk.Dir {
	k.t.Helper()
	dir, err := r.Dir(path)
	require.NoError(k.t, err)
	k.t.Cleanup(func() { _ = dir.Close() })
	return dir
}

// record returns the record of a directory of the copy.
func (k *faulty) record(r *Replica, path string) (records.Record, bool) {
	record, ok, err := r.Record(k.dir(r, path), path)
	require.NoError(k.t, err)
	return record, ok
}

// complete gives a directory a record, and its stamp as mtime.
func (k *faulty) complete(r *Replica, path string, record records.Record) {
	k.t.Helper()
	dir := k.dir(r, path)
	require.NoError(k.t, r.SetRecord(dir, path, record))
	require.NoError(k.t, dir.SetTime(record.Stamp))
}

// entry returns an entry of the copy as a scan has it.
func (k *faulty) entry(dir *disk.Dir, name string) *mtree.Entry {
	k.t.Helper()
	info, err := dir.Stat(name)
	require.NoError(k.t, err)
	return &mtree.Entry{Name: name, Kind: info.Kind, MTime: info.MTime, CTime: info.CTime, Has: mtree.HasCTime}
}

// claimed makes it a copy, as the first claim does.
func (k *faulty) claimed(r *Replica) state.Tree {
	k.t.Helper()
	tree := state.Tree{ID: state.NewTreeID(), Role: state.Copy}
	tree.Bind(r.Self)
	require.NoError(k.t, r.SetTree(tree))
	return tree
}
