package state

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/wire"
)

var errWrong = errors.New("no error, and a wrong answer")

// right returns err, or errWrong if there is none and the answer is not right.
func right(err error, is bool) error {
	if err == nil && !is {
		return errWrong
	}
	return err
}

// failing are the operations on a marker. Each ends with nothing open. may are the calls
// that may fail without a word, the answer being right nevertheless.
var failing = []struct {
	name string
	may  string
	do   func(m *Marker) error
}{
	{"create a marker", "statx .gitignore", func(m *Marker) error {
		made, err := CreateMarker(m.root, "")
		if err == nil {
			err = made.Close()
		}
		return err
	}},
	{"create a state directory", "", func(m *Marker) error {
		made, err := CreateMarker(m.root, "/state")
		if err == nil {
			err = made.Close()
		}
		return err
	}},
	{"replace a file", "", func(m *Marker) error {
		if err := WriteFile(m.dir, "file", []byte("text")); err != nil {
			return err
		}
		text, err := ReadFile(m.dir, "file")
		return right(err, string(text) == "text")
	}},
	{"tree", "", func(m *Marker) error {
		tree := Tree{ID: NewTreeID(), Epoch: 5}
		if err := m.WriteTree(tree); err != nil {
			return err
		}
		got, err := m.ReadTree()
		return right(err, tree.Same(got))
	}},
	{"tree of a root", "", func(m *Marker) error {
		got, err := OwnTree(m.root)
		return right(err, got.Epoch == 7)
	}},
	{"exceptions", "", func(m *Marker) error {
		for _, durable := range []bool{true, false} {
			err := m.WriteStamps(map[string]Refusal{"a": {1, mtree.Unix(5, 0)}}, 1, durable)
			if err == nil {
				err = m.WriteUnread(map[string]Unread{"b": {2, false}}, 1, durable)
			}
			if err != nil {
				return err
			}
		}
		have, err := m.ReadExceptions()
		return right(err, err != nil || len(have.Stamps) == 1 && len(have.Unread) == 1)
	}},
	{"own writes", "open left.0 read left.0 statx left.0 open left.1 read left.1 statx left.1", func(m *Marker) error {
		log, _, err := m.OpenOwnWrites()
		if err != nil {
			return err
		}
		err = log.Append(make([]OwnWrite, maxOwnWrites))
		if err == nil {
			err = log.Append(make([]OwnWrite, 1))
		}
		return errors.Join(err, log.Close())
	}},
	{"beacon", "chmod confirmed fcntl confirmed", func(m *Marker) error {
		b, err := m.CreateBeacon()
		if err != nil {
			return err
		}
		if err = b.Announce(5); err == nil {
			err = b.Announce(9)
		}
		n := int64(9)
		if err == nil {
			n, err = m.Announced()
		}
		return errors.Join(right(err, n == 9), b.Close())
	}},
	{"nothing announced", "", func(m *Marker) error {
		n, err := m.Announced()
		return right(err, n == 0)
	}},
	{"status", "", func(m *Marker) error {
		f, err := m.CreateStatus()
		if err != nil {
			return err
		}
		if err = f.Write(Status{State: wire.Watched}); err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		got, err := m.ReadStatus()
		return right(err, got.State == wire.Watched)
	}},
	{"lock", "flock tree chmod lock statx lock", func(m *Marker) error {
		l, err := m.Lock()
		if err != nil {
			return err
		}
		held, err := m.Locked()
		return errors.Join(right(err, held), l.Unlock())
	}},
	{"ask for the lock", "", func(m *Marker) error {
		held, err := m.Locked()
		return right(err, !held)
	}},
	{"what is published", "statfs tree", func(m *Marker) error {
		p, err := m.Published()
		return right(err, p.Tree.Epoch == 7)
	}},
	{"granule", "unlink probe", func(m *Marker) error {
		g, err := m.Granule()
		return right(err, g == 1)
	}},
	{"range of times", "unlink probe utimes probe statx probe", func(m *Marker) error {
		r, err := m.TimeRange()
		return right(err, r.Granule == 1)
	}},
	{"remove", "", func(m *Marker) error { return m.Remove("old") }},
	{"make way", "", func(m *Marker) error { return m.Vacate("link") }},
	{"directory", "", func(m *Marker) error {
		d, err := makeOwn(m.dir, "dir", 0o700)
		if err == nil {
			err = d.Close()
		}
		return err
	}},
	{"place", "statfs tree", func(m *Marker) error {
		place, err := PlaceOf(m.root)
		return right(err, place != "")
	}},
}

