package actions

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPaths(t *testing.T) {
	var p Paths
	require.Empty(t, p.Text())
	p.Add([]Line{
		{Action: Update, Path: "f"}, {Action: Create, Path: "d/"}, {Action: Hold, Path: "held"}, {Action: Skip, Path: "skipped"},
		{Action: Mode, Path: "a b"}, {Action: Rename, Path: "new", From: "old"}, {Action: Delete, Path: "d/"},
	})
	require.Equal(t, "a b\x00d/\x00f\x00new\x00old\x00", string(p.Text()))
	require.Equal(t, 5, p.Count())
	p.Clear()
	require.Zero(t, p.Count())
	p.AddAll()
	p.Add([]Line{{Action: Update, Path: "f"}})
	require.Equal(t, "./\x00", string(p.Text()))
	require.Equal(t, 1, p.Count())
	require.Empty(t, p.paths)
	p.Clear()
	p.Add([]Line{{Action: Update, Path: "f"}})
	require.Equal(t, "f\x00", string(p.Text()))
}

// Beyond the bound the root stands for all paths, and none is kept.
func TestPathsAreBounded(t *testing.T) {
	var p Paths
	for i := range maxPaths {
		p.Add([]Line{{Action: Create, Path: fmt.Sprint(i)}})
	}
	p.Add([]Line{{Action: Update, Path: "7"}}) // it is one of them
	require.Equal(t, maxPaths, p.Count())
	p.Add([]Line{{Action: Create, Path: "one more"}})
	require.Equal(t, "./\x00", string(p.Text()))
	require.Empty(t, p.paths)

	p.Clear()
	long := strings.Repeat("n", 1<<20)
	for i := range maxPathBytes >> 20 {
		require.Equal(t, i, p.Count())
		p.Add([]Line{{Action: Create, Path: fmt.Sprint(i) + long[1:]}})
	}
	require.Equal(t, maxPathBytes>>20, p.Count())
	p.Add([]Line{{Action: Create, Path: "f"}})
	require.Equal(t, "./\x00", string(p.Text()))
}
