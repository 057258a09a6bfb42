package watch

import "sync/atomic"

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
	yield("root_stamp_seconds", "The root's stamp, Unix seconds.", s.RootStamp.Load())
}
