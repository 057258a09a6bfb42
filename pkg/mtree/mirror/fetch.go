package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// haul is what a fetch brought.
type haul struct {
	err       error // nothing was fetched
	names     []string
	bytes     int64
	made      int64 // under names that were free
	taken     int64 // from other names in the copy, no data moved
	denied    int64
	gone      int64
	moved     int64 // stored with their own times
	unsettled int64
	swaps     []swap
	failed    []failure
	seen      []*mtree.Entry // as listed, for the ctime rule
}

// fetch brings files of one directory. Each is written aside and moved into
// place when it is whole; system calls in Draft, and for one file:
//
//	openat, write..., fchmod, utimensat(fd), [fsync], linkat or renameat
func (p *pass) fetch(n *node, changes []mtree.Change) step {
	return func(ctx context.Context) func() {
		h := &haul{}
		dir, err := p.openToChange(n)
		if err != nil {
			h.err = local(err)
		} else {
			p.bring(ctx, n, dir, changes, h)
			_ = dir.Close()
		}
		return func() { p.brought(n, h) }
	}
}

func (p *pass) bring(ctx context.Context, n *node, dir *disk.Dir, changes []mtree.Change, h *haul) {
	want := make([]wanted, len(changes))
	for i := range changes {
		e := changes[i].Want
		want[i] = wanted{Entry: e, unless: n.unless[e.Name]}
		if g, is := n.vague[e.Name]; is {
			want[i].vague = &g
		}
	}
	for i := range want {
		p.offerPart(n, &want[i])
	}
	put := func(i int, f opened) error {
		if p.limiter != nil {
			f.body = &limitedReader{ctx, f.body, p.limiter}
		}
		err := p.put(dir, n, changes[i], &want[i], &f, h)
		if err == nil {
			h.names = append(h.names, f.got.Name)
			h.bytes += f.got.Size
			if changes[i].Have == nil {
				h.made++
			}
		}
		return err
	}
	for i, err := range p.mirror.source.fetch(ctx, n.path, want, put) {
		switch path := mtree.JoinPath(n.path, want[i].Name); {
		case err == nil, errors.Is(err, errSame):
		case errors.Is(err, errDenied):
			h.denied++
		case errors.Is(err, errGone):
			h.gone++
		default:
			h.failed = append(h.failed, failure{path, err})
		}
	}
}

// put writes one file aside and moves it into place.
func (p *pass) put(dir *disk.Dir, n *node, c mtree.Change, w *wanted, f *opened, h *haul) error {
	got, mode := &f.got, p.fileMode(c)
	draft, kept, err := p.draft(dir, n, c, w, f, mode)
	if err != nil {
		return local(err)
	}
	defer draft.Discard()
	size, err := copyBody(draft, f.body)
	if err != nil {
		if kept && !isLocal(err) {
			return errors.Join(err, local(draft.Keep()))
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
		return local(err)
	}
	if c.Have != nil && c.Have.Kind == mtree.Dir {
		return local(p.stageFile(dir, c, draft, h))
	}
	if err := draft.Place(dir, c.Want.Name); err != nil {
		return local(err)
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
	return 0o666 &^ p.dest.umask
}

// dress gives a file owner, mode and time by its descriptor.
func (p *pass) dress(f *disk.Draft, c mtree.Change, got *mtree.Entry, mode uint32) error {
	if p.config.Owner && c.Want.Has&mtree.HasOwner != 0 {
		if err := f.Chown(c.Want.UID, c.Want.GID); err != nil {
			return err
		}
	}
	if mode&p.dest.umask != 0 {
		if err := f.Chmod(mode); err != nil {
			return err
		}
	}
	if err := f.SetTime(got.MTime); err != nil {
		return err
	}
	if p.config.Durability == Each {
		return f.Sync()
	}
	return nil
}

func (p *pass) stageFile(dir *disk.Dir, c mtree.Change, draft *disk.Draft, h *haul) error {
	name, err := draft.Stage()
	if err != nil {
		return err
	}
	s, err := p.swapFor(dir, c.Want.Name, name)
	if err != nil {
		return err
	}
	h.swaps = append(h.swaps, s)
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
				return size, local(err)
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
	p.doom(n, nil, h.swaps)
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
