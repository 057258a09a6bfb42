package mirror

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

// rights returns mode and owner of each path of the copy.
func (b *bench) rights(paths ...string) string {
	b.t.Helper()
	var all []string
	for _, path := range paths {
		info, err := os.Lstat(b.path(path))
		require.NoError(b.t, err)
		is := info.Sys().(*syscall.Stat_t)
		all = append(all, fmt.Sprintf("%o %d:%d", info.Mode().Perm(), is.Uid, is.Gid))
	}
	return strings.Join(all, ", ")
}

// Entries get the modes and owners of --chmod and --chown before they have their names, and keep them
// over changes at the source. Other options reach the whole copy, and so does leaving them out.
func TestRightsOfACopy(t *testing.T) {
	for _, kind := range []string{"HTTP", "local"} {
		t.Run(kind, func(t *testing.T) {
			s, b := overHTTP(t, "d/f = x", "d/e/g = y", "l -> d/f")
			if kind == "local" {
				b.config.Source = s.root
			}
			for path, mode := range map[string]os.FileMode{"d/f": 0o600, "d/e/g": 0o777, "d": 0o700, "d/e": 0o755} {
				require.NoError(t, os.Chmod(s.path(path), mode))
			}
			s.publish("d/e")
			s.publish("d")
			all := []string{"d", "d/f", "d/e", "d/e/g"}
			idle := func() {
				b.out.Reset()
				require.NoError(t, b.once())
				require.Contains(t, b.out.String(), "listed 0 directories")
			}
			b.config.Chmod, b.config.Chown = []string{"D750,F640", "Fo+r"}, "7:8"
			require.NoError(t, b.once())
			require.Equal(t, "750 7:8, 644 7:8, 750 7:8, 644 7:8", b.rights(all...))
			require.Equal(t, "777 7:8", b.rights("l"))
			idle()

			s.change("d/f = changed", "d/new/n = z")
			require.NoError(t, os.Chmod(s.path("d/e/g"), 0o400))
			s.publish("d/e")
			s.publish("d")
			require.NoError(t, b.once())
			require.Equal(t, "644 7:8, 750 7:8, 644 7:8, 644 7:8", b.rights("d/f", "d/new", "d/new/n", "d/e/g"))
			idle()

			b.config.Chmod, b.config.Chown = []string{"u=rwX,go="}, ""
			require.NoError(t, b.once())
			require.Equal(t, "700 7:8, 600 7:8, 700 7:8, 600 7:8", b.rights(all...), "owners that nobody sets stay")
			idle()
			b.config.Chmod = nil
			require.NoError(t, b.once())
			require.Equal(t, "700 7:8, 600 7:8, 755 7:8, 400 7:8", b.rights(all...))
			idle()
		})
	}
}

// --verify went by the modes of the source, and --repair would have given them to the copy.
func TestRightsOfACopyAreRecalled(t *testing.T) {
	_, b := overHTTP(t, "d/f = x")
	b.config.Chmod, b.config.Chown = []string{"D711,F604"}, "7:8"
	require.NoError(t, b.once())
	for _, repair := range []bool{false, true} {
		require.NoError(t, Verify(t.Context(), Config{Dest: b.config.Dest, Log: b.config.Log, Out: &b.out}, repair))
		require.Equal(t, "711 7:8, 604 7:8", b.rights("d", "d/f"))
	}
	// One of both took the other's place: what --repair fetched was mirror's own, or had the modes of the source.
	for _, set := range []func(c *Config){
		func(c *Config) { c.Chmod = []string{"D711,F604"} },
		func(c *Config) { c.Chown = "7:8" },
	} {
		c := Config{Dest: b.config.Dest, Log: b.config.Log, Out: &b.out}
		set(&c)
		require.NoError(t, os.Remove(b.path("d/f")))
		require.NoError(t, Verify(t.Context(), c, true))
		require.Equal(t, "711 7:8, 604 7:8", b.rights("d", "d/f"))
	}
	b.requireIdle()
}

// --verify named directories and symlinks with a wrong owner, and no files; so it said that there is nothing to repair.
func TestVerifyComparesOwners(t *testing.T) {
	s, b := overHTTP(t, "d/f = x", "d/g = y")
	require.NoError(t, os.Chown(s.path("d/g"), 5, 6))
	s.publish("d")
	require.NoError(t, b.once())
	require.NoError(t, os.Chown(b.path("d/f"), 3, 4))
	config := Config{Dest: b.config.Dest, Log: b.config.Log, Out: &b.out}
	require.NoError(t, Verify(t.Context(), config, false), "owners are the copy's own")

	b.config.Chown = "7:8"
	require.NoError(t, b.once())
	require.NoError(t, os.Chown(b.path("d/f"), 3, 4))
	for _, repair := range []bool{false, true} {
		b.out.Reset()
		require.Equal(t, repair, Verify(t.Context(), config, repair) == nil)
		require.Contains(t, b.out.String(), "mode of \"d/f\"\ncompared 2 directories, 2 files (2 bytes), 1 differ\n")
	}
	require.Equal(t, "7:8, 7:8", strings.ReplaceAll(b.rights("d/f", "d/g"), "644 ", ""))
}

// What cannot be read, or done, is refused before anything is made.
func TestRightsThatAreRefused(t *testing.T) {
	for _, set := range []func(c *Config){
		func(c *Config) { c.Chmod = []string{"D9"} },
		func(c *Config) { c.Chown = "nobody-has-this-name" },
	} {
		_, b := overHTTP(t, "f = x")
		set(&b.config)
		require.Equal(t, exit.Usage, exit.Of(b.once()))
		require.NoDirExists(t, b.config.Dest)
	}
}
