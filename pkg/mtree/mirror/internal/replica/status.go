package replica

import (
	"os"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// Counters are the counts in a copy's status.json.
type Counters struct {
	Entries    int64 // in the copy: at the last full walk, corrected by each pass since; 0: not known
	Walked     int64 // end of the last full walk, Unix seconds; 0: there was none
	Held       int64 // entries whose deletion is held
	Failed     int64 // paths that failed in the last pass
	Incomplete int64 // directories that the last pass left incomplete
	Ended      int64 // end of the last pass that changed something, Unix seconds
	NoLinks    bool  // the file system of the copy holds no symlinks
}

// Names of the counters in status.json.
const (
	countEntries    = "entries"
	countWalked     = "walked"
	countHeld       = "held"
	countFailed     = "failed"
	countIncomplete = "incomplete"
	countEnded      = "ended"
	countNoLinks    = "linkless" // 1, or absent. The name is part of the disk format
)

// CountersOf returns the counters of a status; all are 0 if it has none.
func CountersOf(s *state.Status) Counters {
	return Counters{
		Entries: s.Counters[countEntries], Walked: s.Counters[countWalked], Held: s.Counters[countHeld], Failed: s.Counters[countFailed],
		Incomplete: s.Counters[countIncomplete], Ended: s.Counters[countEnded], NoLinks: s.Counters[countNoLinks] != 0,
	}
}

// fields returns the counters as a status has them.
func (c Counters) fields() map[string]int64 {
	fields := map[string]int64{
		countEntries: c.Entries, countWalked: c.Walked, countHeld: c.Held, countFailed: c.Failed,
		countIncomplete: c.Incomplete, countEnded: c.Ended,
	}
	if c.NoLinks {
		fields[countNoLinks] = 1
	}
	return fields
}

// Status returns the status that was written last.
func (r *Replica) Status() state.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Counters returns the counters of the status.
func (r *Replica) Counters() Counters {
	r.mu.Lock()
	defer r.mu.Unlock()
	return CountersOf(&r.status)
}

// UpdateStatus lets change alter the status, and writes it with the time if change
// reports that something is new. change calls no method of r.
func (r *Replica) UpdateStatus(change func(s *state.Status) bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.status
	if !change(&next) {
		return nil
	}
	return r.writeStatus(next)
}

// writeStatus writes a status with the present time. r.mu is held.
func (r *Replica) writeStatus(next state.Status) error {
	now := r.now()
	next.Updated = &now
	if r.confirmed != nil {
		next.Confirmed = r.confirmed
	}
	next.Boot, next.PID = machine.BootID(), os.Getpid()
	next.Stamps, next.Unread, next.Exceptions = 0, len(r.unread.lines), r.unread.turn
	r.status = next
	return Local(r.file.Write(next))
}

// rewriteStatus makes status.json anew after somebody removed or replaced it: without it
// readers take the copy for unfinished. r.mu is held.
func (r *Replica) rewriteStatus() error {
	file, err := r.marker.CreateStatus()
	if err != nil {
		return err
	}
	_ = r.file.Close()
	r.file = file
	if r.status.State == "" {
		return nil // it is written when there is something to say
	}
	return file.Write(r.status)
}

// ResetStatus starts the status of a copy that is new to its source. anew says that the
// copy is now of another tree: held and recent deletions are forgotten.
func (r *Replica) ResetStatus(anew bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case anew:
		r.status = state.Status{State: wire.Filling}
		if err := r.marker.Remove(heldName); err != nil {
			return err
		}
	case r.status.State == "":
		r.status = state.Status{State: wire.Filling, Deletions: r.status.Deletions}
	}
	return r.file.Write(r.status)
}

// StoreDeletions writes what the guard of --max-delete remembers, and nothing else.
func (r *Replica) StoreDeletions(d *state.Deletions) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Deletions = d
	if err := r.file.Write(r.status); err != nil {
		r.log.Warn("cannot write the status of the copy", "error", err, "remedy", MakeRoom)
	}
}

// KeepDeletions does the same, durably.
func (r *Replica) KeepDeletions(d *state.Deletions) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Deletions = d
	if err := r.file.Write(r.status); err != nil {
		return Local(err)
	}
	return Local(r.file.Sync())
}

// StoreFilled writes what is complete of a copy that was never complete as a whole.
func (r *Replica) StoreFilled(filled wire.Entries) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Filled = &filled
	if err := r.file.Write(r.status); err != nil {
		r.log.Warn("cannot write the status of the copy", "error", err, "remedy", MakeRoom)
	}
}

// RecallDeletions takes over from was what the guard of --max-delete remembered, if the
// status was removed.
func (r *Replica) RecallDeletions(was *Replica) {
	if r.status.Deletions == nil {
		r.status.Deletions = was.Status().Deletions
	}
}

// Outcome is what a pass did to the copy.
type Outcome struct {
	Complete bool // the root carries its stamp
	Full     bool // it was a full walk
	Changed  bool // something in the copy changed, even if only a mode
	NoDelete bool // deletions are not allowed

	Seen       int64 // entries of the copy that were compared, and all below those that the source does not have, or does not show
	Made       int64 // entries under names that were free
	Deleted    int64 // entries
	Held       int64 // entries whose deletion is held
	Failed     int64 // paths
	Incomplete int64 // directories

	Durable bool // the status is to be written down for good

	Cut   bool   // it ended early
	Cause string // why, or why something waits, without paths; "": neither

	// What the source said of itself: its state, and how many directories it does not publish.
	SourceState  wire.State
	SourceUnread int

	// How much the source has (no directories: not known), what the pass counted, if it counted all
	// that the copy has now, and what is complete if it does not complete the copy.
	SourceEntries wire.Entries
	Selects       bool // the copy leaves out some of that
	Counted       *state.Entries
	Filled        *wire.Entries

	// What the guard of --max-delete adds: see package gate.
	Deletions *state.Deletions // what it has to remember
	Entries   int64            // of the copy, as far as it is known
	Begun     bool             // the pass changed something, or was about to

	// Of a complete pass.
	Root      mtree.Stamp  // the root's stamp
	Walked    bool         // the source's stamps do not prune
	Upstreams string       // wire.FormatUpstreams of the source
	Until     *mtree.Stamp // by the source's clock: everything before it is in the copy; nil: not known
}

