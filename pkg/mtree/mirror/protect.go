package mirror

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
)

// protects reports whether a directory that is to go holds something that
// filters exclude: that is not deleted, so the directory stays as it is.
func (p *pass) protects(dir *disk.Dir, n *node, e *mtree.Entry) bool {
	if p.filters.Empty() || e.Kind != mtree.Dir {
		return false
	}
	sub, err := dir.OpenDir(e.Name)
	if err != nil {
		return false
	}
	defer sub.Close()
	return holdsExcluded(p.filters, sub, mtree.JoinPath(n.path, e.Name))
}

func holdsExcluded(filters *glob.List, dir *disk.Dir, path string) bool {
	var below []string
	err := dir.ScanStat(func(raw []byte, info disk.Info) error {
		name := string(raw)
		if filters.Excluded(mtree.JoinPath(path, name), info.Kind == mtree.Dir) {
			return errExcluded
		}
		if info.Kind == mtree.Dir {
			below = append(below, name)
		}
		return nil
	})
	for _, name := range below {
		if err != nil {
			break
		}
		sub, openErr := dir.OpenDir(name)
		if openErr != nil {
			return true // not known: it stays
		}
		if holdsExcluded(filters, sub, mtree.JoinPath(path, name)) {
			err = errExcluded
		}
		_ = sub.Close()
	}
	return err != nil
}

var errExcluded = errors.New("excluded")
