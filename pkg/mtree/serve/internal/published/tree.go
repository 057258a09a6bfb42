package published

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// Config says what is published. Root, Exclude, Log and Now are needed.
type Config struct {
	Root        string     // the tree; symlinks in it are followed once, by Open
	StateDir    string     // where watch or mirror keep their state; "": Root/.tidemark
	Hidden      bool       // publish dotfiles too
	Owner       bool       // listings name owners
	CrossMounts bool       // publish directories on other file systems too
	Patterns    []string   // the globs in Exclude: a part of the fingerprint
	Exclude     *glob.List // what is not published
	Log         *slog.Logger
	Now         func() mtree.Stamp // the clock

	PassedOver *atomic.Int64 // set to how many mount points were passed over; nil: not counted
}

// Tree is a published tree: the root, opened once, and what .tidemark says.
type Tree struct {
	cfg              Config
	root             *disk.Dir
	subvolume        uint64 // the device of the root, if that is on btrfs; 0: it is not
	options          string // every option that alters a listing, for the fingerprint
	reader           string // whose rights count for reading, for the fingerprint
	mounts           mounts
	latest           atomic.Pointer[Snapshot]
	log              records.LogReader // of a copy without xattrs
	exceptionsReader state.ExceptionsReader
	journal          journal.Follower
	another          chan struct{} // see Another
	onceAnother      sync.Once

	mu         sync.Mutex // held while a new snapshot is read; guards lastReport
	lastReport string     // the error of the last read, logged once while it lasts
}

// Open opens the tree at c.Root. A tree whose state cannot be read is still published,
// unless its state is of a newer format: state.ErrNewerFormat. A StateDir within the tree
// gives state.ErrWithin.
func Open(c Config) (*Tree, error) {
	root, err := disk.OpenRoot(c.Root)
	if err != nil {
		return nil, err
	}
	if err := state.CheckDir(root, c.StateDir, c.CrossMounts); err != nil {
		_ = root.Close()
		return nil, err
	}
	subvolume, err := subvolumeOf(root)
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	t := &Tree{cfg: c, root: root, subvolume: subvolume, mounts: mounts{log: c.Log, count: c.PassedOver}, another: make(chan struct{})}
	t.options = fmt.Sprintf("%t %t %t %q", c.Hidden, c.Owner, c.CrossMounts, c.Patterns)
	t.reader = machine.Identity()
	first, err := t.read()
	if errors.Is(err, state.ErrNewerFormat) {
		_ = root.Close()
		return nil, err
	}
	t.publish(first)
	if err != nil {
		t.replace(first) // logs why
	}
	return t, nil
}

// subvolumeOf returns the device of a root on btrfs, 0 on other file systems. Cost: fstatfs; on
// btrfs also fstat.
func subvolumeOf(root *disk.Dir) (dev uint64, err error) {
	isBtrfs, err := root.IsBtrfs()
	if err != nil || !isBtrfs {
		return 0, err
	}
	self, err := root.Self()
	return self.Node.Dev, err
}

// Close closes the root. Nothing else may be under way.
func (t *Tree) Close() error { return t.root.Close() }

// Root returns the root itself. It stays open. All readers share its position, so
// OpenDir("") to list it.
func (t *Tree) Root() *disk.Dir { return t.root }

// Crosses reports whether directories beyond mounts are published at the moment.
func (t *Tree) Crosses() bool { return t.latest.Load().crosses }

// Hides reports whether path is too long, or it or a directory above it is not published.
func (t *Tree) Hides(path string, isDir bool) bool {
	if len(path) > wire.MaxPath || !t.cfg.Hidden && hasDot(path) {
		return true
	}
	return t.cfg.Exclude.Hides(path, isDir)
}

// hasDot reports whether a component of path begins with a dot.
func hasDot(path string) bool {
	for i := range len(path) {
		if path[i] == '.' && (i == 0 || path[i-1] == '/') {
			return true
		}
	}
	return false
}

// Lister returns how directories are read for answers under s.
func (t *Tree) Lister(s *Snapshot) *lister.Lister {
	l := &lister.Lister{
		Root:   t.root,
		TreeID: s.Tree.ID,
		Hidden: t.cfg.Hidden,
		Owner:  t.cfg.Owner,
		Copy:   s.IsCopy(),
		Mounts: t.cfg.CrossMounts,
		Now:    t.cfg.Now,
		Log:    s.log,
	}
	if !t.cfg.CrossMounts {
		l.OtherFileSystem = t.mounts.pass
	}
	if !t.cfg.Exclude.Empty() {
		l.Exclude = t.cfg.Exclude.Excluded
	}
	if !s.filters.Empty() {
		l.CopyFilter = s.filters.Excluded
	}
	if s.Tree.Role == state.Source {
		l.Exceptions = t.exceptions
		l.Changed = func(path string, stamp mtree.Stamp) ([]string, error) { return t.changed(s, path, stamp) }
	} else {
		l.MayBeCopy = true
	}
	return l
}

// Quoted returns the text of err in quotes, because names are untrusted, with paths that
// begin at the root: the place of the tree on this host stays out of the log.
func (t *Tree) Quoted(err error) string {
	text := err.Error()
	root := strings.TrimSuffix(t.cfg.Root, "/")
	if !strings.HasPrefix(root, "/") {
		return strconv.Quote(text)
	}
	var out []byte
	for i := 0; i < len(text); {
		rest, is := strings.CutPrefix(text[i:], root)
		begins, ends := i == 0 || besidePaths(text[i-1]), rest == "" || rest[0] == '/' || besidePaths(rest[0])
		if !is || !begins || !ends { // something else, perhaps a part of another path
			out = append(out, text[i])
			i++
			continue
		}
		if !strings.HasPrefix(rest, "/") {
			out = append(out, '/')
		}
		i += len(root)
	}
	return strconv.Quote(string(out))
}

// besidePaths reports whether a byte of a message stands before or after a path in it.
func besidePaths(b byte) bool { return strings.IndexByte(" :,;=()\"'", b) >= 0 }
