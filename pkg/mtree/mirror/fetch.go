package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// haul is what a fetch brought.
type haul struct {
	err       error // nothing was fetched
	names     []string
	bytes     int64
	made      int64 // under names that were free
	taken     int64 // from other names in the copy, no data moved
	denied    int64
	gone      int64 // or changing as fast as they are read
	moved     int64 // stored with their own times
	unsettled int64
	deletions []replica.Deletion // of directories that have the name of a file
	failed    []failure
	seen      []*mtree.Entry // as listed, for the ctime rule
	filled    bool           // aside, or that was tried
	replaced  bool           // the directory got its name with all that is in it
}

// fetch brings files, of several directories if they are small. Each is written
// aside and moved into place when it is whole; system calls in Draft, and for
// one file:
//
//	openat, write..., utimensat(fd), [fchmod], [fsync], linkat or renameat
//
// The last of these is one for the directory where that is filled aside.
func (p *pass) fetch(parcels []parcel) step {
	return func(ctx context.Context) func() {
		f := &fetching{pass: p, ctx: ctx, hauls: make([]haul, len(parcels))}
		f.bring(parcels)
		return func() {
			for i := range parcels {
				p.brought(parcels[i].n, &f.hauls[i])
			}
		}
	}
}

// fetching is a fetch under way: where each of its files belongs.
type fetching struct {
	*pass
	ctx   context.Context
	hauls []haul
	items []item
	at    *item          // whose directory is open
	dir   *disk.Dir      // nil if none is
	draft *disk.DraftDir // that is dir; nil if dir has its name
}

type item struct {
	n      *node
	change mtree.Change
	haul   *haul
	aside  bool // the directory is to be filled aside
}

func (f *fetching) bring(parcels []parcel) {
	files := 0
	for i := range parcels {
		files += len(parcels[i].changes)
	}
	want := make([]wanted, 0, files)
	f.items = make([]item, 0, files)
	for i := range parcels {
		n := parcels[i].n
		for _, c := range parcels[i].changes {
			w := wanted{Entry: c.Want, path: mtree.JoinPath(n.path, c.Want.Name), unless: n.unless[c.Want.Name]}
			if g, is := n.vague[c.Want.Name]; is {
				w.vague = &g
			}
			f.offerPart(n, &w)
			want = append(want, w)
			f.items = append(f.items, item{n, c, &f.hauls[i], parcels[i].aside})
		}
	}
	defer f.leave()
	errs := f.mirror.source.fetch(f.ctx, want, func(i int, o opened) error { return f.take(&f.items[i], &want[i], o) })
	for i, err := range errs {
		switch h := f.items[i].haul; {
		case err == nil, errors.Is(err, errSame):
		case errors.Is(err, errDenied):
			h.denied++
		case errors.Is(err, errGone), errors.Is(err, errChanging):
			h.gone++
		default:
			h.failed = append(h.failed, failure{want[i].path, err})
		}
	}
}

// take stores one file that arrives.
func (f *fetching) take(it *item, w *wanted, o opened) error {
	if err := f.enter(it); err != nil {
		return replica.Local(err)
	}
	if f.limiter != nil {
		o.body = &limitedReader{f.ctx, o.body, f.limiter}
	}
	if f.tick != nil {
		o.body = &countedReader{o.body, &f.arrived}
	}
	h := it.haul
	if err := f.put(f.dir, it.n, it.change, w, &o, h); err != nil {
		return err
	}
	h.names = append(h.names, strings.Clone(o.got.Name)) // not the listing it is a part of
	h.bytes += o.got.Size
	if it.change.Have == nil {
		h.made++
	}
	return nil
}

// countedReader counts what it reads.
type countedReader struct {
	in    io.Reader
	count *atomic.Int64
}

func (r *countedReader) Read(buf []byte) (int, error) {
	n, err := r.in.Read(buf)
	r.count.Add(int64(n))
	return n, err
}

// enter opens the directory of a file to be changed, unless it is open.
func (f *fetching) enter(it *item) (err error) {
	if f.dir != nil && f.at.n == it.n {
		return nil
	}
	f.leave()
	f.at = it
	if it.aside && !it.haul.filled {
		it.haul.filled = true
		if f.draft = f.openAside(it.n); f.draft != nil {
			f.dir = f.draft.Dir
			return nil
		}
	}
	f.dir, err = f.openToChange(it.n)
	return err
}

func (f *fetching) leave() {
	switch {
	case f.draft != nil:
		f.place(f.draft, f.at)
	case f.dir != nil:
		_ = f.dir.Close()
	}
	f.dir, f.draft = nil, nil
}

