package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"os"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// localSource is a directory of this machine, or one mounted here, read by the
// same rule as serve reads it. Dotfiles belong to it: nothing is published.
type localSource struct {
	root        *disk.Dir // changed by a question for the root, which is asked between passes only
	path        string
	place       string // disk.Place of root
	dest        string
	crossMounts bool
	owner       bool
	hears       atomic.Bool       // whether what is mounted in the tree may be read: see heard
	reader      string            // machine.Reader
	log         records.LogReader // of a copy without xattrs
	apart       atomic.Bool       // watch tells of directories apart from their times
	aparts      state.ApartReader
}

func openLocal(c *Config) (*localSource, error) {
	root, err := disk.OpenRoot(c.Source)
	if err != nil {
		return nil, exit.With(exit.Unreachable, err, "SOURCE must be a directory, or a URL that begins with http:// or https://")
	}
	place, err := state.PlaceOf(root)
	if err != nil {
		_ = root.Close()
		return nil, exit.With(exit.Unreachable, err, "")
	}
	return &localSource{root: root, path: c.Source, place: place, dest: c.Dest, crossMounts: c.CrossMounts, owner: c.Owner, reader: machine.Identity()}, nil
}

// source.ErrOtherDirectory says that the path of a local source leads to another directory than
// before, which is opened by now.
var source.ErrOtherDirectory = errors.New("SOURCE is another directory than before: it was mounted anew, or a link was turned")

// standing looks whether the path still leads to the root that is open, and opens
// the one it leads to if not. What is known of the other one is void then, which
// the error says.
func (s *localSource) standing() error {
	err := s.root.StillAt(s.path)
	if !errors.Is(err, disk.ErrReplaced) {
		return err
	}
	if err := apart(s.path, s.dest); err != nil {
		return err
	}
	root, err := disk.OpenRoot(s.path)
	if err != nil {
		return err
	}
	place, err := state.PlaceOf(root)
	if err != nil {
		_ = root.Close()
		return err
	}
	_ = s.root.Close()
	s.root, s.place, s.log, s.aparts = root, place, records.LogReader{}, state.ApartReader{}
	return source.ErrOtherDirectory
}

// heard reports whether what is on file systems mounted in the tree may be read.
func (s *localSource) heard(p *state.Published) bool {
	return s.crossMounts && p.Crosses()
}

// localDir is a directory of a local source, opened to be listed.
type localDir struct {
	*disk.Dir
	path      string
	node      disk.Node
	published state.Published
	lister    lister.Lister
	heard     bool
}

// open opens a directory and reads what is published of its tree.
func (s *localSource) open(path string) (d localDir, err error) {
	d.path = path
	read := time.Now()
	if d.published, err = state.ReadPublished(s.root, ""); err != nil {
		return d, err
	}
	p := &d.published
	s.apart.Store(p.Apart())
	d.lister = lister.Lister{
		TreeID: p.Tree.ID, Hidden: true, Owner: s.owner,
		Copy: p.IsCopy(), Mounts: s.crossMounts,
	}
	if p.Tree.Role == state.Source {
		d.lister.Apart = func() (*state.Apart, error) { return s.toldApart(read) }
	}
	if d.lister.Copy {
		filters, err := glob.Recorded(glob.Among(p.Tree.Filters))
		if err != nil {
			return d, err
		}
		d.lister.CopyFilter = filters.Excluded
		if d.lister.Log, err = s.log.Read(s.root, ""); err != nil {
			return d, err
		}
	}
	d.heard = s.heard(p)
	s.hears.Store(d.heard)
	if err := s.vouched(path); err != nil {
		return d, reading(err)
	}
	d.Dir, err = s.root.OpenDirPath(path, d.heard)
	if s.crossMounts && disk.IsBeyond(err) {
		return d, fmt.Errorf("%w: watch does not hear what is mounted there: %w", source.ErrDenied, err)
	}
	if err != nil {
		return d, reading(err)
	}
	info, err := d.Self()
	if err != nil {
		_ = d.Close()
		return d, reading(err)
	}
	d.node = info.Node
	return d, nil
}

func (d *localDir) list() (l source.Dir, err error) {
	l.Tree, l.Node = d.tree(), d.node
	if l.Listing, err = d.lister.Read(d.Dir, d.path); err != nil {
		return l, reading(err)
	}
	return l, nil
}

func (d *localDir) tree() source.Tree {
	return source.Tree{ID: d.published.Tree.ID, Epoch: d.published.Tree.Epoch}
}

