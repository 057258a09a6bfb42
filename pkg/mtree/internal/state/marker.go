package state

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// Format is the number this version writes into the tree file. A higher one
// was written by a newer tidemark and is refused.
const Format = 1

// idXattr keeps who the tree is on the root a second time: rsync --delete and
// git clean remove the marker directory.
const idXattr = "user.tidemark.id"

// maxNote bounds what is read of that attribute, in bytes.
const maxNote = 8 << 10

// Errors a caller branches on.
var (
	ErrNoTree      = errors.New("no tree file")
	ErrNewerFormat = errors.New("written by a newer tidemark")
	ErrLocked      = errors.New("already running")
)

// Role says what keeps the stamps of a tree.
type Role string

const (
	Source Role = "source" // stamped by watch
	Copy   Role = "mirror" // stamped by mirror
)

// Tree is the file .tidemark/tree: who the tree is.
type Tree struct {
	Format int         `json:"format"`
	ID     string      `json:"id"` // 32 hex digits; a copy has its source's
	Epoch  uint64      `json:"epoch"`
	Role   Role        `json:"role"`
	Dev    uint64      `json:"dev"`            // of the root, when this was written
	FS     string      `json:"fs,omitempty"`   // file system of the root, see fileSystem, "" if unknown
	Inode  uint64      `json:"inode"`          // of the root
	Born   mtree.Stamp `json:"born"`           // birth time of the root, zero if unknown
	Runs   []wire.Run  `json:"runs,omitempty"` // of its watch, the latest last; in a copy those that its source told

	// In a source only.
	Minted bool `json:"minted,omitempty"` // --new-tree made the id, and stood at every start since

	// In a source only.
	Options string   `json:"options,omitempty"` // the --exclude and --cross-mounts under which all was published last
	Borders []string `json:"borders,omitempty"` // directories in which another watch or mirror was running, escaped
	Mounts  []Mount  `json:"mounts,omitempty"`  // below the root, of which all is published

	// In a copy only.
	Upstream    string   `json:"upstream,omitempty"` // SOURCE, by SourceName
	NoID        bool     `json:"no_id,omitempty"`    // the source has no tree id: ID was made here
	Place       string   `json:"place,omitempty"`    // PlaceOf a local SOURCE without a tree id
	Path        string   `json:"path,omitempty"`     // which directory of the tree it is a copy of: "/" or "/a/b", "" if not told
	Older       uint64   `json:"older,omitempty"`    // epoch of an older lineage that the source is of now; 0: it is not
	Adopted     string   `json:"adopted,omitempty"`  // SOURCE for which --adopt was carried out, if it stood at every start since
	Filters     []string `json:"filters,omitempty"`
	Copy        string   `json:"copy,omitempty"` // 16 hex digits that tell this copy from others of the tree
	Fingerprint string   `json:"e,omitempty"`    // that of the source's listing ETags (docs/protocol.md), "" if it gave none
}

// NewTreeID returns 128 random bits as 32 hex digits.
func NewTreeID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return hex.EncodeToString(id[:])
}

// RaiseEpoch moves the epoch on: to the clock's seconds, or by one if it is
// there already. Two lineages of one tree, such as a source that comes back and
// the copy that was promoted meanwhile, so never count alike.
func (t *Tree) RaiseEpoch(now mtree.Stamp) {
	sec, _ := now.Unix()
	t.Epoch = max(t.Epoch+1, uint64(max(sec, 1)))
}

// At returns which directory of the tree the one at path below this root is, "/"
// or "/a/b": "" in a copy that was not told where in its source's tree it is.
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

// Root is what tells the root of a tree from all other directories.
type Root struct {
	disk.Info
	FS string // see fileSystem
}

// Root returns what Bind and BoundTo go by. Cost: fstat, fstatfs, an ioctl.
func RootOf(d *disk.Dir) (Root, error) {
	info, err := d.Self()
	return Root{info, fileSystem(d)}, err
}

// Bind records the root that the tree file is written for.
func (t *Tree) Bind(root Root) {
	t.Dev, t.FS, t.Inode, t.Born = root.Node.Dev, root.FS, root.Node.Ino, root.BTime
}

// BoundTo reports whether the tree file was written for this root: file system,
// inode and birth time decide. A snapshot has another file system, in this
// sense, and shares the other two. Device numbers change from boot to boot, so
// the device decides only where neither of the others is known.
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

// Marker is the directory .tidemark at the root of a source or a copy, or the
// --state-dir that stands in for it.
type Marker struct {
	root   *disk.Dir
	dir    *disk.Dir
	inRoot bool
}

// OpenMarker opens the marker of the tree at root for reading, or the one in
// stateDir if that is not "". Where there is none the error is fs.ErrNotExist, where
// it is no directory ErrInTheWay.
// root stays the caller's and must outlive the Marker.
func OpenMarker(root *disk.Dir, stateDir string) (*Marker, error) {
	if stateDir != "" {
		dir, err := disk.OpenRoot(stateDir)
		if err != nil {
			return nil, err
		}
		return &Marker{root: root, dir: dir}, nil
	}
	dir, err := root.OpenDir(mtree.MarkerName)
	if isOther(err) {
		err = root.PathError("open", mtree.MarkerName, ErrInTheWay)
	}
	if err != nil {
		return nil, err
	}
	return &Marker{root: root, dir: dir, inRoot: true}, nil
}

