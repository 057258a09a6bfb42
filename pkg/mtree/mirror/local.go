package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
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
	"tidemark/pkg/mtree/wire"
)

// localSource is a directory of this machine, or one mounted here, read by the
// same rule as serve reads it. Dotfiles belong to it: nothing is published.
type localSource struct {
	root        *disk.Dir // changed by a question for the root, which is asked between passes only
	path        string
	place       string // disk.Place of root
	dest        string
	stateDir    string
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
	return &localSource{root: root, path: c.Source, place: place, dest: c.Dest, crossMounts: c.CrossMounts, owner: c.Owner, reader: machine.Reader()}, nil
}

// errTurned says that the path of a local source leads to another directory than
// before, which is opened by now.
var errTurned = errors.New("SOURCE is another directory than before: it was mounted anew, or a link was turned")

// standing looks whether the path still leads to the root that is open, and opens
// the one it leads to if not. What is known of the other one is void then, which
// the error says.
func (s *localSource) standing() error {
	err := s.root.Standing(s.path)
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
	return errTurned
}

// heard reports whether what is on file systems mounted in the tree may be read.
func (s *localSource) heard(p *state.Published) bool {
	return s.crossMounts && p.Crosses()
}

// list implements source. With ask.known it costs about 20 system calls.
func (s *localSource) list(_ context.Context, ask ask) (answer, error) {
	if ask.path == "" {
		if err := s.standing(); err != nil {
			return answer{}, err
		}
	}
	read := time.Now()
	p, err := state.ReadPublished(s.root, s.stateDir)
	if err != nil {
		return answer{}, err
	}
	s.apart.Store(p.Apart())
	reader := lister.Lister{
		TreeID: p.Tree.ID, Hidden: true, Owner: s.owner,
		Copy: p.IsCopy(), Mounts: s.crossMounts,
	}
	if p.Tree.Role == state.Source {
		reader.Apart = func() (*state.Apart, error) { return s.toldApart(read) }
	}
	if reader.Copy {
		filters, err := glob.Recorded(glob.Among(p.Tree.Filters))
		if err != nil {
			return answer{}, err
		}
		reader.Local = filters.Excluded
		if reader.Log, err = s.log.Read(s.root, s.stateDir); err != nil {
			return answer{}, err
		}
	}
	heard := s.heard(&p)
	s.hears.Store(heard)
	a := answer{chain: wire.FormatUpstreams(p.Chain()), state: p.State, treeID: p.Tree.ID, epoch: p.Tree.Epoch, dialect: "directory", e: s.fingerprint(&p, heard)}
	if p.Tree.Role == state.Copy && !p.Bound {
		a.e += ",unkept" // what its stamps stand for is to be compared once a mirror keeps it
	}
	if a.place = s.place; a.treeID != "" {
		a.path, a.runs = p.Tree.At(ask.path), p.Tree.Runs
	}
	if err := s.vouched(ask.path); err != nil {
		return answer{}, reading(err)
	}
	d, err := s.root.OpenDirPath(ask.path, heard)
	if s.crossMounts && disk.IsBeyond(err) {
		return answer{}, fmt.Errorf("%w: watch does not hear what is mounted there: %w", errDenied, err)
	}
	if err != nil {
		return answer{}, reading(err)
	}
	defer d.Close()
	info, err := d.Self()
	if err != nil {
		return answer{}, reading(err)
	}
	a.node = info.Node
	if p.State.Prunes() {
		self, err := reader.Self(d, ask.path)
		if err != nil {
			return answer{}, reading(err)
		}
		hot := reader.Copy && !reader.Finished(d, ask.path, self)
		a.validator = fmt.Sprintf("%s-%s-%d-%s-%t-%s", self.MTime, a.treeID, a.epoch, a.state, hot, a.e)
		if a.validator == ask.known {
			a.unchanged = true
			return a, nil
		}
	}
	if a.listing, err = reader.Read(d, ask.path); err != nil {
		return answer{}, reading(err)
	}
	if a.runs != nil {
		// A run is noted before it stamps anything: what it stamped must not be
		// taken for the work of the one before.
		if now, err := state.ReadPublished(s.root, s.stateDir); err == nil && now.Tree.ID == a.treeID {
			a.runs = now.Tree.Runs
		}
	}
	return a, nil
}

// toldApart returns what watch tells of directories apart from their times, as it is
// after the call. read is when somebody read last whether that is anything.
func (s *localSource) toldApart(read time.Time) (*state.Apart, error) {
	if time.Since(read) > state.StatusAge {
		p, err := state.ReadPublished(s.root, s.stateDir)
		if err != nil {
			return nil, err
		}
		s.apart.Store(p.Apart())
	}
	if !s.apart.Load() {
		return nil, nil
	}
	return s.aparts.Read(s.root, s.stateDir)
}

