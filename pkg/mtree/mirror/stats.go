package mirror

import (
	"cmp"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"
)

// Stats counts what a mirror does. Its fields may be read at any time.
type Stats struct {
	Requests   atomic.Int64 // requests to the source, long polls included
	Passes     atomic.Int64 // passes ended
	Walks      atomic.Int64 // of these, full walks
	Listed     atomic.Int64 // directories compared
	Files      atomic.Int64 // files fetched
	Taken      atomic.Int64 // large files found in the copy under another name
	Bytes      atomic.Int64 // bytes of files fetched
	Deleted    atomic.Int64 // entries deleted
	Kept       atomic.Int64 // of entries deleted or overwritten, those that went into the backup directory
	Held       atomic.Int64 // entries whose deletion is held now
	Skipped    atomic.Int64 // entries left out: unsafe symlinks, files that the source may not read
	Failed     atomic.Int64 // paths that failed
	Failing    atomic.Int64 // of these, those of the last pass
	Unsettled  atomic.Int64 // files kept as they were read because they changed again and again
	Incomplete atomic.Int64 // directories left incomplete by the last pass
	Unread     atomic.Int64 // directories that the source may not read and that the copy never had whole, 1,000 at most
	RootStamp  atomic.Int64 // the root's stamp in the copy, Unix seconds
	LastPass   atomic.Int64 // when the last pass ended, Unix seconds
	Errors     atomic.Int64 // passes that ended early, or could not begin, because of the source or the local disk
	Up         atomic.Int64 // 1: the source answered when it was asked last; 0: it did not
	HookRuns   atomic.Int64 // commands of --exec run
	HookErrors atomic.Int64 // of these, those that failed
	PrintLost  atomic.Int64 // lines of --print lost because the reader was too slow
	Confirmed  atomic.Int64 // up to when the copy is known to equal what the source published, Unix seconds; 0: not known

	SourceNumber  atomic.Int64 // of several sources the one that is used, counted from 1; 0: none can be used, or there is only one
	SourceChanges atomic.Int64 // how often another one was used than before
	several       atomic.Bool  // there are several

	history history // for the page

	State atomic.Int64 // of the copy, as the mirror publishes it: 0 filling, 1 mirrored, 2 unwatched
}

// copyStates are the states of a copy that a mirror keeps, by Stats.State.
var copyStates = []string{string(wire.Filling), string(wire.Mirrored), string(wire.Unwatched)}

// States calls yield with the state of the copy.
func (s *Stats) States(yield func(name, help, now string, all []string)) {
	yield("copy_state", "1 for the state of the copy: filling before its first complete pass; unwatched where the source's stamps do not prune.",
		copyStates[s.State.Load()], copyStates)
}

// ofPass returns the counters that a pass increases.
func (s *Stats) ofPass() pass.Counters {
	return pass.Counters{
		Listed: &s.Listed, Files: &s.Files, Taken: &s.Taken, Bytes: &s.Bytes, Deleted: &s.Deleted,
		Held: &s.Held, Skipped: &s.Skipped, Failed: &s.Failed, Unsettled: &s.Unsettled,
	}
}

// Each calls yield with the name, the meaning and the value of every counter.
func (s *Stats) Each(yield func(name, help string, value int64)) {
	yield("requests_total", "Requests to the source.", s.Requests.Load())
	yield("passes_total", "Passes ended.", s.Passes.Load())
	yield("walks_total", "Full walks ended.", s.Walks.Load())
	yield("listed_total", "Directories compared.", s.Listed.Load())
	yield("files_total", "Files fetched.", s.Files.Load())
	yield("files_taken_over_total", "Files found in the copy under another name.", s.Taken.Load())
	yield("file_bytes_total", "Bytes of files fetched.", s.Bytes.Load())
	yield("deleted_total", "Entries deleted.", s.Deleted.Load())
	yield("backed_up_total", "Entries moved into the backup directory.", s.Kept.Load())
	yield("held", "Entries whose deletion is held now.", s.Held.Load())
	yield("skipped_total", "Entries passed over.", s.Skipped.Load())
	yield("failed_total", "Paths that failed.", s.Failed.Load())
	yield("failing", "Paths that failed in the last pass.", s.Failing.Load())
	yield("unsettled_total", "Files that changed while they were read, again and again.", s.Unsettled.Load())
	yield("incomplete", "Directories that the last pass left incomplete.", s.Incomplete.Load())
	yield("unread_directories", "Directories that the source may not read and the copy never had whole.", s.Unread.Load())
	if stamp := s.RootStamp.Load(); stamp != 0 { // guard (stamp != 0 -> true): TestNoMomentIsTheYear1970
		yield("root_stamp_seconds", "Stamp of the copy's root, Unix seconds.", stamp)
	}
	if at := s.LastPass.Load(); at != 0 { // guard (at != 0 -> true): TestNoMomentIsTheYear1970
		yield("last_pass_seconds", "When the last pass of this run ended, Unix seconds.", at)
	}
	yield("errors_total", "Passes that ended early or could not begin.", s.Errors.Load())
	yield("source_up", "1: the source answered last time; 0: it did not.", s.Up.Load())
	if number, changes := s.SourceNumber.Load(), s.SourceChanges.Load(); s.several.Load() {
		yield("source_number", "Which SOURCE is used, counted from 1; 0: none can be used.", number)
		yield("source_changes_total", "Changes to another SOURCE.", changes)
	}
	yield("state", "State of the copy: 0 filling, 1 mirrored, 2 unwatched (the source's stamps do not prune).", s.State.Load())
	yield("hook_runs_total", "Runs of --exec.", s.HookRuns.Load())
	yield("hook_errors_total", "Runs of --exec that failed.", s.HookErrors.Load())
	yield("print_lost_total", "Lines of --print that were lost because the reader was too slow.", s.PrintLost.Load())
	if at := s.Confirmed.Load(); at != 0 {
		yield("last_success_timestamp_seconds", "Until when the copy is known to be what the source published, Unix seconds.", at)
		yield("lag_seconds", "Seconds since the copy was last known to be what the source published; an idle source is asked every 45 s.", max(0, time.Now().Unix()-at))
	}
}

// recall takes the numbers that go on from one run to the next out of what the last run published: a
// source that does not answer at the start must not hide how old the copy is.
func (s *Stats) recall(r *replica.Replica, now time.Time) {
	status := r.Status()
	if held, err := r.Held(); err == nil {
		s.Held.Store(held.Total())
	}
	s.State.Store(stateNumber(&status))
	s.Unread.Store(int64(status.Unread))
	counters := replica.CountersOf(&status)
	s.Incomplete.Store(counters.Incomplete)
	s.Failing.Store(counters.Failed)
	if at := cmp.Or(status.Confirmed, status.Checkpoint); at != nil { // guard (at != nil -> false): TestWhatMetricsSayAfterARestart
		sec, _ := at.Unix()
		s.Confirmed.Store(sec)
		s.history.begin(at.Time(), now)
	}
	if status.Root != nil {
		sec, _ := status.Root.Unix()
		s.RootStamp.Store(sec)
	}
}

// stateNumber returns Stats.State for a status.
func stateNumber(s *state.Status) int64 {
	switch {
	case s.State != wire.Mirrored:
		return 0
	case s.Walked:
		return 2
	}
	return 1
}
