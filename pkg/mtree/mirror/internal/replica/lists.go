package replica

import (
	"maps"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// The lists in files of the marker.

// Held reads the deletions that are held; a missing file is an empty list.
func (r *Replica) Held() (HeldList, error) {
	if r.marker == nil {
		return HeldList{}, nil
	}
	return readHeld(r.marker, heldName)
}

// SetHeld writes the deletions that are held. If there are none, it removes the file.
func (r *Replica) SetHeld(l *HeldList) error {
	if len(l.Entries) == 0 {
		return r.marker.Remove(heldName)
	}
	return state.WriteFile(r.marker.Dir(), heldName, l.Format())
}

// Released reads the deletions that somebody released; a missing file is an empty
// list.
func (r *Replica) Released() (HeldList, error) {
	if r.marker == nil {
		return HeldList{}, nil
	}
	return readHeld(r.marker, releaseName)
}

// HasRelease reports whether somebody released deletions.
func (r *Replica) HasRelease() bool {
	info, _ := r.marker.Dir().Stat(releaseName)
	return info.Kind == mtree.File
}

// RemoveRelease answers a release: a command that waits for the answer then reads what
// is still held.
func (r *Replica) RemoveRelease() error { return r.marker.Remove(releaseName) }

// untoldName is an empty file in the marker. While it is there, the copy has changes of which the
// command of --exec was not told, or may have.
const untoldName = "untold"

// SetUntold notes that the copy is about to get such a change. Several goroutines may call it. A kill
// loses nothing of it, a power cut may: it is not flushed. System calls:
//
//	statx, openat(O_CREAT), statx
func (r *Replica) SetUntold() error {
	f, err := r.marker.OpenOwn(untoldName, false)
	if err != nil {
		return err
	}
	return f.Close()
}

// IsUntold reports whether there are such changes.
func (r *Replica) IsUntold() bool { return r.marker.Has(untoldName) }

// ClearUntold notes that the command was told of all of them.
func (r *Replica) ClearUntold() error { return r.marker.Remove(untoldName) }

// Uncopied returns what was not copied before the pass that is under way. It must not
// be changed.
func (r *Replica) Uncopied() Uncopied { return r.uncopied }

// UpdateUncopied writes the counts of the directories that a pass compared into the
// file, and removes those of the directories that it deleted. whole says that the pass
// compared all directories.
func (r *Replica) UpdateUncopied(compared Uncopied, isDeleted func(path string) bool, whole bool) error {
	next := Uncopied{}
	if !whole {
		for path, count := range r.uncopied {
			if !isDeleted(path) {
				next[path] = count
			}
		}
	}
	for path, count := range compared {
		if delete(next, path); count > 0 && len(next) < MostUncopied {
			next[path] = count
		}
	}
	if maps.Equal(next, r.uncopied) {
		return nil
	}
	r.uncopied = next
	err := state.WriteFile(r.marker.Dir(), uncopiedName, next.format())
	if disk.IsFull(err) {
		return nil // the next change writes it
	}
	return Local(err)
}
