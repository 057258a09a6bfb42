package watch

import (
	"sync/atomic"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// Stats counts what a watcher did since it started. Any goroutine may read.
type Stats struct {
	Events       atomic.Int64 // events taken from the kernel
	Batches      atomic.Int64 // batches that stamped something
	Changes      atomic.Int64 // changed entries in them
	Stamped      atomic.Int64 // directory times set
	Refused      atomic.Int64 // directory times that could not be set
	Audits       atomic.Int64 // full scans that were finished
	Losses       atomic.Int64 // times that events were lost
	Directories  atomic.Int64 // directories seen by the last audit
	Files        atomic.Int64 // other entries seen by it
	Bytes        atomic.Int64 // sizes of the regular files seen by it
	Foreign      atomic.Int64 // directories passed over because another file system begins there
	Refusing     atomic.Int64 // directories that refuse their time: .tidemark/stamps has their stamps
	Unread       atomic.Int64 // directories that cannot be read: .tidemark/unread names them
	Borders      atomic.Int64 // directories in which another watch or mirror runs now
	HookRuns     atomic.Int64 // commands run
	HookErrors   atomic.Int64 // commands that failed
	Journalled   atomic.Int64 // batches whose names are in the journal
	Unjournalled atomic.Int64 // batches whose names could not be written there
	PrintLost    atomic.Int64 // lines of --print lost because the reader was too slow
	RootStamp    atomic.Int64 // the root's stamp, whole Unix seconds
	Checkpoint   atomic.Int64 // up to when all changes are published, whole Unix seconds; 0: not known
	Audited      atomic.Int64 // when the last complete audit began, whole Unix seconds; 0: not known

	state atomic.Pointer[wire.State] // as published; nil: nothing is
}

// treeStates are the states of a tree that a watcher publishes.
var treeStates = []string{string(wire.Watched), string(wire.Auditing), string(wire.Degraded), string(wire.Audited), string(wire.Unwatched)}

// States calls yield with the state of the tree, once it is published.
func (s *Stats) States(yield func(name, help, now string, all []string)) {
	if state := s.state.Load(); state != nil {
		yield("tree_state", "1 for the state of the tree, as watch publishes it.", string(*state), treeStates)
	}
}

// note takes what a status publishes.
func (s *Stats) note(status *state.Status) {
	now := status.State
	s.state.Store(&now)
	s.Refusing.Store(int64(status.Stamps))
	s.Unread.Store(int64(status.Unread))
	s.Checkpoint.Store(secondsOf(status.Checkpoint))
	s.Audited.Store(secondsOf(status.Audit))
}

// secondsOf returns a stamp in whole Unix seconds; 0: there is none.
func secondsOf(s *mtree.Stamp) int64 {
	if s == nil {
		return 0
	}
	sec, _ := s.Unix()
	return sec
}

// Each calls yield for every counter with its Prometheus name.
func (s *Stats) Each(yield func(name, help string, value int64)) {
	yield("events_total", "Events taken from the kernel.", s.Events.Load())
	yield("batches_total", "Batches that stamped something.", s.Batches.Load())
	yield("changes_total", "Changed entries in those batches.", s.Changes.Load())
	yield("stamped_total", "Directory times set.", s.Stamped.Load())
	yield("refused_total", "Directory times that could not be set.", s.Refused.Load())
	yield("audits_total", "Full scans finished.", s.Audits.Load())
	yield("losses_total", "Times when events were lost.", s.Losses.Load())
	yield("directories", "Directories seen by the last audit.", s.Directories.Load())
	yield("files", "Other entries seen by the last audit.", s.Files.Load())
	yield("bytes", "Bytes of the regular files seen by the last audit.", s.Bytes.Load())
	yield("foreign_directories", "Directories passed over because they are on other file systems.", s.Foreign.Load())
	yield("refusing_directories", "Directories that refuse their time; their stamps are in .tidemark/stamps.", s.Refusing.Load())
	yield("unread_directories", "Directories that watch cannot read; .tidemark/unread names them.", s.Unread.Load())
	yield("borders", "Directories in which another watch or mirror runs now.", s.Borders.Load())
	yield("hook_runs_total", "Runs of --exec.", s.HookRuns.Load())
	yield("hook_errors_total", "Runs of --exec that failed.", s.HookErrors.Load())
	yield("journalled_batches_total", "Batches whose changed names were written to the journal.", s.Journalled.Load())
	yield("unjournalled_batches_total", "Batches whose changed names could not be written to the journal.", s.Unjournalled.Load())
	yield("print_lost_total", "Lines of --print that were lost because the reader was too slow.", s.PrintLost.Load())
	if stamp := s.RootStamp.Load(); stamp != 0 {
		yield("root_stamp_seconds", "The root's stamp, Unix seconds.", stamp)
	}
	if at := s.Checkpoint.Load(); at != 0 {
		yield("checkpoint_timestamp_seconds", "Up to when all changes are published, Unix seconds; it moves with changes and audits.", at)
	}
	if at := s.Audited.Load(); at != 0 {
		yield("last_audit_timestamp_seconds", "When the last complete audit began, Unix seconds.", at)
	}
}
