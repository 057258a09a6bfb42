package mirror

import (
	"context"
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// A running mirror knows until when its copy is confirmed: when a pass that
// completed it began, and with each answer "unchanged" since.

// confirm notes that the copy is what the source published at that time.
func (m *mirror) confirm(at mtree.Stamp) {
	sec, _ := at.Unix()
	m.config.Stats.Confirmed.Store(sec)
	m.dest.Confirm(at)
}

// heard notes an answer of the source.
func (d *daemon) heard(a *news) {
	if a.none {
		return
	}
	d.config.Stats.Up.Store(1)
	if a.Unchanged && d.whole && !d.again && d.state.Prunes() {
		d.confirm(d.config.Now())
	}
	if d.away = nil; a.Unchanged && d.dest.Status().Away != nil {
		d.writeTrouble("") // no pass follows that would say so
	}
}

// lost notes that the source gave no answer, or one that is no listing.
func (d *daemon) lost(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	stats := d.config.Stats
	stats.Up.Store(0)
	stats.Errors.Add(1)
	if d.away == nil {
		now := d.config.Now()
		d.away = &now
	}
	if d.state.Prunes() || errors.Is(err, source.ErrOtherDirectory) {
		d.again = true
	} else {
		d.known = "" // the next answer comes at once, and a walk waits for its time
	}
}

// writeTrouble writes into the status what keeps the copy from being kept, "" if
// nothing does, and since when the source is away.
func (d *daemon) writeTrouble(cause string) {
	err := d.dest.UpdateStatus(func(s *state.Status) bool {
		s.Error, s.Away = cause, d.away
		return true
	})
	if err != nil {
		d.config.Log.Warn("status", "error", err)
	}
}