// List implements source.
func (s *localSource) List(_ context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	l, err := s.listOne(path)
	if err == nil && least != source.Fresh && l.Stamp.Before(least) {
		l, err = s.listOne(path) // it was read while its parent changed
	}
	return l, err
}

func (s *localSource) listOne(path string) (source.Dir, error) {
	d, err := s.open(path)
	if err != nil {
		return source.Dir{}, err
	}
	defer d.Close()
	return d.list()
}

// Root implements source. With poll.Known it costs about 20 system calls.
func (s *localSource) Root(_ context.Context, poll source.Poll) (root source.Root, err error) {
	if err := s.standing(); err != nil {
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
	root.Fingerprint, root.Place = s.fingerprint(p, d.heard), s.place
	if p.Tree.Role == state.Copy && !p.Bound {
		root.Fingerprint += ",unkept" // what its stamps stand for is to be compared once a mirror keeps it
	}
	if root.Tree.ID != "" {
		root.TreePath, root.Runs = p.Tree.At(""), p.Tree.Runs
	}
	if p.State.Prunes() {
		if root.Validator, err = d.validator(&root); err != nil {
			return root, reading(err)
		}
		if root.Unchanged = root.Validator == poll.Known; root.Unchanged {
			return root, nil
		}
	}
	if root.Dir, err = d.list(); err != nil {
		return root, err
	}
	if root.Runs != nil {
		// A run is noted before it stamps anything: what it stamped must not be
		// taken for the work of the one before.
		if now, err := state.ReadPublished(s.root, ""); err == nil && now.Tree.ID == root.Tree.ID {
			root.Runs = now.Tree.Runs
		}
	}
	return root, nil
}

// validator is another one whenever the root's listing may be another one.
func (d *localDir) validator(root *source.Root) (string, error) {
	self, err := d.lister.Self(d.Dir, "")
	if err != nil {
		return "", err
	}
	hot := d.lister.Copy && !d.lister.Finished(d.Dir, "", self)
	return fmt.Sprintf("%s-%s-%d-%s-%t-%s", self.MTime, root.Tree.ID, root.Tree.Epoch, root.State, hot, root.Fingerprint), nil
}

// Renewed implements source: there are no credentials.
func (s *localSource) Renewed() bool { return false }

// Serves implements source: a directory lists all that it gives out.
func (s *localSource) Serves(context.Context, string, []byte) bool { return false }

// toldApart returns what watch tells of directories apart from their times, as it is
// after the call. read is when somebody read last whether that is anything.
func (s *localSource) toldApart(read time.Time) (*state.Apart, error) {
	if time.Since(read) > state.StatusAge {
		p, err := state.ReadPublished(s.root, "")
		if err != nil {
			return nil, err
		}
		s.apart.Store(p.Apart())
	}
	if !s.apart.Load() {
		return nil, nil
	}
	return s.aparts.Read(s.root, "")
}

// vouched returns an error if the directory at path is, or lies in, one that watch
// may not read, as serve does.
func (s *localSource) vouched(path string) error {
	if !s.apart.Load() {
		return nil
	}
	apart, err := s.aparts.Read(s.root, "")
	if err != nil {
		return err
	}
	return apart.Vouched(s.root, path)
}

// fingerprint is what the E of ETags is for a source that is served.
func (s *localSource) fingerprint(p *state.Published, heard bool) string {
	rest := fmt.Sprintf("%q %s %q", p.Tree.Filters, s.reader, p.Status.SourceFingerprint)
	return fmt.Sprintf("mounts=%t,%x", heard, crc32.ChecksumIEEE([]byte(rest)))
}

// reading gives an error of reading the source the name that passes act on.
func reading(err error) error {
	switch {
	case disk.IsDenied(err):
		return fmt.Errorf("%w: %w", source.ErrDenied, err)
	case disk.IsGone(err), errors.Is(err, disk.ErrNotRegular):
		return fmt.Errorf("%w: %w", source.ErrGone, err)
	}
	return err
}

// Fetch implements source.
func (s *localSource) Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File] {
	return func(yield func(int, source.File) bool) {
		at := &lastDir{root: s.root, crossMounts: s.crossMounts, vouched: s.vouched}
		defer at.close()
		oneByOne(ctx, want, nil, func(ctx context.Context, w *source.Wanted, d demand) (source.File, error) { return s.openFile(ctx, at, w, d) }, yield)
	}
}

