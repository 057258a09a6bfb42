package state

import (
	"fmt"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
)

// Root identifies the root of a tree among all directories.
type Root struct {
	disk.Info
	FS string // identifies its file system, "" if nothing lasting is known
}

// RootOf returns what identifies d, for Tree.Bind and Tree.BoundTo. Cost: fstat,
// fstatfs, at most an ioctl.
func RootOf(d *disk.Dir) (Root, error) {
	info, err := d.Self()
	return Root{info, machine.FileSystem(d.FD())}, err
}

// PlaceOf returns a text that identifies d among all directories that may have its path:
// its file system, inode and birth time. Where no identity of the file system lasts, type
// and source of its mount are used instead ("nfs4 host:/export"), because they are the
// same after a reboot.
func PlaceOf(d *disk.Dir) (string, error) {
	root, err := RootOf(d)
	if err != nil {
		return "", err
	}
	where := root.FS
	if where == "" {
		where = machine.MountSource(d.FD())
	}
	if where == "" {
		where = fmt.Sprint(root.Node.Dev)
	}
	return fmt.Sprintf("%d %s %s", root.Node.Ino, root.BTime, where), nil
}

// Mount is a mount below the root of a tree, as the tree file records it.
type Mount struct {
	Path  string `json:"path"`            // below the root, escaped as in listings
	Place string `json:"place,omitempty"` // PlaceOf the mounted directory; "" if watch does not enter it
}

// MountAt returns the record of the mount at a path below d. With entered the tree
// continues in it. It is opened by O_PATH, only to be looked at.
func MountAt(d *disk.Dir, at string, entered bool) Mount {
	m := Mount{Path: string(mtree.AppendEscaped(nil, at))}
	if !entered {
		return m
	}
	there, err := d.OpenPath(at, true)
	if err != nil {
		return m // another mount covers it
	}
	defer there.Close()
	m.Place, _ = PlaceOf(there)
	return m
}
