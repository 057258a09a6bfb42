package directory

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// lastDir keeps the last directory open, because files come one directory after another.
type lastDir struct {
	root        *disk.Dir
	crossMounts bool
	vouched     func(path string) error // refuses directories; nil: it refuses none
	path        string                  // of dir
	dir         *disk.Dir               // nil: none is open
}

// newLastDir returns one for the source as it is now.
func (s *Source) newLastDir() *lastDir {
	return &lastDir{root: s.root, crossMounts: s.config.CrossMounts, vouched: s.vouched}
}

// open returns the directory at path. l keeps owning it. It is opened for its files: if it is not
// itself what may not be read, the error is disk.ErrAbove, because it alone lists them.
func (l *lastDir) open(path string) (*disk.Dir, error) {
	if l.dir != nil && l.path == path {
		return l.dir, nil
	}
	l.close()
	if l.vouched != nil {
		if err := l.vouched(path); err != nil {
			return nil, err
		}
	}
	dir, err := l.root.OpenDirPath(path, l.crossMounts)
	if err != nil {
		err = l.root.MarkAbove(mtree.JoinPath(path, "."), l.crossMounts, err) // guard: TestDeniedAbove
		return nil, err
	}
	l.dir, l.path = dir, path
	return dir, nil
}

// close closes the directory, if one is open.
func (l *lastDir) close() {
	if l.dir != nil {
		_ = l.dir.Close()
		l.dir = nil
	}
}
