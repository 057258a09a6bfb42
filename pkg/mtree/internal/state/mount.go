package state

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// Mount is a mount below the root of a tree, as the tree file records it.
type Mount struct {
	Path  string `json:"path"`            // below the root, escaped as in listings
	Place string `json:"place,omitempty"` // PlaceOf what is mounted; "" where nobody enters it
}

// MountAt returns what Tree.Mounts records of the mount at a path below d; entered
// says that the tree goes on in it. It is only looked at, by O_PATH, not opened.
func MountAt(d *disk.Dir, at string, entered bool) Mount {
	m := Mount{Path: string(mtree.AppendEscaped(nil, at))}
	if !entered {
		return m
	}
	there, err := d.OpenPath(at, true)
	if err != nil {
		return m // covered by another
	}
	defer there.Close()
	m.Place, _ = PlaceOf(there)
	return m
}
