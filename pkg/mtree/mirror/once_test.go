package mirror

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnceCopiesATree(t *testing.T) {
	s := watched(t,
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
	b := newBench(t, s.root)
	b.equal(s)
	require.Contains(t, b.out.String(), "fetched 7 files")
	b.requireIdle()
}

func TestOnceFollowsChanges(t *testing.T) {
	s := watched(t, "a/b/c = one", "a/d = two", "e/f = three", "g = four")
	b := newBench(t, s.root)
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
}