// put writes one file aside and moves it into place.
func (p *pass) put(dir *disk.Dir, n *node, c mtree.Change, w *wanted, f *opened, h *haul) error {
	got, mode := &f.got, p.fileMode(c)
	draft, kept, err := p.draft(dir, n, c, w, f, mode)
	if err != nil {
		return replica.Local(err)
	}
	defer draft.Discard()
	size, err := copyBody(draft, f.body)
	if err != nil {
		if kept && !replica.IsLocal(err) {
			return errors.Join(err, replica.Local(draft.Keep()))
		}
		return err
	}
	if got.Size < 0 {
		got.Size = f.from + size
	}
	if f.from+size != got.Size {
		return fmt.Errorf("%w: %d bytes arrived, %d were announced", errMoved, f.from+size, got.Size)
	}
	err = p.dress(draft, c, got, mode)
	if err == nil && kept {
		err = draft.Chmod(mode)
	}
	if err != nil {
		return replica.Local(err)
	}
	if w.seems(got) {
		// The next listing may show the other file, which equals this one.
		if err := p.dest.Begin(dir, n.path, n.record, n.doubts()|replica.DoubtBytes); err != nil {
			return replica.Local(err)
		}
	}
	if c.Have != nil && c.Have.Kind == mtree.Dir {
		return replica.Local(p.stageFile(dir, n, w.path, draft, h))
	}
	if err := draft.Place(dir, c.Want.Name); err != nil {
		return replica.Local(err)
	}
	switch {
	case got.Hot:
		h.unsettled++
	case !w.same(got):
		h.moved++
	default:
		h.seen = append(h.seen, c.Want)
	}
	return nil
}

// fileMode returns the permission bits that a fetched file gets.
func (p *pass) fileMode(c mtree.Change) uint32 {
	switch {
	case c.Want.Has&mtree.HasMode != 0:
		return c.Want.Mode & 0o777
	case c.Have != nil && c.Have.Kind == mtree.File:
		return c.Have.Mode & 0o777
	}
	return 0o666 &^ p.dest.Umask
}

// dress gives a file owner, mode and time by its descriptor.
func (p *pass) dress(f *disk.Draft, c mtree.Change, got *mtree.Entry, mode uint32) error {
	if p.config.Owner && c.Want.Has&mtree.HasOwner != 0 {
		if err := f.Chown(c.Want.UID, c.Want.GID); err != nil {
			return err
		}
	}
	if mode&p.dest.Umask != 0 {
		if err := f.Chmod(mode); err != nil {
			return err
		}
	}
	if err := f.SetTime(p.dest.Times.Stored(got.MTime)); err != nil {
		return err
	}
	if p.config.Durability == Each {
		return f.Sync()
	}
	return nil
}

func (p *pass) stageFile(dir *disk.Dir, n *node, path string, draft *disk.Draft, h *haul) error {
	name, err := draft.Stage()
	if err != nil {
		return err
	}
	d, err := p.replacement(dir, path, name, n.nested)
	if err != nil {
		return err
	}
	h.deletions = append(h.deletions, d)
	return draft.Keep()
}

var copyBuffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// copyBody writes what body gives. Failing to write is local, failing to read
// is not.
func copyBody(f io.Writer, body io.Reader) (size int64, err error) {
	buf := copyBuffers.Get().(*[256 << 10]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := body.Read(buf[:])
		if n > 0 {
			if _, err := f.Write(buf[:n]); err != nil {
				return size, replica.Local(err)
			}
			size += int64(n)
		}
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
}

// brought notes what a fetch brought.
func (p *pass) brought(n *node, h *haul) {
	if h.err != nil {
		p.fail(n, n.path, h.err)
		return
	}
	p.tally(n, h)
	if len(h.names) > 0 {
		n.changed = true
		p.touch(n.path, h.names...)
	}
	if h.replaced {
		p.touch(n.parent.path)
	}
	p.addDeletions(n, h.deletions)
	for _, e := range h.seen {
		p.sighted(n, e)
	}
	if h.moved+h.gone+h.unsettled > 0 {
		n.blocked = true
	}
	for _, f := range h.failed {
		p.fail(n, f.path, f.err)
	}
}

func (p *pass) tally(n *node, h *haul) {
	stats := p.config.Stats
	p.fetched += int64(len(h.names)) - h.taken
	p.bytes += h.bytes
	p.made += h.made
	p.moved += h.moved + h.gone
	p.unsettled += h.unsettled
	stats.Files.Add(int64(len(h.names)) - h.taken)
	stats.Taken.Add(h.taken)
	stats.Bytes.Add(h.bytes)
	stats.Unsettled.Add(h.unsettled)
	p.skip(n, h.denied, "files the source may not read")
}
