package directory

import (
	"fmt"
	"time"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// openDir is a directory of a source, opened to be listed, with what is published about
// its tree.
type openDir struct {
	*disk.Dir
	path      string
	node      disk.Node
	published state.Published
	lister    lister.Lister
	crosses   bool // what is mounted in the tree may be read

	fingerprint string        // source.Dir.Fingerprint
	behind      time.Duration // source.Dir.Behind
}

// open opens a directory.
func (s *Source) open(path string) (d openDir, err error) {
	d.path = path
	read := time.Now()
	if d.published, err = state.ReadPublished(s.root, ""); err != nil {
		return d, err
	}
	s.hasExceptions.Store(d.published.HasExceptions())
	if d.lister, err = s.listerFor(&d.published, read); err != nil {
		return d, err
	}
	d.crosses = s.config.CrossMounts && d.published.Crosses()
	s.crosses.Store(d.crosses)
	d.fingerprint = s.fingerprint(&d.published, d.crosses)
	if err := s.vouched(path); err != nil {
		return d, named(err)
	}
	d.Dir, d.node, err = s.openDir(path, d.crosses)
	if s.config.CrossMounts && disk.IsBeyond(err) {
		return d, fmt.Errorf("%w: watch does not hear what is on another file system there: %w", source.ErrDenied, err)
	}
	if err != nil {
		return d, named(err)
	}
	d.behind = s.behind
	if d.crosses { // guard: TestTheClockOfAFileServer
		d.behind = behindOf(d.Dir) // it may be on another file system
	}
	return d, nil
}

// openDir opens the directory at path. Unless it crosses mounts, another file system gives
// disk.ErrBeyond, also one that is no mount: a subvolume of btrfs. Listings and watch see
// another one there, too.
func (s *Source) openDir(path string, crosses bool) (*disk.Dir, disk.Node, error) {
	dir, err := s.root.OpenDirPath(path, crosses)
	if err != nil {
		err = s.root.MarkAbove(path, crosses, err) // guard: TestDeniedAbove
		return nil, disk.Node{}, err
	}
	info, err := dir.Self()
	if err == nil && !crosses && info.Node.Dev != s.device { // guard: TestNoSubvolumeIsReadThatWatchDoesNotHear
		err = s.root.PathError("open", path, disk.ErrBeyond)
	}
	if err != nil {
		_ = dir.Close()
		return nil, disk.Node{}, err
	}
	return dir, info.Node, nil
}

// farBehind is how far what this machine knows of a distant file system may be behind our clock: a
// minute by which the clocks may differ, as with any source, and one for which the kernel shows
// attributes as it had them (acregmax and acdirmax in nfs(5)). Nothing tells more exactly: the latest
// ctime of a directory may be years old, and in a cluster it may be of a third clock.
const farBehind = source.AheadOfUs + time.Minute

// behindOf returns source.Dir.Behind for directories on the file system of d. Cost: fstatfs, which
// asks the server.
func behindOf(d *disk.Dir) time.Duration {
	if name, err := machine.Distant(d.FD()); err == nil && name == "" {
		return 0
	}
	return farBehind
}

// listerFor returns a lister for the tree. read is when p was read.
func (s *Source) listerFor(p *state.Published, read time.Time) (lister.Lister, error) {
	l := lister.Lister{
		Root: s.root, TreeID: p.Tree.ID, SameKey: "-", Hidden: true, Owner: s.config.Owner,
		Copy: p.IsCopy(), Mounts: s.config.CrossMounts, Now: s.now,
	}
	if p.Tree.Role == state.Source {
		l.Exceptions = func() (*state.Exceptions, error) { return s.readExceptions(read) }
	} else {
		l.MayBeCopy = true
	}
	if !l.Copy {
		return l, nil
	}
	filters, err := glob.Recorded(glob.Among(p.Tree.Filters))
	if err != nil {
		return l, err
	}
	l.CopyFilter = filters.Excluded
	l.Log, err = s.records.Read(s.root, "")
	return l, err
}

// readExceptions returns the stamps that watch publishes apart from the times of
// directories, as they are after the call; nil if there are none. read is when it was
// last read whether there are any.
func (s *Source) readExceptions(read time.Time) (*state.Exceptions, error) {
	if time.Since(read) > state.StatusAge {
		p, err := state.ReadPublished(s.root, "")
		if err != nil {
			return nil, err
		}
		s.hasExceptions.Store(p.HasExceptions())
	}
	if !s.hasExceptions.Load() {
		return nil, nil
	}
	return s.exceptions.Read(s.root, "")
}

// vouched returns an error if watch may not read the directory at path, or one above it:
// serve refuses to list those, too.
func (s *Source) vouched(path string) error {
	if !s.hasExceptions.Load() {
		return nil
	}
	exceptions, err := s.exceptions.Read(s.root, "")
	if err != nil {
		return err
	}
	return exceptions.Vouched(s.root, path)
}

// tree names the tree that the directory is part of.
func (d *openDir) tree() source.Tree {
	return source.Tree{ID: d.published.Tree.ID, Epoch: d.published.Tree.Epoch}
}

// list reads the directory.
func (d *openDir) list() (out source.Dir, err error) {
	out.Tree, out.Node, out.Fingerprint, out.Behind, out.Direct = d.tree(), d.node, d.fingerprint, d.behind, true
	if out.Listing, err = d.lister.Read(d.Dir, d.path); err != nil {
		return out, named(err)
	}
	return out, nil
}

// validator returns a text that changes whenever the root's listing may have changed.
func (d *openDir) validator(root *source.Root) (string, error) {
	self, err := d.lister.Self(d.Dir, "")
	if err != nil {
		return "", err
	}
	hot := d.lister.Copy && !d.lister.Finished(d.Dir, "", self)
	return fmt.Sprintf("%s-%s-%d-%s-%t-%s", self.MTime, root.Tree.ID, root.Tree.Epoch, root.State, hot, root.Fingerprint), nil
}
