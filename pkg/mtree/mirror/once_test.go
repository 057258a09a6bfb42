package mirror

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/wire"
)

// eachSource runs a test over a local directory and over HTTP.
func eachSource(t *testing.T, test func(t *testing.T, s *tree, b *bench), lines ...string) {
	t.Run("directory", func(t *testing.T) {
		s := watched(t, lines...)
		test(t, s, newBench(t, s.root))
	})
	t.Run("http", func(t *testing.T) {
		s, b := overHTTP(t, lines...)
		test(t, s, b)
	})
}

func TestOnceCopiesATree(t *testing.T) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		b.equal(s)
		require.Contains(t, b.out.String(), "fetched 7 files")
		b.requireIdle()
	},
		"a/b/c = text",
		"a/run = #!/bin/sh mode=0755",
		"a/secret = x mode=0600",
		"empty/",
		"old = was here @1.000000005",
		"future = later @4102444800.5",
		"link -> a/run",
		"a/up -> ../old",
		`"odd \n\"%\xff 名" = odd`,
		".hidden/file = dot",
	)
}

func TestOnceFollowsChanges(t *testing.T) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		b.equal(s)
		s.change("a/b/c = changed", "a/b/new = here")
		b.equal(s)
		require.Contains(t, b.out.String(), "listed 3 directories, fetched 2 files", "e is pruned")
		s.remove("a/d")
		s.remove("e")
		b.equal(s)
		require.Contains(t, b.out.String(), "deleted 3")
		require.NoError(t, os.Chmod(s.path("g"), 0o700))
		s.publish("g")
		b.equal(s)
		require.Contains(t, b.out.String(), "fetched 0 files")
		b.requireIdle()
	}, "a/b/c = one", "a/d = two", "e/f = three", "g = four")
}

func TestOnceSwapsTypes(t *testing.T) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		b.equal(s)
		for _, path := range []string{"file", "dir", "link", "full"} {
			require.NoError(t, os.RemoveAll(s.path(path)))
		}
		s.change("file/now/a = directory", "dir = now a file", "link = now a file", "full -> file", "filled/")
		b.equal(s)
		b.requireIdle()
		for _, path := range []string{"file", "full"} {
			require.NoError(t, os.RemoveAll(s.path(path)))
		}
		s.change("file -> dir", "full/is = here")
		b.equal(s)
		b.requireIdle()
	}, "file = x", "dir/", "link -> dir", "full/of/things = x", "full/y = z")
}

func TestOnceRestoresReadOnlyDirectories(t *testing.T) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		b.equal(s)
		s.change("locked/in/file = changed", "locked/in/new = x")
		require.NoError(t, os.Chmod(s.path("locked/in"), 0o500))
		b.equal(s)
		b.requireIdle()
	}, "locked/in/file = x", "locked/in/ mode=0555", "locked/ mode=0555")
}

// The stamps of a source that nobody watches prove nothing: everything is compared each time, and
// a change in place is found.
func TestOnceWalksWhereStampsDoNotPrune(t *testing.T) {
	s := newTree(t, "a/b/c = one")
	b := newBench(t, s.root)
	b.equal(s)
	require.NoError(t, os.WriteFile(s.path("a/b/c"), []byte("two"), 0o644))
	b.equal(s)
	require.Contains(t, b.out.String(), "listed 3 directories, fetched 1 files")
	require.EqualValues(t, 2, b.stats.Walks.Load())
	before := b.status()
	b.equal(s)
	require.Contains(t, b.out.String(), "fetched 0 files")
	require.Equal(t, before.Updated, b.status().Updated, "nothing new, nothing written")
}

// A source without an id gets one from its first watch. Its copy stays its copy.
func TestOnceTakesOverTheIDOfAFirstWatch(t *testing.T) {
	s := newTree(t, "a/b = one")
	b := newBench(t, s.root)
	b.equal(s)
	s.watch()
	b.equal(s)
	require.Contains(t, b.out.String(), "listed 2 directories, fetched 0 files")
	require.Equal(t, s.id.ID, b.published().Tree.ID)
	b.requireIdle()
	require.Equal(t, wire.Stale, b.published().State)
}

// A source that changes all the time leaves an incomplete copy, and Once reports that.
func TestOnceSaysThatTheCopyIsIncomplete(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	hot := func(body string) string { return strings.Replace(body, "\t-", "\t-\thot=1", 1) }
	b.server.alter("/a/?txt", hot)
	err := b.once()
	require.Equal(t, exit.Failed, exit.Of(err), "%v", err)
	require.ErrorContains(t, err, "incomplete")
	looks := 0
	b.server.alter("/a/?txt", func(body string) string {
		if looks++; looks == 1 {
			return hot(body)
		}
		return body
	})
	b.equal(s)
	require.Equal(t, 2, looks, "it looks again by itself")
}
