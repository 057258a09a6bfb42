package changed

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// newChanges publishes a tree in a machine in memory, of which a batch is in the journal. It
// returns what answers ?changes after the batch before.
func newChanges(t *testing.T) (k *faultkernel.Kernel, changes func() (string, error)) {
	k, reader, write := newParts(t, "/tree/x", "/tree/a/b/x", "/tree/c/x")
	write(told("", "x"))
	write(told("", "a/", "c/", "x"), told("a", "b/"), told("a/b", "x"), told("c", "x"))
	snap := reader.Tree.Now()
	last, err := Last(reader.Tree, snap)
	require.NoError(t, err)
	require.EqualValues(t, 2, last.Number)
	return k, func() (string, error) {
		body, err := Names(reader.Tree, snap, Position{last.Run, 1}, func(error) {})
		names, _, _ := strings.Cut(string(body), "#next ")
		return names, err
	}
}

// A name that cannot be looked at made the whole answer an error, again and again. It is told as one
// of its directory that is not known. A machine out of descriptors passes: neither is everything
// to be looked at then, nor is anything told that may be known in a moment.
func TestCallsOfChangesThatFail(t *testing.T) {
	const all = "a/\nc/\nx\na/b/\na/b/x\nc/x\n"
	for _, c := range []struct {
		call string
		why  unix.Errno
		want string // "": an error
		gone bool
	}{
		{"none", unix.EIO, all, false},
		{"statx x", unix.EIO, "./\na/b/\nc/\n", false},
		{"open b", unix.EIO, "a/\nc/\nx\na/b/\na/b/**\nc/x\n", false},
		{"open a", unix.EIO, "a/\nc/\nx\na/**\nc/x\n", false},
		{"open journal.0", unix.EIO, "", true},
		{"open journal.0", unix.EMFILE, "", false},
		{"open a", unix.EMFILE, "", false},
		{"open b", unix.ENOMEM, "", false},
		{"statx x", unix.ENOMEM, "", false},
	} {
		k, changes := newChanges(t)
		k.Refuse(c.call, c.why, -1)
		names, err := changes()
		if c.want != "" {
			require.NoError(t, err, c)
			require.Equal(t, c.want, names, c)
			continue
		}
		require.True(t, errors.Is(err, c.why), c)
		require.Equal(t, c.gone, IsGone(err), c)
	}
}
