package mirror

import (
	"cmp"
	"context"
	"errors"
	"syscall"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/several"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
	"tidemark/pkg/mtree/mirror/internal/work"
	"tidemark/pkg/mtree/wire"
)

// What others learn of a mirror: status.json, which serve publishes with the copy, and
// Stats.

// count counts a pass that ended.
func (m *mirror) count(r *pass.Result, err error) {
	s := m.config.Stats
	s.Passes.Add(1)
	s.Incomplete.Store(r.Incomplete)
	s.Failing.Store(r.Failed)
	now, _ := m.config.Now().Unix()
	s.LastPass.Store(now)
	cause := ""
	if err != nil {
		s.Errors.Add(1)
		cause = causeOf(err)
	}
	s.history.note(r, cause, m.config.Now().Time())
	if r.Complete {
		root, _ := r.Root.Unix()
		s.RootStamp.Store(root)
		if r.Full {
			s.Walks.Add(1)
		}
	}
}

// publish writes into status.json how a pass ended, if that is new.
func (m *mirror) publish(r *pass.Result, a *source.Root, passErr error) error {
	o := replica.Outcome{
		Complete: r.Complete, Full: r.Full, Changed: r.Changed, NoDelete: m.config.NoDelete,
		Seen: r.Seen, Made: r.Made, Deleted: r.Deleted, Held: r.Held, Failed: r.Failed, Incomplete: r.Incomplete,
		SourceState: a.State, SourceUnread: a.Unread,
		Root: r.Root, Walked: !a.State.Prunes(), Upstreams: a.Upstreams,
		Durable: r.Deleted > 0 && m.config.Durability != None, // deletions that are forgotten let others through
	}
	if o.Cut = passErr != nil; !o.Cut {
		passErr = cmp.Or(r.NoRoom, r.Past) // guard (r.Past -> nil): TestDeletionsThatWaitForAClock
	}
	if passErr != nil {
		o.Cause = causeOf(passErr)
	}
	o.SourceEntries, o.Selects = a.Counted, m.config.selects()
	if r.Complete && r.Whole && (!r.PassedOver || o.Selects || a.Counted.Directories == 0) {
		at := m.config.Now().Add(-r.Took)
		o.Counted = &state.Entries{Entries: r.Listing, At: &at}
	} else if s := m.replica.Status(); !r.Complete && !s.IsComplete() {
		o.Filled = &r.Filled
	}
	if a.HasNow {
		until := a.Now.Add(-wire.ClockLag)
		o.Until = &until
	}
	r.Gate.End(&o)
	err := m.replica.Publish(&o)
	s := m.replica.Status()
	m.config.Stats.State.Store(stateNumber(&s))
	m.config.Stats.Unread.Store(int64(s.Unread))
	return err
}

// confirm notes that the copy equals what the source published at the time at, by the
// local clock: that is when a pass that completed the copy began, and then the time of
// each answer "unchanged".
func (m *mirror) confirm(at mtree.Stamp) {
	sec, _ := at.Unix()
	m.config.Stats.Confirmed.Store(sec)
	m.config.Stats.history.confirm(at.Time(), m.config.Now().Time())
	m.replica.Confirm(at)
}

// causeOf names the cause of an error without any path or address: status.json
// is published. A mirror that was stopped has none: "".
func causeOf(err error) string {
	var errno syscall.Errno
	var none *several.ErrNone
	switch status := remote.StatusText(err); {
	case errors.As(err, &none): // each has a cause of its own: --status says which
		return "none of the sources can be used"
	case status != "":
		return "the source answers " + status
	case errors.Is(err, work.ErrPast):
		return "deletions wait: listings of the source are from before the copy's, its clock was set back or a cache answers"
	case errors.Is(err, mtree.ErrListing):
		return "the source gives no listing"
	case errors.Is(err, pass.ErrFlush):
		return pass.ErrFlush.Error()
	case replica.IsLocal(err) && errors.As(err, &errno), exit.Of(err) == exit.Local && errors.As(err, &errno):
		return copysDisk + errno.Error()
	case errors.Is(err, overlap.Err):
		return "the copy would be copied into itself"
	case exit.Of(err) == exit.Refused:
		return "the source is of another tree"
	case exit.Of(err) == exit.Held:
		return "deletions are held"
	case errors.Is(err, context.Canceled): // guard: TestAStopIsNoTrouble
		return "" // the mirror was stopped
	}
	return "the source cannot be read"
}
