package mirror

import (
	"errors"
	"time"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/state"
)

// unread has the directories that the source did not give and that the copy has
// never had whole: .tidemark/unread. Whoever publishes the copy answers 403 for them,
// as the source does; unfinished, they would keep every copy of this copy from being
// complete. Owned by passes.
type unread struct {
	lines  map[string]state.Unread // by path
	number int64                   // of the last writing
	turn   int64                   // another one whenever a directory came or went
	dirty  bool                    // the file does not hold this
	known  bool                    // readers know that it holds anything
}

// readUnread takes over what an earlier mirror left; what a watch left is none of it.
func (d *dest) readUnread() {
	d.unread.lines = map[string]state.Unread{}
	left, err := d.marker.ReadExceptions()
	switch {
	case err != nil || d.tree.Role == state.Source:
		d.unread.dirty = true
	case len(left.Unread) > 0:
		d.unread.lines, d.unread.known = left.Unread, d.status.Unread > 0
	}
}

// deny notes a directory that the source does not give.
func (p *pass) deny(n *node) {
	u := &p.dest.unread
	if p.config.DryRun || u.lines == nil {
		return
	}
	dir, err := p.dest.dir(n.path)
	if err != nil {
		return
	}
	defer dir.Close()
	info, err := dir.Self()
	if err != nil {
		return
	}
	record, had := p.dest.record(dir, n.path)
	was, named := u.lines[n.path]
	if had && filetime.SameStored(info.MTime, record.Stamp) || named && was.Inode == info.Node.Ino || !named && len(u.lines) >= state.MaxUnread {
		return
	}
	u.lines[n.path], u.dirty = state.Unread{Inode: info.Node.Ino}, true
	u.turn++
}

// given notes that the source gives a directory: it is published again, unfinished
// until it is complete.
func (p *pass) given(n *node) {
	u := &p.dest.unread
	if _, named := u.lines[n.path]; named && !p.config.DryRun {
		delete(u.lines, n.path)
		u.dirty = true
		u.turn++
	}
}

// tellUnread writes the file, before anything above those directories is stamped.
// Readers who know of none yet look at the status now and then only.
func (p *pass) tellUnread() error {
	u := &p.dest.unread
	if !u.dirty || p.config.DryRun {
		return nil
	}
	u.number = max(u.number+1, time.Now().UnixNano())
	err := errors.Join(p.dest.marker.WriteStamps(nil, u.number, false), p.dest.marker.WriteUnread(u.lines, u.number, false))
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	first := len(u.lines) > 0 && !u.known
	u.dirty, u.known = false, len(u.lines) > 0
	if !first {
		return nil
	}
	p.dest.statusMu.Lock()
	err = p.rewrite()
	p.dest.statusMu.Unlock()
	<-time.After(state.StatusLag)
	return err
}
