package disk

import (
	"errors"

	"tidemark/pkg/mtree"
)

// Some file systems take two names that differ in case, or in how letters are
// composed, for one: FAT, exFAT, ext4 with casefold, many on networks.

// ErrCollides is returned where a name was to be made anew and the file system
// takes it for one that is there and spelled otherwise.
var ErrCollides = errors.New("the file system takes it for another name that is there already")

// Respelled reports whether name leads to an entry that is spelled otherwise.
// Cost: statx, and if there is something the directory is read.
func (d *Dir) Respelled(name string) bool {
	if _, err := d.Stat(name); err != nil {
		return false
	}
	exact := name == mtree.MarkerName
	_ = d.Scan(func(raw []byte, _ mtree.Kind) error {
		if string(raw) == name {
			exact = true
			return errEnough
		}
		return nil
	})
	return !exact
}

var errEnough = errors.New("enough")
