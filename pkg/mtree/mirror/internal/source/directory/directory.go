package directory

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// Config says which directory is read, and how. Path is needed.
type Config struct {
	Path        string
	CrossMounts bool // read directories on other file systems, too, if watch hears them
	Owner       bool // list owners

	// Check is called before Root follows Path to another directory than before. Root
	// returns its error. nil: any directory is followed.
	Check func(path string) error
}

// Source is a directory of this machine. Root may replace the directory that is open,
// so it must not be called while another method is under way.
type Source struct {
	config        Config
	root          *disk.Dir
	place         string            // state.PlaceOf(root)
	device        uint64            // of the root
	behind        time.Duration     // behindOf(root)
	identity      string            // whose rights count for reading: machine.Identity
	crosses       atomic.Bool       // what is mounted in the tree may be read: see mayCross
	records       records.LogReader // of a copy without xattrs
	hasExceptions atomic.Bool       // watch publishes stamps apart from the times of directories
	exceptions    state.ExceptionsReader
	now           func() mtree.Stamp // the clock of listings; nil: the real one
}

// Open opens the directory at c.Path. Errors carry exit.Unreachable.
func Open(c Config) (*Source, error) {
	root, err := disk.OpenRoot(c.Path)
	if err != nil {
		return nil, exit.With(exit.Unreachable, err, "SOURCE must be a directory, or a URL that begins with http:// or https://")
	}
	s := &Source{config: c, identity: machine.Identity()}
	if err := s.take(root); err != nil {
		_ = root.Close()
		return nil, exit.With(exit.Unreachable, err, "")
	}
	return s, nil
}

// take makes root the directory that is open.
func (s *Source) take(root *disk.Dir) error {
	place, err := state.PlaceOf(root)
	if err != nil {
		return err
	}
	self, err := root.Self()
	if err != nil {
		return err
	}
	s.root, s.place, s.device, s.behind = root, place, self.Node.Dev, behindOf(root)
	return nil
}

// Close closes the directory.
func (s *Source) Close() { _ = s.root.Close() }

// Dir returns the directory that is open. It belongs to s, which may close it in Root.
func (s *Source) Dir() *disk.Dir { return s.root }

// follow opens the directory that the path leads to, if that is not the open one. Then it
// returns source.ErrOtherDirectory, because nothing known of the earlier one is valid.
func (s *Source) follow() error {
	err := s.root.StillAt(s.config.Path)
	if !errors.Is(err, disk.ErrReplaced) {
		return err
	}
	if s.config.Check != nil {
		if err := s.config.Check(s.config.Path); err != nil {
			return err
		}
	}
	root, err := disk.OpenRoot(s.config.Path)
	if err != nil {
		return err
	}
	was := s.root
	if err := s.take(root); err != nil {
		_ = root.Close()
		return err
	}
	_ = was.Close()
	s.records, s.exceptions = records.LogReader{}, state.ExceptionsReader{}
	return source.ErrOtherDirectory
}

// Root returns the root directory. Cost: about 20 system calls, and those of List if the
// root changed. Errors are source.ErrDenied, source.ErrGone, source.ErrOtherDirectory, or
// those of reading.
func (s *Source) Root(_ context.Context, poll source.Poll) (root source.Root, err error) {
	if err := s.follow(); err != nil {
		return root, err
	}
	d, err := s.open("")
	if err != nil {
		return root, err
	}
	defer d.Close()
	p := &d.published
	root.Tree, root.Node = d.tree(), d.node
	root.Upstreams, root.State, root.Server = wire.FormatUpstreams(p.Upstreams()), p.State, "directory"
	root.Fingerprint, root.Place, root.Unread = d.fingerprint, s.place, p.UnreadDirs()
	if counted := p.Counted(); counted != nil {
		root.Counted = counted.Entries
	}
	if root.Tree.ID != "" {
		root.TreePath, root.Runs = p.Tree.At(""), p.Tree.Runs
	}
	if p.State.Prunes() {
		if root.Validator, err = d.validator(&root); err != nil {
			return root, named(err)
		}
		if root.Unchanged = root.Validator == poll.Known; root.Unchanged {
			return root, nil
		}
	}
	if root.Dir, err = d.list(); err != nil {
		return root, err
	}
	if root.Runs != nil {
		// watch records its run before it stamps anything. The run is read again here, so
		// that its stamps are not taken for those of the run before.
		if now, err := state.ReadPublished(s.root, ""); err == nil && now.Tree.ID == root.Tree.ID {
			root.Runs = now.Tree.Runs // guard: TestARunThatBeginsMeanwhile
		}
	}
	return root, nil
}

// List returns the directory at path. If it is older than least, the stamp that its
// parent lists, it is read once more. Cost: those of lister.Lister.Read, and some ten
// system calls. Errors are those of Root.
func (s *Source) List(_ context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	l, err := s.listOnce(path)
	if err == nil && least != source.Fresh && l.Stamp.Before(least) {
		l, err = s.listOnce(path)
	}
	return l, err
}

func (s *Source) listOnce(path string) (source.Dir, error) {
	d, err := s.open(path)
	if err != nil {
		return source.Dir{}, err
	}
	defer d.Close()
	return d.list()
}

// Part returns source.ErrWhole: who needs to know what changed lists the directory again.
func (s *Source) Part(context.Context, string, mtree.Stamp) (source.Dir, error) {
	return source.Dir{}, source.ErrWhole
}

// Renewed reports whether there are other credentials than before: there are none.
func (s *Source) Renewed() bool { return false }

// Serves returns false: a directory lists all that it has.
func (s *Source) Serves(context.Context, string, []byte) bool { return false }

// fingerprint returns a text for everything, besides the directories, that decides which
// entries a listing has, as in the ETags of serve.
func (s *Source) fingerprint(p *state.Published, crosses bool) string {
	rest := fmt.Sprintf("%q %s %q", p.Tree.Filters, s.identity, p.Status.SourceFingerprint)
	text := fmt.Sprintf("mounts=%t,%x", crosses, crc32.ChecksumIEEE([]byte(rest)))
	if p.Tree.Role == state.Copy && !p.Bound {
		text += ",unkept" // once a mirror keeps it, what its stamps stand for is compared
	}
	return text
}

// named wraps an error of reading in the error of package source that callers branch on.
// Only what permissions refuse counts as denied, as in serve: a copy is complete without
// it, because the stamp moves when the right is given. If the right is missing further up, no stamp
// of the directory that lists it moves: that is a failure, and it is looked at again.
func named(err error) error {
	switch {
	case errors.Is(err, disk.ErrAbove): // guard: TestDeniedAbove
		return err
	case disk.IsUnreadable(err):
		return fmt.Errorf("%w: %w", source.ErrDenied, err)
	case disk.IsGone(err), errors.Is(err, disk.ErrNotRegular):
		return fmt.Errorf("%w: %w", source.ErrGone, err)
	}
	return err
}
