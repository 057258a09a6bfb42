package lister

import (
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// EntryOf returns the entry of a file or directory from what statx(2) showed, with
// its owner. Only files have a size. The target of a symlink is not filled in.
func EntryOf(name string, info disk.Info) mtree.Entry {
	e := mtree.Entry{
		Name:  name,
		Kind:  info.Kind,
		Has:   mtree.HasMode | mtree.HasCTime | mtree.HasOwner,
		Mode:  info.Mode,
		MTime: info.MTime,
		CTime: info.CTime,
		UID:   info.UID,
		GID:   info.GID,
	}
	if info.Kind == mtree.File {
		e.Size = info.Size
	}
	return e
}

// SetNode says in the entry of a file of a copy which inode it has, and whether that has other names.
func SetNode(e *mtree.Entry, info disk.Info) {
	if info.Kind != mtree.File {
		return
	}
	if e.Same = info.Node.Ino; info.Links > 1 {
		e.Has |= mtree.HasSame
	}
}

// fill sets e to the entry name of d, with the target of a symlink. After an error e
// is unchanged.
func fill(e *mtree.Entry, d *disk.Dir, name string, info disk.Info) error {
	filled := EntryOf(name, info)
	if info.Kind == mtree.Symlink {
		target, err := d.Readlink(name)
		if err != nil {
			return err
		}
		filled.Link = target
	}
	*e = filled
	return nil
}

// SortEntries puts entries in the order of listings: bytewise by name.
func SortEntries(entries []mtree.Entry) {
	slices.SortFunc(entries, func(a, b mtree.Entry) int { return strings.Compare(a.Name, b.Name) })
}
