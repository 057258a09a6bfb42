package mirror

import (
	"context"
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// A running mirror knows until when its copy is confirmed: when a pass that
// completed it began, and with each answer "unchanged" since. An idle one learns it
// anew all the time and writes nothing, so it is told by a Beacon; status.json holds
// it as of the last time that there was something else to write.

// confirm notes that the copy is what the source published at that time.
func (m *mirror) confirm(at mtree.Stamp) {
	m.confirmed = &at
	sec, _ := at.Unix()
	m.config.Stats.Confirmed.Store(sec)
	_ = m.dest.beacon.Tell(sec) // who cannot be told looks at status.json
}

// heard notes an answer of the source.
func (d *daemon) heard(a *answer) {
	if a.none {
		return
	}
	d.config.Stats.Up.Store(1)
	if a.unchanged && d.whole && !d.again && d.state.Prunes() {
		d.confirm(d.config.Now())
	}
	if d.away = nil; a.unchanged && d.dest.status.Away != nil {
		// No pass follows that would say so.
		status := d.dest.status
		status.Error = ""
		d.write(status)
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
	if d.state.Prunes() || errors.Is(err, errTurned) {
		d.again = true
	} else {
		d.known = "" // the next answer comes at once, and a walk waits for its time
	}
}

// lastWord keeps what the beacon told for those who look later. Otherwise there is
// no news: the status stays of the time it was.
func (m *mirror) lastWord() {
	if m.confirmed == nil || m.config.DryRun {
		return
	}
	m.dest.status.Confirmed = m.confirmed
	if err := m.dest.file.Write(m.dest.status); err != nil {
		m.config.Log.Warn("status", "error", err)
	}
}

// stateNumber is the state that a copy with a live mirror is published with.
func stateNumber(s *state.Status) int64 {
	switch {
	case s.State != wire.Mirrored:
		return 0
	case s.Walked:
		return 2
	}
	return 1
}

func (d *daemon) write(status state.Status) {
	status.Away = d.away
	if err := d.writeStatus(status, d.config.Now()); err != nil {
		d.config.Log.Warn("status", "error", err)
	}
}
