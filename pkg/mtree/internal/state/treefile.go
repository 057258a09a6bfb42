package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"tidemark/pkg/mtree/internal/disk"
)

const treeName = "tree"

var (
	// ErrNoTree is returned where there is no tree file.
	ErrNoTree = errors.New("no tree file")

	// ErrNewerFormat is returned for a tree file that this version does not know.
	ErrNewerFormat = errors.New("written by a newer tidemark")
)

// ReadTree reads the tree file. Without one the error is ErrNoTree; a newer format
// gives ErrNewerFormat.
func (m *Marker) ReadTree() (Tree, error) {
	text, err := ReadFile(m.dir, treeName)
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
	if t.Format > treeFormat {
		return Tree{}, fmt.Errorf("%s/tree has format %d, this version knows %d: %w", m.dir.Path(), t.Format, treeFormat, ErrNewerFormat)
	}
	if !validTreeID(t.ID) {
		return Tree{}, fmt.Errorf("%s/tree: %q is no tree id", m.dir.Path(), t.ID)
	}
	return t, nil
}

// WriteTree replaces the tree file durably, and also writes the attribute of the root,
// where the file system has extended attributes. System calls: see WriteFile, then
// fgetxattr; fsetxattr if the attribute changes.
func (m *Marker) WriteTree(t Tree) error {
	t.Format, t.Made = treeFormat, ""
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	if err := WriteFile(m.dir, treeName, append(text, '\n')); err != nil {
		return err
	}
	note(m.root, &t)
	return nil
}

// OwnTree returns the tree that root itself names, wherever its marker is: the one in its
// .tidemark/tree, else the one in its attribute, if it is proven. Without either the
// error is ErrNoTree.
func OwnTree(root *disk.Dir) (Tree, error) {
	m, err := OpenMarker(root, "")
	if err == nil {
		defer m.Close()
		if t, err := m.ReadTree(); !errors.Is(err, ErrNoTree) {
			return t, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Tree{}, err
	}
	if t, proven, err := Noted(root); proven || err != nil {
		return t, err
	}
	return Tree{}, ErrNoTree
}