// CreateMarker is OpenMarker that first makes the directory if it is missing,
// with a .gitignore that hides it: directory 0755, files 0644 whatever the
// umask.
func CreateMarker(root *disk.Dir, stateDir string) (*Marker, error) {
	if stateDir != "" {
		if err := unix.Mkdir(stateDir, 0o755); err != nil && err != unix.EEXIST {
			return nil, &fs.PathError{Op: "mkdir", Path: stateDir, Err: err}
		}
	} else if err := unix.Mkdirat(root.FD(), mtree.MarkerName, 0o755); err != nil && err != unix.EEXIST {
		return nil, root.PathError("mkdir", mtree.MarkerName, err)
	}
	m, err := OpenMarker(root, stateDir)
	if err != nil {
		return nil, err
	}
	if m.inRoot {
		err = m.hide()
	}
	if err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Marker) hide() error {
	if err := unix.Fchmod(m.dir.FD(), 0o755); err != nil { // without the setgid bit: what is made aside is nobody's yet
		return m.dir.PathError("chmod", ".", err)
	}
	if _, err := m.dir.Stat(".gitignore"); err == nil {
		return nil
	}
	return WriteFile(m.dir, ".gitignore", []byte("*\n"))
}

// Dir returns the marker directory itself; it stays owned by the Marker.
func (m *Marker) Dir() *disk.Dir { return m.dir }

// Close releases the descriptors, not the root's.
func (m *Marker) Close() error { return m.dir.Close() }

// ReadTree reads the tree file. Without one the error is ErrNoTree; a newer
// format gives ErrNewerFormat.
func (m *Marker) ReadTree() (Tree, error) {
	text, err := ReadFile(m.dir, "tree")
	if errors.Is(err, fs.ErrNotExist) {
		return Tree{}, ErrNoTree
	}
	if err != nil {
		return Tree{}, err
	}
	var t Tree
	if err := json.Unmarshal(text, &t); err != nil {
		return Tree{}, fmt.Errorf("%s/tree: %w", m.dir.Path(), err)
	}
	if t.Format > Format {
		return Tree{}, fmt.Errorf("%s/tree has format %d, this version knows %d: %w", m.dir.Path(), t.Format, Format, ErrNewerFormat)
	}
	if !validTreeID(t.ID) {
		return Tree{}, fmt.Errorf("%s/tree: %q is no tree id", m.dir.Path(), t.ID)
	}
	return t, nil
}

// WriteTree replaces the tree file durably and keeps the id in the root's
// extended attribute too, where the file system has those.
func (m *Marker) WriteTree(t Tree) error {
	t.Format = Format
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	if err := WriteFile(m.dir, "tree", append(text, '\n')); err != nil {
		return err
	}
	note(m.root, &t)
	return nil
}

// Same reports whether two tree files say the same.
func (t Tree) Same(u Tree) bool {
	t.Format, u.Format = Format, Format
	a, err1 := json.Marshal(t)
	b, err2 := json.Marshal(u)
	return err1 == nil && err2 == nil && string(a) == string(b)
}

// noted is what of t the root's extended attribute holds: all that outlives the
// tree file. It changes as seldom as that is, for writing it moves the root's
// ctime.
func (t *Tree) noted() Tree {
	n := Tree{
		Format: t.Format, ID: t.ID, Role: t.Role, FS: t.FS, Inode: t.Inode, Born: t.Born, Minted: t.Minted,
		Upstream: t.Upstream, NoID: t.NoID, Place: t.Place, Path: t.Path, Adopted: t.Adopted,
	}
	if n.FS == "" && n.Born == (mtree.Stamp{}) {
		n.Dev = t.Dev // another one after a reboot, and nothing else tells
	}
	return n
}

// note keeps t on the root, where the file system has extended attributes.
func note(d *disk.Dir, t *Tree) {
	text, err := json.Marshal(t.noted())
	if old, _ := xattr(d, idXattr); err == nil && string(old) != string(text) {
		_ = unix.Fsetxattr(d.FD(), idXattr, text, 0) // a second copy: a file system without xattrs has one only
	}
}

// Noted returns what the extended attribute of d, the root of a tree, says of
// it: what is left when .tidemark was deleted. proven says that it was written
// for this very directory. Copies of the directory carry the attribute, too:
// theirs proves nothing, nor does one of an earlier version, which holds the id
// alone. Without an attribute t.ID is "".
func Noted(d *disk.Dir) (t Tree, proven bool) {
	text, err := xattr(d, idXattr)
	if err != nil {
		return Tree{}, false
	}
	if validTreeID(string(text)) {
		return Tree{ID: string(text)}, false
	}
	if json.Unmarshal(text, &t) != nil || t.Format > Format || !validTreeID(t.ID) {
		return Tree{}, false
	}
	root, err := RootOf(d)
	return t, err == nil && t.BoundTo(root)
}

// OwnTree returns what d, the root of a tree, says itself of it, wherever the
// marker lies: its .tidemark/tree, else its extended attribute if that proves
// anything. Without either the error is ErrNoTree.
func OwnTree(d *disk.Dir) (Tree, error) {
	m, err := OpenMarker(d, "")
	if err == nil {
		defer m.Close()
		if t, err := m.ReadTree(); !errors.Is(err, ErrNoTree) {
			return t, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Tree{}, err
	}
	if t, proven := Noted(d); proven {
		return t, nil
	}
	return Tree{}, ErrNoTree
}

func xattr(d *disk.Dir, name string) ([]byte, error) {
	buf := make([]byte, maxNote)
	n, err := unix.Fgetxattr(d.FD(), name, buf)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

func validTreeID(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == 16
}

// Folds reports whether the marker's file system takes names for one that differ
// in case.
func (m *Marker) Folds() bool {
	_, err := m.dir.Stat(".GITIGNORE") // it is there in lower case
	return err == nil
}
