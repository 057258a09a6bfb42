package since

import (
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
)

// lookBack is how much older than the stamp the times of a change may be: those of a long write
// are set at its start.
const lookBack = 10 * time.Second

// depth is what is told of a directory.
type depth int

const (
	recent  depth = iota // its names with times after the stamp
	stamped              // and the directories below that have stamps above the one asked for
	all                  // all names, and all directories below
)

// byStamp goes down from the root where stamps lie above the one asked for. A directory that
// arrived has such stamps in all of it, and one from which something was removed has one.
func (t *telling) byStamp(root disk.Info) error {
	var err error
	if t.exceptions, err = t.Marker.ReadExceptions(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	if t.exceptions != nil && len(t.exceptions.Unread) > 0 {
		t.Log.Warn("directories that watch may not read are not told", "directories", len(t.exceptions.Unread),
			"remedy", "run watch with the right to read them; .tidemark/unread names them")
	}
	if !t.isStamped("", root) {
		return nil
	}
	return t.visit(t.Root, root, "", stamped)
}

// everything tells all there is.
func (t *telling) everything(root disk.Info) error { return t.visit(t.Root, root, "", all) }

// isStamped reports whether the directory at path has a stamp above the one asked for.
func (t *telling) isStamped(path string, info disk.Info) bool {
	stamp, ok := t.exceptions.StampOf(path, info.Node.Ino)
	if !ok { // guard (always): TestToldByStamp
		stamp = info.MTime
	}
	return stamp.After(t.Since)
}

// open visits the directory at path. What is gone by now is told by later batches.
func (t *telling) open(path string, d depth) error {
	dir, err := t.Root.OpenDirPath(path, t.CrossMounts)
	if err != nil {
		t.cannotOpen(path, err)
		return nil
	}
	defer dir.Close()
	info, err := dir.Self()
	if err != nil {
		t.cannotRead(path, err)
		return nil
	}
	return t.visit(dir, info, path, d)
}

// cannotOpen tells a directory that cannot be opened as a name of the one above it.
func (t *telling) cannotOpen(path string, err error) {
	if path != "" && !disk.IsGone(err) {
		t.name(path) // guard: TestToldCannotBeRead
	}
	t.cannotRead(path, err)
}

// cannotRead counts a directory that could not be read, unless it is gone.
func (t *telling) cannotRead(path string, err error) {
	if disk.IsGone(err) {
		return
	}
	t.unreadable++
	t.Log.Warn("cannot read a directory", "path", mtree.DirPath(path), "error", err, "remedy", "ask as a user who may read it")
}

// visit tells a directory, and goes down. Cost: one descriptor for each level.
func (t *telling) visit(dir *disk.Dir, self disk.Info, path string, d depth) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	t.dir(path)
	var children []string
	err := dir.ScanStat(func(raw []byte, info disk.Info) error {
		name := string(raw)
		below := mtree.JoinPath(path, name)
		switch {
		case t.Exclude.Hides(below, info.Kind == mtree.Dir), disk.IsBorder(self, info) && !t.CrossMounts, t.borders[below]:
		case info.Kind != mtree.Dir:
			// guard (without d == all): TestToldByName
			if d == all || t.isRecent(info) { // guard (without t.isRecent): TestToldByStamp
				t.name(below)
			}
		case d == all || d == stamped && t.isStamped(below, info):
			children = append(children, name)
		}
		return t.err
	})
	if t.err != nil {
		return exit.With(exit.Local, t.err, "")
	}
	if err != nil {
		t.cannotRead(path, err)
	}
	for _, name := range children {
		if err := t.child(dir, name, mtree.JoinPath(path, name), d); err != nil {
			return err
		}
	}
	return nil
}

// child visits a directory in dir.
func (t *telling) child(dir *disk.Dir, name, path string, d depth) error {
	below, err := dir.OpenDir(name)
	if err != nil {
		t.cannotOpen(path, err)
		return nil
	}
	defer below.Close()
	self, err := below.Self()
	if err != nil {
		t.cannotRead(path, err)
		return nil
	}
	return t.visit(below, self, path, d)
}

// isRecent reports whether the times of an entry say that it may have changed since the stamp.
func (t *telling) isRecent(info disk.Info) bool {
	from := t.Since.Add(-lookBack)
	return info.MTime.After(from) || info.CTime.After(from)
}