// A call of the disk that fails is told with the disk's own reason, or the answer is right
// without it. In either case nothing stays open or locked, no file of ours has lost what
// it held, and it works when it is tried again.
func TestEveryCallThatFails(t *testing.T) {
	for _, op := range failing {
		for n, failed := 0, "none"; failed != ""; n++ {
			k, m := newFaulty(t)
			require.NoError(t, m.WriteTree(Tree{ID: NewTreeID(), Epoch: 7}))
			require.NoError(t, WriteFile(m.dir, "old", nil))
			require.NoError(t, m.Remove(".gitignore"))
			require.NoError(t, k.Shell.Mkdir("/a", 0o755))
			require.NoError(t, k.Shell.Symlink("x", "/tree/.tidemark/link"))
			require.NoError(t, k.Shell.Write("/tree/.tidemark/left.0", strings.Repeat("x", ownWriteSize)))
			require.NoError(t, k.Shell.Write("/tree/.tidemark/status.json", strings.Repeat("x", statusSize+1)))
			if op.name == "what is published" {
				require.NoError(t, k.Shell.Remove("/tree/.tidemark/status.json"))
			}
			before, made := maps.Clone(k.Open), 0
			failed = "" // the last time none fails
			k.Fail = func(call string) error {
				if made++; made != n+1 {
					return nil
				}
				failed = call
				return unix.EIO
			}
			err := op.do(m)
			if err != nil || !mayFail(op.may, failed) {
				require.ErrorIs(t, err, unix.EIO, "%s: %s", op.name, failed)
			}
			require.Equal(t, before, k.Open, "%s: %s", op.name, failed)
			k.Fail = nil
			require.NoError(t, op.do(m), "%s, again after %s", op.name, failed)
			_, err = m.ReadTree()
			require.NoError(t, err)
		}
	}
}

// mayFail reports whether a call may fail without a word: one that only closes what was
// read, or concerns the second copy of the tree's identity.
func mayFail(may, call string) bool {
	what, name, _ := strings.Cut(call, " ")
	switch what {
	case "close", "setxattr", "getxattr", "": // "": none failed
		return true
	}
	return strings.Contains(" "+may+" ", " "+what+" "+name+" ")
}

// What closes a file of ours, or ends a lock, tells what the disk said to that.
func TestClosingTells(t *testing.T) {
	k, m := newFaulty(t)
	status, err := m.CreateStatus()
	require.NoError(t, err)
	log, _, err := m.OpenOwnWrites()
	require.NoError(t, err)
	beacon, err := m.CreateBeacon()
	require.NoError(t, err)
	lock, err := m.Lock()
	require.NoError(t, err)
	for _, c := range []struct {
		call  string
		close func() error
	}{
		{"close status.json", status.Close}, {"close left.0", log.Close}, {"close confirmed", beacon.Close},
		{"close lock", lock.Unlock}, {"close .tidemark", m.Close},
	} {
		k.Refuse(c.call, unix.EIO, 1)
		require.ErrorIs(t, c.close(), unix.EIO, c.call)
	}
	require.NoError(t, log.Close(), "closed already")
	require.Equal(t, []string{"tree"}, slices.Collect(maps.Values(k.Open)))
}

// newFaulty simulates a machine with a tree, and returns it with the tree's marker.
func newFaulty(t *testing.T) (*faultkernel.Kernel, *Marker) {
	k := faultkernel.New(t, 0)
	require.NoError(t, k.Shell.Mkdir("/tree", 0o755))
	root, err := disk.OpenRoot("/tree")
	require.NoError(t, err)
	m, err := CreateMarker(root, "")
	require.NoError(t, err)
	return k, m
}
