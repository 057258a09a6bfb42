package replica

import (
	"tidemark/pkg/mtree"
)

// Reasons that hold one deletion only: the others go on. The texts are part of a disk
// format, the files of held deletions, and must not change.
const (
	WhyTree    = "the root of another tree or copy is in it (.tidemark)"
	WhyEmptied = "its directory came back as another one, which is empty: is a disk not mounted?"
	WhyStandIn = "only another SOURCE says so, a copy, which may leave it out"
)

// Deletion is one entry of the copy that has to go: the source no longer has it, or has
// something other than a directory where the copy has one.
type Deletion struct {
	Path    string
	Kind    mtree.Kind
	MTime   mtree.Stamp
	Entries int64 // it and all below it, except what Filters exclude
	Stays   bool  // it stays itself, because Filters exclude something in it; Measure does not set it

	Why      string // why it is held; until the guards have decided, only its own reason, or ""
	Released bool   // somebody allowed it
	Staged   string // name in Staging of the file or symlink that replaces a directory; "": nothing replaces it
}

// Name returns the name of the entry in its directory.
func (d *Deletion) Name() string { return mtree.BaseName(d.Path) }

// IsReplacement reports whether something else gets the name.
func (d *Deletion) IsReplacement() bool { return d.Staged != "" }

// HasOwnReason reports whether it is held regardless of other deletions.
func (d *Deletion) HasOwnReason() bool {
	return d.Why == WhyTree || d.Why == WhyEmptied || d.Why == WhyStandIn
}

// Few bounds what the guards ignore. Up to Few entries, their share of a copy or of a
// directory does not matter: half of three files is nothing to worry about.
const Few = 100

// CountDeletions counts the entries that deletions take away.
func CountDeletions(all []Deletion) (total int64) {
	for i := range all {
		total += all[i].Entries
	}
	return total
}
