package watch

import (
	"context"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/watch/internal/audit"
)

// audits are the running audit, the next one and the last one. They run one at a time.
type audits struct {
	findings chan []audit.Finding
	reports  chan auditReport
	timer    *time.Timer   // for the next one
	next     *auditRequest // asked for, and not started
	current  auditRequest
	last     auditReport // of the last that was finished
	running  bool
	owed     bool         // the audit after a loss is not finished: it runs, waits, or was broken off
	cookies  []string     // those that waited when the running one began, or the last
	swept    *mtree.Stamp // start of the last that was finished and left out nothing but directories that health knows by path
	cancel   context.CancelFunc
	ctx      context.Context
}

// auditRequest is an audit that is asked for.
type auditRequest struct {
	audit.Scope
	reason      string
	loss        bool // nothing is known until it is done: state auditing
	epochRaised bool // for this one
	raiseAgain  bool // its end raises the epoch: until then directories may show times that come again
	began       mtree.Stamp
	start       mtree.Stamp // when it began, less lag: it sees all ctimes before this
	lagged      bool        // lag was more than 0 then
}

// join returns one request for both; later came after r.
func (r auditRequest) join(later auditRequest) auditRequest {
	later.Scope = r.Scope.Join(later.Scope)
	later.loss, later.epochRaised = r.loss || later.loss, r.epochRaised || later.epochRaised
	later.raiseAgain = r.raiseAgain || later.raiseAgain
	return later
}

// auditReport says how an audit ended, and which one it was.
type auditReport struct {
	audit.Report
	auditRequest
}
