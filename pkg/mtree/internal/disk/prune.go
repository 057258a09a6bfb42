package disk

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
)

// Prune says what PruneTree leaves in place.
type Prune struct {
	Path  string                             // path of the removed entry, as Keep gets it
	Keep  func(path string, isDir bool) bool // true: the entry stays; not called for the top; nil: nothing stays
	Trees bool                               // remove the roots of trees and copies, too

	// Ended ends the removal: once it reports true, all that is left stays; nil: it never does.
	Ended func() bool

	// Enter makes directories accessible while they are counted, if their owner lacks r or x: a
	// removal would do so, too. They get their modes back. Where that is not allowed, the count
	// fails; without Enter, what is below such a directory is not counted.
	Enter bool

	// Stays is called for each directory that PruneTree leaves because of what is in
	// it, children first; nil: not called.
	Stays func(dir *Dir, path string) error
}

// Count is what a removal takes away.
type Count struct {
	Entries int64
	Staying int64 // directories that stay, for what is in them
	Stays   bool  // Prune.Keep left something
	Tree    bool  // it includes the root of a tree or copy
}

func (c *Count) add(more Count) {
	c.Entries += more.Entries
	c.Staying += more.Staying
	c.Stays = c.Stays || more.Stays
	c.Tree = c.Tree || more.Tree
}

// keeps reports whether an entry stays.
func (p *Prune) keeps(path string, isDir bool) bool {
	return p.Ended != nil && p.Ended() || p.Keep != nil && p.Keep(path, isDir)
}

// PruneTree removes the entry name and everything below it, except for what p keeps and
// the directories above that. It goes on if something cannot be removed, and returns the
// first error. The root of a tree or copy is an error, unless p.Trees.
func (d *Dir) PruneTree(name string, p Prune) (Count, error) { return d.prune(name, p, false) }

// CountPruned returns what PruneTree would remove. It fails if some of it is on another file
// system. Cost: one openat, getdents64 and two statx per directory, one statx per entry.
func (d *Dir) CountPruned(name string, p Prune) (Count, error) { return d.prune(name, p, true) }

func (d *Dir) prune(name string, p Prune, dry bool) (c Count, err error) {
	info, err := d.Stat(name)
	if err != nil {
		return c, err
	}
	if info.Kind == mtree.Dir {
		if c, err = d.pruneBelow(name, info, p, dry); err != nil || c.Stays {
			c.Staying++ // guard: TestCountAll
			return c, err
		}
	}
	if !dry {
		flags := 0
		if info.Kind == mtree.Dir {
			flags = unix.AT_REMOVEDIR
		}
		if err := sys.Unlinkat(d.fd, name, flags); err != nil {
			return c, d.PathError("remove", name, err)
		}
	}
	c.Entries++
	return c, nil
}

// pruneBelow is prune for what is in the directory name.
func (d *Dir) pruneBelow(name string, info Info, p Prune, dry bool) (c Count, err error) {
	if err := d.checkBorder(info, name); err != nil {
		return c, err
	}
	var dir *Dir
	if dry {
		if p.Enter && d.openForCount(name, info) { // guard (without p.Enter): ordinary-user.txtar
			defer func() { _ = d.ChmodEntry(name, info.Mode) }()
		}
		if dir, err = d.OpenDir(name); errors.Is(err, fs.ErrPermission) && !p.Enter {
			return c, nil // the removal will make it accessible, if it is allowed to
		}
	} else {
		dir, err = d.openToEmpty(name, info)
	}
	if err != nil {
		return c, err
	}
	defer dir.Close()
	if c.Tree = dir.HasMarker(); c.Tree && !dry {
		if !p.Trees {
			return c, dir.PathError("remove", ".", errTree)
		}
		if _, err := dir.ClearTree(mtree.MarkerName, true); err != nil {
			return c, err
		}
	}
	var gone []string // removed after the scan, which a change of the directory may confuse
	err = dir.ScanStat(func(raw []byte, entry Info) error {
		isDir := entry.Kind == mtree.Dir
		switch {
		case p.keeps(mtree.JoinPath(p.Path, string(raw)), isDir):
			c.Stays = true
		case dry && !isDir:
			c.Entries++
		default:
			gone = append(gone, string(raw))
		}
		return nil
	})
	if dry && !p.Enter && errors.Is(err, fs.ErrPermission) { // guard (without !p.Enter): TestWhatNobodyMayCountStays
		return dir.countNames(p) // likewise; there is no right to look at what is in it
	}
	for _, name := range gone {
		if p.Ended != nil && p.Ended() { // guard: TestExpiryEndsWithItsMirror
			c.Stays = true
			break
		}
		below := p
		below.Path = mtree.JoinPath(p.Path, name)
		more, pruneErr := dir.prune(name, below, dry)
		c.add(more)
		if IsGone(pruneErr) {
			pruneErr = nil
		}
		if err == nil {
			err = pruneErr
		}
	}
	if err == nil && c.Stays && !dry && p.Stays != nil {
		err = p.Stays(dir, p.Path)
	}
	return c, err
}

// openForCount makes the directory name accessible if it is not, and reports whether it did: then
// its mode is another one than info says.
func (d *Dir) openForCount(name string, info Info) bool {
	const look = 0o500
	if info.Mode&look == look {
		return false
	}
	if dir, err := d.OpenDir(name); err == nil {
		_, err = dir.Stat(mtree.MarkerName)
		_ = dir.Close()
		if !IsDenied(err) {
			return false // there are rights besides the owner's
		}
	}
	return d.ChmodEntry(name, info.Mode|look) == nil
}

// countNames counts the entries of a directory that may be read and not entered, without
// what is below them.
func (d *Dir) countNames(p Prune) (c Count, err error) {
	err = d.Scan(func(name []byte, kind mtree.Kind) error {
		switch {
		case p.Keep != nil && p.Keep(mtree.JoinPath(p.Path, string(name)), kind == mtree.Dir):
			c.Stays = true
		default:
			c.Entries++
		}
		return nil
	})
	return c, err
}
