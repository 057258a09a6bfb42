package mirror

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

// repair runs Verify, which mends, by what the copy itself knows.
func (b *bench) repair(set func(c *Config)) error {
	b.t.Helper()
	b.out.Reset()
	c := Config{Dest: b.config.Dest, Log: b.config.Log, Out: &b.out}
	if set != nil {
		set(&c)
	}
	err := Verify(b.t.Context(), c, true)
	b.t.Logf("%s(%v)", b.out.String(), err)
	return err
}

// --repair knew nothing of the mirror's --max-delete, and carried out what that held.
func TestARepairHoldsWhatItsMirrorHolds(t *testing.T) {
	limit := func(text string) func(c *Config) { return func(c *Config) { c.MaxDelete = text } }
	for name, held := range map[string]bool{"held before": true, "new": false} {
		t.Run(name, func(t *testing.T) {
			s, b := overHTTP(t, "a/f = x", "z/1 = x", "z/2 = x", "z/3 = x")
			b.config.MaxDelete = "1"
			b.equal(s)
			s.remove("z")
			if held {
				require.Equal(t, exit.Held, exit.Of(b.once()))
			}
			for range 2 {
				require.Equal(t, exit.Held, exit.Of(b.repair(nil)))
				require.FileExists(t, b.path("z/1"))
			}
			require.Equal(t, exit.Held, exit.Of(b.repair(limit("2"))))
			require.Equal(t, "1\n", b.read(".tidemark/max-delete"), "what is given once is not remembered")
			require.NoError(t, b.repair(limit("4")))
			b.same(s)
		})
	}
	s, b := overHTTP(t, "a/f = x", "z/1 = x", "z/2 = x", "z/3 = x")
	b.config.MaxDelete = "1"
	b.equal(s)
	b.config.MaxDelete = ""
	b.equal(s)
	require.NoFileExists(t, b.path(".tidemark/max-delete"))
	s.remove("z")
	require.NoError(t, b.repair(nil))
	require.NoError(t, os.WriteFile(b.path(".tidemark/max-delete"), []byte("nonsense"), 0o644))
	require.NoError(t, os.WriteFile(b.path("extra"), nil, 0o644))
	require.Equal(t, exit.Local, exit.Of(b.repair(nil)))
	require.NoError(t, b.repair(limit("50%")))
	b.equal(s)
}

// --print told nothing of what --repair and --release did.
func TestPrintOfARepair(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "a/g = y", "b = z")
	b.equal(s)
	var out bytes.Buffer
	prints := func(c *Config) { c.Print = &out }
	require.NoError(t, b.repair(prints))
	require.Empty(t, out.String())

	(&tree{t: t, root: b.config.Dest}).forge("a/f", "1")
	require.NoError(t, os.Remove(b.path("a/g")))
	require.NoError(t, os.WriteFile(b.path("extra"), nil, 0o644))
	require.NoError(t, b.repair(prints))
	require.Empty(t, b.out.String(), "what differs is in the log")
	root := b.rootStamp()
	require.ElementsMatch(t, []string{root + "\tupdate\ta/f", root + "\tcreate\ta/g", root + "\tdelete\textra"}, strings.Split(strings.TrimSpace(out.String()), "\n"))

	require.Equal(t, exit.Usage, exit.Of(b.repair(func(c *Config) { c.PrintFormat = "xml" })))
	require.NoError(t, os.WriteFile(b.path("extra"), nil, 0o644))
	require.ErrorContains(t, b.repair(func(c *Config) { c.Print = gone{} }), "--print")
	require.NoFileExists(t, b.path("extra"))
}

func TestPrintOfARelease(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "z/1 = x", "z/2 = x", "y = y", "w/keeps = k", "w/goes = g")
	b.config.Filters = []string{"- keeps"}
	b.config.MaxDelete = "1"
	require.NoError(t, b.once())
	require.NoError(t, os.WriteFile(b.path("w/keeps"), nil, 0o644))
	s.remove("z")
	s.remove("y")
	s.remove("w")
	require.Equal(t, exit.Held, exit.Of(b.once()))
	root := b.status().Root.String()
	var out bytes.Buffer
	b.out.Reset()
	c := Config{Dest: b.config.Dest, Log: b.config.Log, Out: &b.out, Print: &out}
	require.NoError(t, Release(t.Context(), c))
	require.Empty(t, b.out.String())
	require.ElementsMatch(t, []string{root + "\tdelete\ty", root + "\tdelete\tz/", root + "\tupdate\tw/"}, strings.Split(strings.TrimSpace(out.String()), "\n"))
	c.PrintFormat = "xml"
	require.Equal(t, exit.Usage, exit.Of(Release(t.Context(), c)))
}
