package state

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
)

// idXattr is the attribute of the root with a second copy of the tree's identity, because
// rsync --delete and git clean remove .tidemark.
const idXattr = "user.tidemark.id"

// maxNote is how much of the attribute is read, in bytes.
const maxNote = 8 << 10

// Lasting is the part of t that the attribute holds: everything that must outlive the
// tree file. It changes as seldom as possible, because writing it moves the root's
// ctime.
func (t *Tree) Lasting() Tree {
	n := Tree{
		Format: t.Format, ID: t.ID, Role: t.Role, FS: t.FS, Inode: t.Inode, Born: t.Born, Minted: t.Minted,
		Upstream: t.Upstream, NoID: t.NoID, Place: t.Place, Path: t.Path, Adopted: t.Adopted,
	}
	if n.FS == "" && n.Born == (mtree.Stamp{}) {
		n.Dev = t.Dev // changes with a reboot, but is the only identity there is
	}
	if t.Role == Copy {
		n.Made = t.made()
	}
	return n
}

// made is a digest of the options under which a copy is made. What else the tree file says of the
// source only rises.
func (t *Tree) made() string {
	text, _ := json.Marshal([]any{append([]string{}, t.Filters...), t.Fingerprint}) // never fails, as above
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// IsEarlier reports whether a tree file is not the one that was written last, for a copy whose
// attribute is noted: somebody put an earlier one back. What came since then came under
// options that the file does not know.
func (t *Tree) IsEarlier(noted *Tree) bool {
	return t.Role == Copy && noted.Role == Copy && noted.Made != "" && noted.Made != t.made()
}

// note writes the attribute of root, where the file system has extended attributes.
func note(root *disk.Dir, t *Tree) {
	text, _ := json.Marshal(t.Lasting()) // never fails: it has only texts and numbers
	if old, _ := readNote(root); string(old) != string(text) {
		_ = sys.Fsetxattr(root.FD(), idXattr, text, 0) // only a second copy of the tree file
	}
}

// Noted returns the tree in the attribute of root: it remains when .tidemark is
// deleted. proven says that it was written for this very directory. Copies of the
// directory carry the attribute, too: in them it proves nothing. Nor does an attribute
// of an earlier version, which holds the id alone. Without an attribute t.ID is "". An error
// means that it is not known what the directory is.
func Noted(root *disk.Dir) (t Tree, proven bool, err error) {
	text, err := readNote(root)
	isNone := errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ERANGE) // or is longer than ours
	if err != nil && !isNone {
		return Tree{}, false, fmt.Errorf("reading %s of %q: %w", idXattr, root.Path(), err)
	}
	if validTreeID(string(text)) {
		return Tree{ID: string(text)}, false, nil
	}
	if json.Unmarshal(text, &t) != nil || t.Format > treeFormat || !validTreeID(t.ID) {
		return Tree{}, false, nil
	}
	self, err := RootOf(root)
	return t, err == nil && t.BoundTo(self), err
}

func readNote(root *disk.Dir) ([]byte, error) {
	buf := make([]byte, maxNote)
	n, err := sys.Fgetxattr(root.FD(), idXattr, buf)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}
