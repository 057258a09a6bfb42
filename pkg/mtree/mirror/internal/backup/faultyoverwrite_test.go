package backup

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
)

// Where there is nothing to be kept the new entry is put, and what that says is returned.
func TestOverwriteOfWhatIsNotKept(t *testing.T) {
	k := opened(t, 0, "/copy/d/", "/copy/f")
	for _, name := range []string{"d", "none"} {
		for _, says := range []error{nil, unix.EIO} {
			done, err := k.b.Overwrite(k.root, name, name, func() error { return says })
			require.True(t, done)
			require.Equal(t, says, err, name)
		}
	}
	placed := func() error { t.Error("nothing is known of what is there"); return nil }
	for _, call := range []string{"statx f", "link f"} {
		k.Refuse(call, unix.EIO, 1)
		done, err := k.b.Overwrite(k.root, "f", "f", placed)
		require.ErrorIs(t, err, unix.EIO, call)
		require.False(t, done)
	}
	require.Empty(t, k.kept())
}

// An entry that gets no second name is left to Exchange.
func TestOverwriteWithoutSecondNames(t *testing.T) {
	k := opened(t, 0, "/copy/f")
	k.Refuse("link f", unix.EMLINK, 1)
	done, err := k.b.Overwrite(k.root, "f", "f", func() error { t.Error("it would be lost"); return nil })
	require.NoError(t, err)
	require.False(t, done)
	require.Empty(t, k.kept())
	require.Zero(t, k.o.Kept.Load())
}

// What vanishes before it gets a second name is not kept. One that vanishes later is.
func TestOverwriteOfWhatVanishes(t *testing.T) {
	k := opened(t, 0, "/copy/f", "/copy/g")
	placed := 0
	place := func() error { placed++; return nil }
	k.before("link f", 1, func() { require.NoError(t, k.Shell.Remove("/copy/f")) })
	done, err := k.b.Overwrite(k.root, "f", "f", place)
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, 1, placed)
	require.Zero(t, k.o.Kept.Load())
	k.RefuseNth("statx g", 2, unix.ENOENT)
	done, err = k.b.Overwrite(k.root, "g", "g", place)
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, 2, placed)
	require.EqualValues(t, 1, k.o.Kept.Load())
	require.Equal(t, []string{"g"}, k.kept())
}

// Directories are exchanged, too, also those that may not be written to.
func TestExchangeOfWhatIsClosed(t *testing.T) {
	for _, mode := range []uint32{0o755, 0o555} {
		k := closed(t)
		require.NoError(t, k.Shell.Chmod("/copy/open", mode))
		require.NoError(t, k.b.Exchange(k.o.Staging.Dir(), "n", k.root, "open", "open", 2))
		require.Equal(t, []string{"open", "open/f"}, k.kept())
		require.EqualValues(t, mode, k.mode(k.turn()+"/open"))
		require.EqualValues(t, 2, k.o.Kept.Load())
		text, err := k.Shell.Read("/copy/open")
		require.NoError(t, err)
		require.Equal(t, "x", text)
		require.EqualValues(t, 0o644, k.mode("/copy/open"))
		k.b.Close()
	}
}

// What fails leaves everything as it was.
func TestAnExchangeWhoseCallsFail(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		fail fails
		done bool
	}{
		"a file":                  {"f", fails{"rename f": {2: unix.EPERM}}, false},
		"the disk fails":          {"open", fails{"rename open": {2: unix.EIO}}, false},
		"the staged one":          {"open", fails{"rename open": {1: unix.EIO}}, false},
		"denied twice":            {"open", fails{"rename open": {3: unix.EACCES}}, false},
		"may not be accessible":   {"open", fails{"rename open": {2: unix.EACCES}, "chmod open": {1: unix.EPERM}}, false},
		"stays accessible":        {"open", fails{"chmod open": {2: unix.EIO}}, true},
		"no exchange":             {"f", fails{"rename f": {2: unix.EINVAL}}, true},
		"no exchange, nor a move": {"f", fails{"rename f": {2: unix.ENOSYS, 3: unix.EIO}}, false},
		"nor a place":             {"f", fails{"rename f": {2: unix.EINVAL, 4: unix.EIO}}, false},
		"nor a look":              {"f", fails{"statx f": {1: unix.EIO}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			k := closed(t)
			require.NoError(t, k.Shell.Chmod("/copy/open", 0o555))
			before := k.all("/copy")
			k.Fail = c.fail.each()
			err := k.b.Exchange(k.o.Staging.Dir(), "n", k.root, c.path, c.path, 1)
			k.Fail = nil
			require.Equal(t, before[0], k.all("/copy")[0])
			if c.done {
				require.Contains(t, k.kept(), c.path)
				require.Equal(t, c.path == "open", err != nil)
				require.Empty(t, k.Shell.Names("/copy/.tidemark/tmp"))
				return
			}
			require.Error(t, err)
			require.Equal(t, before, k.all("/copy"))
			require.Equal(t, []string{"n"}, k.Shell.Names("/copy/.tidemark/tmp"))
			require.Empty(t, k.kept())
			require.Zero(t, k.o.Kept.Load())
			require.EqualValues(t, 0o555, k.mode("/copy/open"))
			text, err := k.Shell.Read("/copy/f")
			require.NoError(t, err)
			require.Equal(t, "x", text)
		})
	}
	k := closed(t)
	require.NoError(t, k.Shell.Chmod("/copy/open", 0o755))
	k.Fail = fails{"rename open": {2: unix.EACCES}, "chmod open": {1: unix.EPERM}}.each()
	require.ErrorIs(t, k.b.Exchange(k.o.Staging.Dir(), "n", k.root, "open", "open", 2), unix.EACCES, "it is not tried again")
	k.RefuseNth("rename open", 2, unix.EIO)
	_, err := k.b.Replace(k.o.Staging.Dir(), "n", k.root, "open", disk.Prune{Path: "open"})
	require.ErrorIs(t, err, unix.EIO)
}
