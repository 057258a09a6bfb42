package replica

import (
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/mirror/internal/backup"
)

// kept returns a copy with a backup directory, on a file system without hard links: entries exchange
// their names with what was there.
func kept(t *testing.T) (*faulty, *Replica) {
	k, r := simulated(t)
	k.NoLinks = true
	b, err := backup.Open(&backup.Options{
		Dir: backup.Inside, Dest: "/copy", Root: r.Root, Staging: r.Staging, Log: slog.New(slog.DiscardHandler), Now: machine.Now, Kept: new(atomic.Int64),
	})
	require.NoError(t, err)
	r.Backup = b
	require.NoError(t, b.Begin(machine.Now()))
	return k, r
}

// A file or symlink whose name is expected to be free takes the place of no other spelling of it. That would
// leave the backup for the copy's only name of another file.
func TestAnotherSpellingIsNotExchanged(t *testing.T) {
	k, r := kept(t)
	k.tree("d/")
	require.NoError(t, k.Shell.Fold("/copy/d"))
	k.tree("d/README")
	dir := k.dir(r, "d")
	file := func(name string, free bool) error {
		temp, err := r.Staging.Create(dir, name, free, 0o644)
		require.NoError(t, err)
		defer temp.Discard()
		_, err = temp.Write([]byte(name))
		require.NoError(t, err)
		return r.Place(temp, dir, "d/"+name)
	}
	link := func(name string, free bool) error {
		staged, err := r.Staging.Symlink("to")
		require.NoError(t, err)
		return r.PlaceStaged(staged, dir, "d/"+name, free)
	}
	for _, place := range []func(name string, free bool) error{file, link} {
		require.ErrorIs(t, place("readme", true), disk.ErrCollides)
		require.Equal(t, []string{"/d/README"}, k.names("/d"))
		text, err := k.Shell.Read("/copy/d/README")
		require.NoError(t, err)
		require.Equal(t, "d/README", text)
		require.NoError(t, place("new", true))
		require.Contains(t, k.names("/d"), "/d/new")
		require.NoError(t, k.Shell.Remove("/copy/d/new"))
	}
	require.NoError(t, file("README", true), "somebody else made it meanwhile")
	text, err := k.Shell.Read("/copy/d/README")
	require.NoError(t, err)
	require.Equal(t, "README", text)
	require.NoError(t, link("README", false))
}
