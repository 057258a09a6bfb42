package disk

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// Format is the number this version writes into the tree file. A higher one
// was written by a newer tidemark and is refused.
const Format = 1

// idXattr keeps the tree id on the root a second time: rsync --delete and git
// clean remove the marker directory.
const idXattr = "user.tidemark.id"

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
	Dev    uint64      `json:"dev"`   // of the root, when this was written
	Inode  uint64      `json:"inode"` // of the root
	Born   mtree.Stamp `json:"born"`  // birth time of the root, zero if unknown

	// In a source only.
	Options string   `json:"options,omitempty"` // the --exclude and --cross-mounts under which all was published last
	Borders []string `json:"borders,omitempty"` // directories in which another watch or mirror was running

	// In a copy only.
	Upstream string   `json:"upstream,omitempty"` // SOURCE as given
	NoID     bool     `json:"no_id,omitempty"`    // the source has no tree id: ID was made here
	Filters  []string `json:"filters,omitempty"`
	E        string   `json:"e,omitempty"` // that of the source's listing ETags (docs/protocol.md), "" if it gave none
}

// NewTreeID returns 128 random bits as 32 hex digits.
func NewTreeID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return hex.EncodeToString(id[:])
}

// Bind records the root that the tree file is written for.
func (t *Tree) Bind(root Info) {
	t.Dev, t.Inode, t.Born = root.Node.Dev, root.Node.Ino, root.BTime
}

// BoundTo reports whether the tree file was written for this root. Device
// numbers change from boot to boot, so inode and birth time decide, and the
// device only where no birth time is kept.
func (t *Tree) BoundTo(root Info) bool {
	if t.Inode != root.Node.Ino {
		return false
	}
	var unknown mtree.Stamp
	if t.Born != unknown && root.BTime != unknown {
		return t.Born == root.BTime
	}
	return t.Dev == root.Node.Dev
}

// Marker is the directory .tidemark at the root of a source or a copy, or the
// --state-dir that stands in for it.
type Marker struct {
	root   *Dir
	dir    *Dir
	inRoot bool
}

// OpenMarker opens the marker of the tree at root for reading, or the one in
// stateDir if that is not "". Where there is none the error is fs.ErrNotExist.
// root stays the caller's and must outlive the Marker.
func OpenMarker(root *Dir, stateDir string) (*Marker, error) {
	if stateDir != "" {
		dir, err := OpenRoot(stateDir)
		if err != nil {
			return nil, err
		}
		return &Marker{root: root, dir: dir}, nil
	}
	dir, err := root.OpenDir(mtree.MarkerName)
	if err != nil {
		return nil, err
	}
	return &Marker{root: root, dir: dir, inRoot: true}, nil
}

// CreateMarker is OpenMarker that first makes the directory if it is missing,
// with a .gitignore that hides it: directory 0755, files 0644 whatever the
// umask.
func CreateMarker(root *Dir, stateDir string) (*Marker, error) {
	if stateDir != "" {
		if err := unix.Mkdir(stateDir, 0o755); err != nil && err != unix.EEXIST {
			return nil, &fs.PathError{Op: "mkdir", Path: stateDir, Err: err}
		}
	} else if err := unix.Mkdirat(root.fd, mtree.MarkerName, 0o755); err != nil && err != unix.EEXIST {
		return nil, root.fail("mkdir", mtree.MarkerName, err)
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
	if err := unix.Fchmod(m.dir.fd, 0o755); err != nil {
		return m.dir.fail("chmod", ".", err)
	}
	if _, err := m.dir.Stat(".gitignore"); err == nil {
		return nil
	}
	return m.dir.WriteSmall(".gitignore", []byte("*\n"))
}

// Dir returns the marker directory itself; it stays owned by the Marker.
func (m *Marker) Dir() *Dir { return m.dir }

// Close releases the descriptors, not the root's.
func (m *Marker) Close() error { return m.dir.Close() }

// ReadTree reads the tree file. Without one the error is ErrNoTree; a newer
// format gives ErrNewerFormat.
func (m *Marker) ReadTree() (Tree, error) {
	text, err := m.dir.ReadSmall("tree")
	if errors.Is(err, fs.ErrNotExist) {
		return Tree{}, ErrNoTree
	}
	if err != nil {
		return Tree{}, err
	}
	var t Tree
	if err := json.Unmarshal(text, &t); err != nil {
		return Tree{}, fmt.Errorf("%s/tree: %w", m.dir.path, err)
	}
	if t.Format > Format {
		return Tree{}, fmt.Errorf("%s/tree has format %d, this version knows %d: %w", m.dir.path, t.Format, Format, ErrNewerFormat)
	}
	if !validTreeID(t.ID) {
		return Tree{}, fmt.Errorf("%s/tree: %q is no tree id", m.dir.path, t.ID)
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
	if err := m.dir.WriteSmall("tree", append(text, '\n')); err != nil {
		return err
	}
	if id, ok := m.RootID(); !ok || id != t.ID {
		_ = unix.Fsetxattr(m.root.fd, idXattr, []byte(t.ID), 0) // a second copy: a file system without xattrs has one only
	}
	return nil
}

// RootID returns the tree id kept in the root's extended attribute.
func (m *Marker) RootID() (string, bool) { return m.root.TreeID() }

// TreeID returns the tree id kept in the extended attribute of d, the root of a
// tree: what is left when .tidemark was deleted.
func (d *Dir) TreeID() (string, bool) {
	var buf [64]byte
	n, err := unix.Fgetxattr(d.fd, idXattr, buf[:])
	if err != nil || !validTreeID(string(buf[:n])) {
		return "", false
	}
	return string(buf[:n]), true
}

func validTreeID(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == 16
}

// granules are the steps in which file systems store times.
var granules = []time.Duration{1, 100, time.Microsecond, time.Millisecond, 10 * time.Millisecond, time.Second, 2 * time.Second}

// Granule measures the smallest step of time that the tree's file system
// stores, by setting the mtime of a scratch file: 1 ns on ext4, xfs, btrfs and
// tmpfs; 1 s on ext4 with 128-byte inodes; 2 s on FAT. Where the marker is on
// another file system, the root's own times tell, or a coarser step than needed.
func (m *Marker) Granule() (time.Duration, error) {
	own, err := m.dir.Self()
	if err != nil {
		return 0, err
	}
	root, err := m.root.Self()
	if err != nil {
		return 0, err
	}
	if own.Node.Dev != root.Node.Dev {
		return min(step(root.MTime), step(root.CTime), step(root.BTime)), nil
	}
	fd, done, err := m.scratch()
	if err != nil {
		return 0, err
	}
	defer done()
	want := mtree.Unix(1_000_000_001, 999_999_999)
	if err := futimens(fd, want); err != nil {
		return 0, m.dir.fail("utimensat", scratchName, err)
	}
	info, err := statFD(fd)
	if err != nil {
		return 0, m.dir.fail("stat", scratchName, err)
	}
	for _, g := range granules {
		if info.MTime == want.Floor(g) {
			return g, nil
		}
	}
	return 0, fmt.Errorf("%s: a time of %s is stored as %s: no granule we know", m.dir.path, want, info.MTime)
}

// step is the coarsest granule of which t is a multiple: a file system that
// shows t stores steps as small as that, or smaller.
func step(t mtree.Stamp) time.Duration {
	coarsest := granules[0]
	for _, g := range granules {
		if t.Floor(g) == t {
			coarsest = g
		}
	}
	return coarsest
}
