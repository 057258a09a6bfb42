package state

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// treeFormat is the number that this version writes into the tree file. A higher one
// was written by a newer tidemark and is refused.
const treeFormat = 1

// Role says which program keeps the stamps of a tree.
type Role string

// The roles, as they stand in the tree file.
const (
	Source Role = "source" // watch
	Copy   Role = "mirror" // mirror
)

// Tree is the file .tidemark/tree: who the tree is.
type Tree struct {
	Format int         `json:"format"`
	ID     string      `json:"id"` // 32 hex digits; a copy has its source's
	Epoch  uint64      `json:"epoch"`
	Role   Role        `json:"role"`
	Dev    uint64      `json:"dev"`            // of the root, when this was written
	FS     string      `json:"fs,omitempty"`   // file system of the root; "": not known
	Inode  uint64      `json:"inode"`          // of the root
	Born   mtree.Stamp `json:"born"`           // birth time of the root; zero: not known
	Runs   []wire.Run  `json:"runs,omitempty"` // of its watch, the latest last; in a copy those of its source

	// In a source only.
	Minted bool `json:"minted,omitempty"` // --new-tree made the id, and every start since had this option

	// In a source only.
	Options string   `json:"options,omitempty"` // the --exclude and --cross-mounts with which everything was published last
	Borders []string `json:"borders,omitempty"` // directories in which another watch or mirror was running, escaped
	Mounts  []Mount  `json:"mounts,omitempty"`  // below the root, with everything in them published
	Again   *Repeat  `json:"again,omitempty"`   // stamps that may have come twice; nil: none

	// In a copy only.
	Upstream    string   `json:"upstream,omitempty"` // SourceName of SOURCE
	Sources     []string `json:"sources,omitempty"`  // SourceName of each SOURCE, if there are several; Upstream is the one that is used
	NoID        bool     `json:"no_id,omitempty"`    // the source has no tree id: ID was made here
	Place       string   `json:"place,omitempty"`    // PlaceOf a local SOURCE without a tree id
	Path        string   `json:"path,omitempty"`     // the directory of the tree that it is a copy of: "/" or "/a/b"; "": not known
	Older       uint64   `json:"older,omitempty"`    // epoch of an older lineage to which the source belongs now; 0: it does not
	Adopted     string   `json:"adopted,omitempty"`  // SOURCE for which --adopt was carried out, if every start since had this option
	Filters     []string `json:"filters,omitempty"`
	Copy        string   `json:"copy,omitempty"` // 16 hex digits that distinguish this copy from others of the tree
	Fingerprint string   `json:"e,omitempty"`    // E of the ETags of the source's listings (docs/protocol.md); "": the source sent none

	// In the attribute of a copy only: a digest of filters and e.
	Made string `json:"made,omitempty"`
}

// Repeat are the times from From to To, both included. Where a clock was set back, the root may
// have shown them before, and shows them again: a stamp among them does not say which.
type Repeat struct {
	From mtree.Stamp `json:"from"`
	To   mtree.Stamp `json:"to"`
}

// Has reports whether a stamp may have come twice.
func (r *Repeat) Has(s mtree.Stamp) bool { return r != nil && !s.Before(r.From) && !s.After(r.To) }

// SetBack records that the clock was set back to a time, after directories may have shown
// times up to top.
func (t *Tree) SetBack(to, top mtree.Stamp) {
	again := Repeat{From: to, To: top}
	if was := t.Again; was != nil {
		again = Repeat{From: mtree.Earlier(to, was.From), To: mtree.Later(top, was.To)}
	}
	t.Again = &again
}

// NewTreeID returns 128 random bits as 32 hex digits.
func NewTreeID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return hex.EncodeToString(id[:])
}

func validTreeID(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == 16
}

// RaiseEpoch raises the epoch to the clock's seconds, or by one if it is that high
// already. So two lineages of one tree, such as a source that comes back and the copy
// that was promoted meanwhile, never have the same epoch.
func (t *Tree) RaiseEpoch(now mtree.Stamp) {
	sec, _ := now.Unix()
	t.Epoch = max(t.Epoch+1, uint64(max(sec, 1)))
}

// BeginRun ends the latest run with the floor that it reached, and begins another.
func (t *Tree) BeginRun(floor mtree.Stamp) {
	t.Runs = slices.Clone(t.Runs)
	if n := len(t.Runs); n > 0 && t.Runs[n-1].Floor == nil {
		t.Runs[n-1].Floor = &floor
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	t.Runs = append(t.Runs, wire.Run{ID: hex.EncodeToString(id[:])})
	t.Runs = t.Runs[max(len(t.Runs)-wire.MaxRuns, 0):]
}

// At returns which directory of the tree is at path below this root, "/" or "/a/b". It is
// "" in a copy that does not know where in its source's tree it is.
func (t *Tree) At(path string) string {
	switch base := strings.TrimPrefix(t.Path, "/"); {
	case t.Path == "" && t.Role == Copy:
		return ""
	case path == "":
		return "/" + base
	default:
		return "/" + mtree.JoinPath(base, path)
	}
}

// Bind records the root for which the tree file is written.
func (t *Tree) Bind(root Root) {
	t.Dev, t.FS, t.Inode, t.Born = root.Node.Dev, root.FS, root.Node.Ino, root.BTime
}

// BoundTo reports whether the tree file was written for this root: file system, inode
// and birth time decide. A snapshot has another file system, in this sense, and the
// same inode and birth time. Device numbers change from boot to boot, so the device
// decides only where neither file system nor birth time is known.
func (t *Tree) BoundTo(root Root) bool {
	var unknown mtree.Stamp
	places, births := t.FS != "" && root.FS != "", t.Born != unknown && root.BTime != unknown
	switch {
	case t.Inode != root.Node.Ino, places && t.FS != root.FS, births && t.Born != root.BTime:
		return false
	case places || births:
		return true
	}
	return t.Dev == root.Node.Dev
}

// Same reports whether two trees have the same file.
func (t Tree) Same(u Tree) bool {
	t.Format, u.Format = treeFormat, treeFormat
	t.Made, u.Made = "", ""
	a, _ := json.Marshal(t) // never fails: it has only texts and numbers
	b, _ := json.Marshal(u)
	return string(a) == string(b)
}
