package mirror

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"
)

// What the outside learns of a mirror: status.json, which serve publishes with the
// copy, and Stats.

// count counts a pass that ended.
func (m *mirror) count(p *pass, err error) {
	s := m.config.Stats
	s.Passes.Add(1)
	s.Incomplete.Store(p.incomplete)
	now, _ := m.config.Now().Unix()
	s.LastPass.Store(now)
	if err != nil {
		s.Errors.Add(1)
	}
	if p.complete {
		root, _ := p.root.Unix()
		s.RootStamp.Store(root)
		if p.full {
			s.Walks.Add(1)
		}
	}
}

// publish writes how a pass ended into status.json, if that is news.
func (m *mirror) publish(p *pass, passErr error) error {
	o := replica.Outcome{
		Complete: p.complete, Full: p.full, Changed: p.changed, NoDelete: m.config.NoDelete,
		Seen: p.inCopy + p.below, Made: p.made, Deleted: p.deleted, Held: p.held, Failed: p.failed, Incomplete: p.incomplete,
		Root: p.root, Walked: !p.source.state.Prunes(), Chain: p.source.chain,
	}
	if passErr == nil {
		passErr = p.noRoom
	}
	if passErr != nil {
		o.Cause = causeOf(passErr)
	}
	if p.source.listing.HasNow {
		until := p.source.listing.Now.Add(-wire.ClockLag)
		o.Until = &until
	}
	err := m.dest.Publish(&o, p.gate)
	s := m.dest.Status()
	m.config.Stats.State.Store(stateNumber(&s))
	return err
}

// causeOf names the cause of an error without any path or address: status.json
// is published.
func causeOf(err error) string {
	var status *statusError
	var errno syscall.Errno
	switch {
	case errors.As(err, &status):
		return fmt.Sprintf("the source answers %d %s", status.status, http.StatusText(status.status))
	case errors.Is(err, mtree.ErrListing):
		return "the source gives no listing"
	case errors.Is(err, errFlush):
		return errFlush.Error()
	case replica.IsLocal(err) && errors.As(err, &errno), exit.Of(err) == exit.Local && errors.As(err, &errno):
		return "the copy's disk: " + errno.Error()
	case errors.Is(err, errItself):
		return "the copy would be copied into itself"
	case exit.Of(err) == exit.Refused:
		return "the source is of another tree"
	case exit.Of(err) == exit.Held:
		return "deletions are held"
	}
	return "the source cannot be read"
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