// vouched returns an error if the directory at path is, or lies in, one that watch
// may not read, as serve does.
func (s *localSource) vouched(path string) error {
	if !s.apart.Load() {
		return nil
	}
	apart, err := s.aparts.Read(s.root, s.stateDir)
	if err != nil {
		return err
	}
	return apart.Vouched(s.root, path)
}

// fingerprint is what the E of ETags is for a source that is served.
func (s *localSource) fingerprint(p *state.Published, heard bool) string {
	rest := fmt.Sprintf("%q %s %q", p.Tree.Filters, s.reader, p.Status.SourceE)
	return fmt.Sprintf("mounts=%t,%x", heard, crc32.ChecksumIEEE([]byte(rest)))
}

// reading gives an error of reading the source the name that passes act on.
func reading(err error) error {
	switch {
	case disk.IsDenied(err):
		return fmt.Errorf("%w: %w", errDenied, err)
	case disk.IsGone(err), errors.Is(err, disk.ErrNotRegular):
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return err
}

func (s *localSource) fetch(ctx context.Context, want []wanted, put putFunc) []error {
	at := &lastDir{root: s.root, crossMounts: s.crossMounts, vouched: s.vouched}
	defer at.close()
	return oneByOne(ctx, want, put, func(ctx context.Context, e wanted, how demand) (opened, error) {
		d, err := at.open(mtree.ParentPath(e.path))
		if err != nil {
			return opened{}, reading(err)
		}
		f, info, err := d.OpenFile(e.Name)
		if err != nil {
			return opened{}, reading(err)
		}
		if info.MountRoot && s.crossMounts && !s.hears.Load() {
			_ = f.Close()
			return opened{}, fmt.Errorf("%w: watch does not hear what is mounted over it", errDenied)
		}
		got := entryOf(e.Name, info)
		if how == asListed && !sameFile(e.Entry, &got) {
			_ = f.Close()
			return opened{}, errMoved
		}
		o := opened{got: got, body: &steadyFile{File: f, ctx: ctx, got: got, loose: how == asIs}, done: func() { _ = f.Close() }}
		if how == asIs {
			o.got.Size = -1 // what is read: it may shrink
		}
		return o, nil
	})
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
// errMoved at the end if it is no longer that file.
type steadyFile struct {
	*os.File
	ctx   context.Context
	got   mtree.Entry
	read  int64
	loose bool
}

func (f *steadyFile) Read(buf []byte) (int, error) {
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
		err = errMoved
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
	if now := entryOf(f.got.Name, info); !sameFile(&f.got, &now) {
		return errMoved
	}
	return io.EOF
}

// WriteTo hides os.File's, which would read past the size.
func (f *steadyFile) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{f})
}

func entryOf(name string, info disk.Info) mtree.Entry {
	return mtree.Entry{
		Name: name, Kind: info.Kind, Size: info.Size, MTime: info.MTime, CTime: info.CTime,
		Mode: info.Mode, UID: info.UID, GID: info.GID,
		Has: mtree.HasMode | mtree.HasCTime | mtree.HasOwner,
	}
}

func (s *localSource) sums(ctx context.Context, paths []string) (map[string]summed, error) {
	at := &lastDir{root: s.root, crossMounts: s.crossMounts, vouched: s.vouched}
	return at.sums(ctx, paths)
}

// sumFiles hashes files below root, by their paths; those that cannot be read, or
// change meanwhile, are left out.
func sumFiles(ctx context.Context, root *disk.Dir, crossMounts bool, paths []string) (map[string]summed, error) {
	at := &lastDir{root: root, crossMounts: crossMounts}
	return at.sums(ctx, paths)
}

func (l *lastDir) sums(ctx context.Context, paths []string) (map[string]summed, error) {
	defer l.close()
	sums := make(map[string]summed, len(paths))
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d, err := l.open(mtree.ParentPath(path))
		var s summed
		if err == nil {
			s, err = sumFile(ctx, d, mtree.BaseName(path))
		}
		if err == nil {
			sums[path] = s
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		} else if !disk.IsGone(err) && !disk.IsDenied(err) && !errors.Is(err, disk.ErrNotRegular) && !errors.Is(err, errMoved) {
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

func sumFile(ctx context.Context, d *disk.Dir, name string) (s summed, err error) {
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
	s = summed{sum(h.Sum(nil)), entryOf(name, info), true}
	if then := entryOf(name, now); !s.of(&then) {
		return s, errMoved
	}
	return s, nil
}
