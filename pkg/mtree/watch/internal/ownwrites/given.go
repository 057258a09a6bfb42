package ownwrites

import (
	"encoding/binary"
	"hash/fnv"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// Given remembers which stamp each directory was given last: what was published of a
// directory up to that stamp is in every listing of it that has that stamp or a later one. It
// remembers the last 16,384 directories at least, and twice as many at most: about 100 bytes
// each. The zero Given is ready. One goroutine uses it.
type Given struct {
	recent map[uint64]given // by inode
	older  map[uint64]given
}

// given is the last stamp of one directory.
type given struct {
	who   uint64 // the directory and its place
	stamp mtree.Stamp
	shown mtree.Stamp // the highest time that it is known to have shown
	Trust
}

const givenSize = 1 << 14 // directories

// Trust says how far the stamp that a directory was given says what its readers have.
type Trust int8

const (
	Usual   Trust = iota
	Exact         // somebody had set its times: what it showed later than the stamp may be older
	Refused       // the directory does not show it
)

// identify returns a hash of all that tells a directory from others, and of its place. Inode
// numbers alone do not: all roots of btrfs subvolumes have the same one.
func identify(info disk.Info, at Place) uint64 {
	sec, nsec := info.BTime.Unix()
	h := fnv.New64a()
	for _, part := range []uint64{info.Node.Dev, uint64(at), uint64(sec), uint64(nsec)} {
		_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, part))
	}
	return h.Sum64()
}

// Put records the stamp that a directory was given. before is fstat of it before the stamp was
// written; showed is the latest time that it is known to have shown until then.
func (g *Given) Put(before disk.Info, at Place, stamp, showed mtree.Stamp, trust Trust) {
	who, shown := identify(before, at), mtree.Later(mtree.Later(before.MTime, showed), stamp)
	if have, ok := g.find(before.Node.Ino, who); ok {
		shown = mtree.Later(shown, have.shown) // guard: TestGivenBelowWhatItShowed
	}
	if g.recent == nil || len(g.recent) >= givenSize {
		g.older, g.recent = g.recent, map[uint64]given{}
	}
	g.recent[before.Node.Ino] = given{who, stamp, shown, trust}
}

// find returns what is remembered of a directory at its place.
func (g *Given) find(inode, who uint64) (have given, ok bool) {
	for _, all := range []map[uint64]given{g.recent, g.older} {
		if have, ok = all[inode]; ok {
			return have, have.who == who // guard: TestGivenToAnother
		}
	}
	return have, false
}

// Stamps says which stamps the records of readers may have who have seen everything in a
// directory that was published so far. info is fstat of it now.
type Stamps struct {
	From, To mtree.Stamp
	Known    bool // there are such stamps
	Refused  bool // it refused the last one: readers may have any stamp
}

// Since returns which stamps prove that a reader has everything that was published of the
// directory so far. unsure says that there may be changes that nobody heard: then only what
// is remembered proves anything.
//
// A directory never shows again what it showed before a stamp of ours, unless somebody set
// its times or the clock went back. So a reader whose stamp lies between that one and what
// the directory shows now has read it in between.
func (g *Given) Since(info disk.Info, at Place, unsure bool) Stamps {
	have, ok := g.find(info.Node.Ino, identify(info, at))
	switch {
	case !ok:
		return Stamps{From: info.MTime, To: info.MTime, Known: !unsure} // guard (!unsure -> true): TestNotRememberedWhileUnsure
	case have.Trust == Refused:
		return Stamps{Refused: true}
	case have.shown.After(have.stamp), info.MTime.Before(have.stamp): // guard: TestGivenBelowWhatItShowed
		return Stamps{}
	case have.Trust == Exact:
		return Stamps{From: have.stamp, To: have.stamp, Known: true} // guard: TestGivenAfterATool
	}
	return Stamps{From: have.stamp, To: info.MTime, Known: true}
}
