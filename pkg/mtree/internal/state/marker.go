package state

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
)

// Marker is the open directory .tidemark at the root of a source or a copy, or the
// --state-dir that is used instead.
type Marker struct {
	root   *disk.Dir
	dir    *disk.Dir
	inRoot bool
}

// OpenMarker opens the marker of the tree at root for reading, or the one in stateDir if
// that is not "". If there is none, the error is fs.ErrNotExist; if it is not a
// directory, ErrInTheWay. root stays the caller's and must outlive the Marker.
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

// CreateMarker is OpenMarker that first makes the directory if it is missing, with a
// .gitignore that hides it: directory 0755, files 0644, whatever the umask.
func CreateMarker(root *disk.Dir, stateDir string) (*Marker, error) {
	if stateDir != "" {
		if err := sys.Mkdir(stateDir, 0o755); err != nil && err != unix.EEXIST {
			return nil, &fs.PathError{Op: "mkdir", Path: stateDir, Err: err}
		}
	} else if err := sys.Mkdirat(root.FD(), mtree.MarkerName, 0o755); err != nil && err != unix.EEXIST {
		return nil, root.PathError("mkdir", mtree.MarkerName, err)
	}
	m, err := OpenMarker(root, stateDir)
	if err != nil {
		return nil, err
	}
	if m.inRoot {
		err = m.dir.Chmod(0o755) // without the setgid bit, which what is made in tmp would inherit
	}
	if err == nil {
		err = m.Hide()
	}
	if err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

// Hide puts a .gitignore into the directory, if it lies in the tree and has none. Cost: statx.
func (m *Marker) Hide() error {
	if !m.inRoot {
		return nil
	}
	if _, err := m.dir.Stat(".gitignore"); err == nil {
		return nil
	}
	return WriteFile(m.dir, ".gitignore", []byte("*\n"))
}

// Dir returns the directory itself; the Marker keeps owning it.
func (m *Marker) Dir() *disk.Dir { return m.dir }

// Close releases the descriptor of the directory, not the root's.
func (m *Marker) Close() error { return m.dir.Close() }

// IsThere reports whether the marker still has its name: it was not removed or renamed
// while the program ran, as far as the disk tells. Cost: fstat, and statx in the root.
func (m *Marker) IsThere() bool {
	held, err := m.dir.Self()
	if err != nil || !m.inRoot {
		return disk.IsUnsure(err) || held.Links > 0
	}
	there, err := m.root.Stat(mtree.MarkerName)
	return disk.IsUnsure(err) || there.Node == held.Node // none, if it is gone
}

// Folds reports whether the marker's file system ignores case in all names. Where only some
// directories do (ext4 with chattr +F), or how letters are composed makes no difference (ZFS), it
// does not tell. Cost: statx.
func (m *Marker) Folds() bool {
	_, err := m.dir.Stat(".GITIGNORE") // it is there in lower case
	return err == nil
}

// Has reports whether all these files are in the marker, as far as the disk tells.
func (m *Marker) Has(names ...string) bool {
	for _, name := range names {
		if _, err := m.dir.Stat(name); err != nil && !disk.IsUnsure(err) {
			return false
		}
	}
	return true
}

// OpenFile opens a file of the marker for reading. It does not block; what cannot be
// ours gives ErrInTheWay.
func (m *Marker) OpenFile(name string) (sys.File, disk.Info, error) {
	return openOwnToRead(m.dir, name)
}

// OpenOwn opens a file of the marker to read and to write it, and makes it if it is
// missing, mode 0644 less the umask. What cannot be ours gives way or gives ErrInTheWay.
// With alone, a file that has other names gives way, too, because a write would change it
// under all names. System calls:
//
//	statx, openat(O_RDWR|O_CREAT|O_NOFOLLOW|O_NONBLOCK), statx
func (m *Marker) OpenOwn(name string, alone bool) (sys.File, error) {
	fd, err := openOwn(m.dir, name, alone)
	if err != nil {
		return nil, err
	}
	return sys.NewFile(uintptr(fd), m.dir.Path()+"/"+name), nil
}

// OpenStaging makes the directory name in the marker if it is missing, mode 0700,
// removes what an earlier run left in it, and opens it: see disk.OpenStaging.
func (m *Marker) OpenStaging(name, stay string) (*disk.Staging, error) {
	dir, err := makeOwn(m.dir, name, 0o700)
	if err != nil {
		return nil, err
	}
	return disk.OpenStaging(dir, stay)
}

// Remove removes a file of the marker, or anything with its name that holds no data. It
// is no error if the file does not exist.
func (m *Marker) Remove(name string) error {
	info, err := m.dir.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return removeEmpty(m.dir, name, info.Kind)
}

// Vacate makes sure that files with these names can be written: what cannot be ours
// gives way or gives ErrInTheWay.
func (m *Marker) Vacate(names ...string) error {
	for _, name := range names {
		if err := vacate(m.dir, name, false); err != nil {
			return err
		}
	}
	return nil
}