func (s *localSource) openFile(ctx context.Context, at *lastDir, w *source.Wanted, how demand) (source.File, error) {
	d, err := at.open(mtree.ParentPath(w.Path))
	if err != nil {
		return source.File{}, reading(err)
	}
	f, info, err := d.OpenFile(w.Name)
	if err != nil {
		return source.File{}, reading(err)
	}
	if info.MountRoot && s.crossMounts && !s.hears.Load() {
		_ = f.Close()
		return source.File{}, fmt.Errorf("%w: watch does not hear what is mounted over it", source.ErrDenied)
	}
	got := lister.EntryOf(w.Name, info)
	if how == asListed && !source.SameFile(w.Entry, &got) {
		_ = f.Close()
		return source.File{}, source.ErrMoved
	}
	body := &steadyFile{File: f, ctx: ctx, got: got, loose: how == asIs}
	if how == asIs {
		got.Size = -1 // what is read: it may shrink
	}
	return source.File{Got: got, Body: body, failed: &body.failed, close: body.close}, nil
}

// lastDir keeps the directory opened last, for files that come one directory
// after another.
type lastDir struct {
	root        *disk.Dir
	crossMounts bool
	vouched     func(path string) error // nil: any
	path        string
	dir         *disk.Dir
}

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
		return nil, err
	}
	l.dir, l.path = dir, path
	return dir, nil
}

func (l *lastDir) close() {
	if l.dir != nil {
		_ = l.dir.Close()
		l.dir = nil
	}
}

// steadyFile reads a file up to the size it had when it was opened and gives
// source.ErrMoved at the end if it is no longer that file.
type steadyFile struct {
	*os.File
	ctx   context.Context
	got   mtree.Entry
	read  int64
	loose bool

	failed error // why it ended early
}

func (f *steadyFile) close() { _ = f.File.Close() }

func (f *steadyFile) Read(buf []byte) (int, error) {
	n, err := f.readOn(buf)
	if err != nil && err != io.EOF {
		f.failed = err
	}
	return n, err
}

func (f *steadyFile) readOn(buf []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	left := f.got.Size - f.read
	if left == 0 {
		return 0, f.end()
	}
	if int64(len(buf)) > left {
		buf = buf[:left]
	}
	n, err := f.File.Read(buf)
	f.read += int64(n)
	if err == io.EOF && !f.loose {
		err = source.ErrMoved
	}
	return n, err
}

func (f *steadyFile) end() error {
	if f.loose {
		return io.EOF
	}
	info, err := disk.StatFile(f.File)
	if err != nil {
		return err
	}
	if now := lister.EntryOf(f.got.Name, info); !source.SameFile(&f.got, &now) {
		return source.ErrMoved
	}
	return io.EOF
}

// WriteTo hides os.File's, which would read past the size.
func (f *steadyFile) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{f})
}

func (s *localSource) Sums(ctx context.Context, paths []string) (map[string]source.Sum, error) {
	at := &lastDir{root: s.root, crossMounts: s.crossMounts, vouched: s.vouched}
	return at.sums(ctx, paths)
}

// sumFiles hashes files below root, by their paths; those that cannot be read, or
// change meanwhile, are left out.
func sumFiles(ctx context.Context, root *disk.Dir, crossMounts bool, paths []string) (map[string]source.Sum, error) {
	at := &lastDir{root: root, crossMounts: crossMounts}
	return at.sums(ctx, paths)
}

func (l *lastDir) sums(ctx context.Context, paths []string) (map[string]source.Sum, error) {
	defer l.close()
	sums := make(map[string]source.Sum, len(paths))
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d, err := l.open(mtree.ParentPath(path))
		var s source.Sum
		if err == nil {
			s, err = sumFile(ctx, d, mtree.BaseName(path))
		}
		if err == nil {
			sums[path] = s
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		} else if !disk.IsGone(err) && !disk.IsDenied(err) && !errors.Is(err, disk.ErrNotRegular) && !errors.Is(err, source.ErrMoved) {
			return nil, err
		}
	}
	return sums, nil
}

// endable reads until its context ends: a large file takes longer than an orderly
// stop may.
type endable struct {
	ctx context.Context
	in  io.Reader
}

func (r endable) Read(buf []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(buf)
}

func sumFile(ctx context.Context, d *disk.Dir, name string) (s source.Sum, err error) {
	f, info, err := d.OpenFile(name)
	if err != nil {
		return s, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := copyBody(h, endable{ctx, f}); err != nil {
		return s, &fs.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	now, err := disk.StatFile(f)
	if err != nil {
		return s, err
	}
	s = source.Sum{source.Digest(h.Sum(nil)), lister.EntryOf(name, info), true}
	if then := lister.EntryOf(name, now); !s.Of(&then) {
		return s, source.ErrMoved
	}
	return s, nil
}