// Publish writes how a pass ended, if that is new.
func (r *Replica) Publish(o *Outcome) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, counters := r.status, CountersOf(&r.status)
	next.Deletions = o.Deletions
	counters.Entries, counters.Held, counters.Failed, counters.Incomplete = o.Entries, o.Held, o.Failed, o.Incomplete
	counters.NoLinks = r.NoLinks
	now, _ := r.now().Unix()
	if o.Changed {
		counters.Ended = now
	}
	next.Error, next.Away = o.Cause, nil
	next.SourceState, next.SourceUnread = o.SourceState, o.SourceUnread
	next.Pass, next.Filled = nil, o.Filled
	noteCounts(&next, o)
	if o.Complete {
		next.State, next.Walked = wire.Mirrored, o.Walked
		next.Root, next.Upstreams, next.SourceFingerprint = &o.Root, o.Upstreams, r.tree.Fingerprint
		if o.Until != nil {
			next.Checkpoint = o.Until
		}
	}
	if !o.Cut && (o.Full || o.Complete && counters.Walked == 0) {
		counters.Walked = now
	}
	next.Counters = counters.fields()
	next.Unread = len(r.unread.lines)
	if !o.Begun && sameStatus(&r.status, &next) {
		return nil
	}
	err := r.writeStatus(next)
	if err == nil && o.Durable { // guard: TestDeletionsAreCountedDurably
		err = Local(r.file.Sync())
	}
	return err
}

// NoteSource notes while a pass runs how much the source has. A copy that was never complete is about
// to have that.
func NoteSource(s *state.Status, source wire.Entries, selects bool) {
	if source.Directories == 0 {
		return
	}
	anew := s.SourceEntries == nil || *s.SourceEntries != source
	if s.SourceEntries = &source; anew && !selects || s.Entries == nil {
		s.Entries = &state.Entries{Entries: source}
	}
}

// noteCounts sets how much the copy has: what the pass counted, or else what its source has anew.
func noteCounts(s *state.Status, o *Outcome) {
	if o.SourceEntries.Directories == 0 {
		s.SourceEntries = nil // nobody counts there now
	}
	NoteSource(s, o.SourceEntries, o.Selects)
	if o.Counted != nil {
		s.Entries = o.Counted
	}
}

// sameStatus reports whether b says the same as a, apart from the times of passes that
// found nothing. Then b is not worth writing. But the end of a full walk is, where not
// every pass is one: else the next walk would be due at once.
func sameStatus(a, b *state.Status) bool {
	if a.SourceRun != b.SourceRun || !sameStamp(a.SourceTop, b.SourceTop) || !sameStamp(a.SourceSure, b.SourceSure) || !sameStamp(a.SourceWhole, b.SourceWhole) || !sameStamp(a.SourceRead, b.SourceRead) || a.SourceFingerprint != b.SourceFingerprint || (a.Away == nil) != (b.Away == nil) ||
		a.Pass != nil || !sameEntries(a.SourceEntries, b.SourceEntries) || a.SourceState != b.SourceState || a.SourceUnread != b.SourceUnread ||
		a.State != b.State || a.Unread != b.Unread || a.Walked != b.Walked || a.Error != b.Error || !sameStamp(a.Root, b.Root) {
		return false
	}
	was, is := CountersOf(a), CountersOf(b)
	if len(a.Counters) == 0 || was.Walked == 0 && is.Walked != 0 {
		return false
	}
	if b.Walked {
		was.Walked = is.Walked
	}
	return was == is && a.Deletions != nil && b.Deletions.Base == a.Deletions.Base && b.Deletions.Shut == a.Deletions.Shut && b.Deletions.Unsure == a.Deletions.Unsure
}

// sameStamp compares two stamps that may be missing.
func sameStamp(a, b *mtree.Stamp) bool { return a == b || a != nil && b != nil && *a == *b }

// sameEntries does the same for two counts.
func sameEntries(a, b *wire.Entries) bool { return a == b || a != nil && b != nil && *a == *b }

// Confirm notes that the copy equals what the source published at the time at. An idle
// mirror does that all the time and writes nothing: a Beacon announces it, and status.json
// gets it only when there is something else to write.
func (r *Replica) Confirm(at mtree.Stamp) {
	r.mu.Lock()
	r.confirmed = &at
	r.mu.Unlock()
	sec, _ := at.Unix()
	_ = r.beacon.Announce(sec) // readers without the beacon look at status.json
}

// StoreConfirmed writes what the beacon announced into the status, for later readers.
// Nothing else in the status changes, not even its time.
func (r *Replica) StoreConfirmed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.confirmed == nil {
		return
	}
	r.status.Confirmed = r.confirmed
	if err := r.file.Write(r.status); err != nil {
		r.log.Warn("cannot write the status of the copy", "error", err, "remedy", MakeRoom)
	}
}
