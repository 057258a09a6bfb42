package audit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// One audit in place of two looks for what either of them would have found. It is slow only
// if nobody waits for either.
func TestJoin(t *testing.T) {
	for _, a := range []bool{false, true} {
		for _, b := range []bool{false, true} {
			require.Equal(t, a || b, Scope{All: a}.Join(Scope{All: b}).All)
			require.Equal(t, a || b, Scope{First: a}.Join(Scope{First: b}).First)
			require.Equal(t, a && b, Scope{Slow: a}.Join(Scope{Slow: b}).Slow)
		}
	}
	for _, c := range [][2]int64{{3, 7}, {7, 3}} {
		both := Scope{Since: at(c[0]), Before: at(c[1]), Floor: at(1)}.Join(Scope{Since: at(c[1]), Before: at(c[0]), Floor: at(2)})
		require.Equal(t, Scope{Since: at(3), Before: at(3), Floor: at(2)}, both)
	}
}

// Paths are built of names, from the root down.
func TestPaths(t *testing.T) {
	root := &visit{}
	a := &visit{parent: root, name: "a"}
	b := &visit{parent: a, name: "bcd"}
	c := &visit{parent: b, name: "e"}
	require.Equal(t, []string{"", "a", "a/bcd", "a/bcd/e"}, []string{root.path(), a.path(), b.path(), c.path()})
}
