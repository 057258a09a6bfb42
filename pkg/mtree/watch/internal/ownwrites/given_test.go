package ownwrites_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// showing is fstat of a directory that shows a time.
func showing(sec int64) disk.Info {
	return disk.Info{MTime: at(sec), BTime: at(1), Node: disk.Node{Dev: 3, Ino: 4}}
}

func span(from, to int64) ownwrites.Stamps {
	return ownwrites.Stamps{From: at(from), To: at(to), Known: true}
}

// A reader's stamp between what we gave and what the directory shows was read in between.
// Where nothing is remembered, only what it shows proves anything.
func TestGiven(t *testing.T) {
	var g ownwrites.Given
	require.Equal(t, span(20, 20), g.Since(showing(20), 0, false))
	g.Put(showing(20), 0, at(30), mtree.MinStamp, ownwrites.Usual)
	require.Equal(t, span(30, 30), g.Since(showing(30), 0, false))
	require.Equal(t, span(30, 40), g.Since(showing(40), 0, true), "what is remembered holds also where not all is known")
	g.Put(showing(40), 0, at(50), mtree.MinStamp, ownwrites.Usual)
	require.Equal(t, span(50, 60), g.Since(showing(60), 0, false))
	g.Put(showing(60), 0, at(70), mtree.MinStamp, ownwrites.Refused)
	require.Equal(t, ownwrites.Stamps{Refused: true}, g.Since(showing(60), 0, false))
}

// After a loss a directory may have been set to any time, or have been replaced, and no audit
// has found it yet: what it shows proves nothing.
func TestNotRememberedWhileUnsure(t *testing.T) {
	var g ownwrites.Given
	require.False(t, g.Since(showing(20), 0, true).Known)
}

// What shows less than it was given was set back, and was read before that, and so does one
// that was given less than it had shown: until a stamp is above all that, no time between
// two of its stamps says when it was read.
func TestGivenBelowWhatItShowed(t *testing.T) {
	var g ownwrites.Given
	g.Put(showing(20), 0, at(30), mtree.MinStamp, ownwrites.Usual)
	require.False(t, g.Since(showing(29), 0, false).Known)
	require.True(t, g.Since(showing(30), 0, false).Known)
	for _, when := range []string{"planned", "stamped"} {
		planned, stamped := at(90), showing(31)
		if when == "stamped" {
			planned, stamped = at(31), showing(90)
		}
		g.Put(stamped, 0, at(40), planned, ownwrites.Usual)
		require.False(t, g.Since(showing(95), 0, false).Known, when)
		g.Put(showing(41), 0, at(80), at(41), ownwrites.Usual)
		require.False(t, g.Since(showing(95), 0, false).Known, when)
		g.Put(showing(80), 0, at(91), at(80), ownwrites.Usual)
		require.Equal(t, span(91, 95), g.Since(showing(95), 0, false), when)
	}
}

// Somebody set the times of a directory before it was stamped, to what nobody knows: a later
// time may have been read earlier.
func TestGivenAfterATool(t *testing.T) {
	var g ownwrites.Given
	g.Put(showing(20), 0, at(30), at(20), ownwrites.Exact)
	require.Equal(t, span(30, 30), g.Since(showing(40), 0, false))
	g.Put(showing(40), 0, at(50), at(40), ownwrites.Usual)
	require.Equal(t, span(50, 60), g.Since(showing(60), 0, false), "only once")
}

// Another directory may have the inode number: that of a removed one, or of one on another
// file system, or in another subvolume. Nor does it count where it was elsewhere.
func TestGivenToAnother(t *testing.T) {
	var g ownwrites.Given
	g.Put(showing(20), 5, at(30), at(20), ownwrites.Usual)
	require.Equal(t, span(30, 40), g.Since(showing(40), 5, false))
	born, elsewhere := showing(40), showing(40)
	born.BTime, elsewhere.Node.Dev = at(2), 9
	for _, other := range []disk.Info{born, elsewhere} {
		require.Equal(t, span(40, 40), g.Since(other, 5, false))
	}
	require.Equal(t, span(40, 40), g.Since(showing(40), 6, false))
	g.Put(elsewhere, 5, at(50), at(40), ownwrites.Usual)
	require.Equal(t, span(40, 40), g.Since(showing(40), 5, false))
	g.Put(showing(20), 5, at(30), at(20), ownwrites.Usual)
	require.Equal(t, span(30, 40), g.Since(showing(40), 5, false), "the other one had shown more")
}

// Memory is bounded. What was given longest ago is forgotten.
func TestGivenIsBounded(t *testing.T) {
	var g ownwrites.Given
	put := func(inode uint64) {
		info := showing(20)
		info.Node.Ino = inode
		g.Put(info, 0, at(30), at(20), ownwrites.Usual)
	}
	known := func(inode uint64) bool {
		info := showing(40)
		info.Node.Ino = inode
		return g.Since(info, 0, false) == span(30, 40)
	}
	for inode := range uint64(1 << 15) {
		put(inode)
	}
	require.True(t, known(0), "that many are remembered")
	put(1 << 15)
	require.False(t, known(0))
	require.True(t, known(1<<14))
	require.True(t, known(1<<15))
}
