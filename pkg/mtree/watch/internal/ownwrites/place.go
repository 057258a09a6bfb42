package ownwrites

import (
	"encoding/binary"
	"hash/fnv"

	"tidemark/pkg/mtree/internal/disk"
)

// Place is where a directory is: a hash of its parent's inode and of its name. 0 is any
// place.
type Place uint64

// PlaceOf returns the place of the directory name in parent. What is mounted has no name of
// its own: the same directory may also be at another place, with the same records.
func PlaceOf(parent disk.Info, name string, child disk.Info) Place {
	if child.MountRoot {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, parent.Node.Ino))
	_, _ = h.Write([]byte(name))
	return max(Place(h.Sum64()), 1)
}

// may reports whether both may be one place.
func (at Place) may(other Place) bool { return at == other || at == 0 || other == 0 }
