package pass

import (
	"errors"
	"fmt"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/gate"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"
)

// Result is what a pass did.
type Result struct {
	Complete bool          // the root of the copy carries its stamp
	Full     bool          // everything was compared
	Changed  bool          // something in the copy changed, if only a mode
	Root     mtree.Stamp   // the stamp of the root, as it was listed
	Took     time.Duration // from the beginning to the end

	Listed     int64    // directories compared
	Fetched    int64    // files fetched
	Bytes      int64    // bytes of these files
	Copied     int64    // bytes of files that arrived, besides those: they were in the copy. For progress
	Made       int64    // entries made under names that were free
	Deleted    int64    // entries deleted, or with a dry run: that would be
	Held       int64    // entries whose deletion is held
	HeldWhy    string   // why
	Skipped    int64    // entries left out
	Failed     int64    // paths that failed
	Unsettled  int64    // files that kept changing and were stored as read
	Moved      int64    // entries that changed or vanished before they were fetched
	Incomplete int64    // directories left incomplete, without those that the source may not read
	Retry      []string // paths of those that may be completed by looking again

	Errs   []error // of the first paths that failed
	NoRoom error   // the first failure of a full disk; nil: there was none
	tried  bool    // such a failure came from the disk, not from what an earlier pass remembered
	Past   error   // deletions wait, because a listing is from before the copy's (work.ErrPast); nil: none do
	Stale  bool    // the root's listing is from before one that was seen: a copy that equals it is not confirmed

	// Seen is how many entries the copy had in the directories compared, and below extra
	// ones; in a full walk also below those that stay, though no listing shows what is in them.
	// After a complete full walk, that is all entries of the copy.
	Seen int64

	Behind bool // names show what was changed under other names: the next pass looks at them

	Gate      *gate.Gate             // what the guard of --max-delete has to remember
	Uncopied  replica.Uncopied       // what is not copied, in the directories that were compared
	IsDeleted func(path string) bool // reports whether the directory at path was deleted, or one above it

	// Listing is what the copy has once the pass has ended, if Whole: as far as it was listed, and as
	// Filled says of what was not.
	Listing    wire.Entries
	Whole      bool         // it is a full walk, or the copy was never complete
	PassedOver bool         // directories were not listed, or not as a whole
	Filled     wire.Entries // what is complete in a copy that was never complete as a whole
	filling    bool         // it never was

	wantFiles, wantBytes int64 // for progress
}

// MadeRoom reports whether files that did not fit may fit now.
func (r *Result) MadeRoom() bool { return r.NoRoom != nil && r.Deleted > 0 }

// Add adds a later pass. The counts of what was done are added up; what describes a
// state is that of the later pass.
func (r *Result) Add(later *Result) {
	was := *r
	*r = *later
	r.Listed += was.Listed
	r.Fetched += was.Fetched
	r.Bytes += was.Bytes
	r.Deleted += was.Deleted
	r.Skipped += was.Skipped
	r.Took += was.Took
}

// remedyPast is for deletions that wait because a listing is from before the copy's.
const remedyPast = "compare the clocks of all machines that serve this address, and look at caches before them; " +
	"mirror --once --adopt SOURCE DEST goes by what is listed now"

// Verdict returns the error of deletions that are held or wait, or else of entries that
// moved unless paths failed, with an exit code.
func (r *Result) Verdict() error {
	switch {
	case r.Held > 0:
		return exit.With(exit.Held, fmt.Errorf("%d deletions held: %s", r.Held, r.HeldWhy),
			"look at mirror --status DEST; mirror --release DEST carries them out")
	case r.Past != nil && r.Failed == 0:
		return exit.With(exit.Failed, r.Past, remedyPast)
	case r.Moved > 0 && r.Failed == 0:
		return exit.With(exit.Failed, fmt.Errorf("%d entries changed or vanished while they were fetched", r.Moved), "run again")
	}
	return nil
}

// Unfinished returns the error of a copy that is incomplete though nothing in it failed:
// directories changed while they were listed, or the source is a copy itself and has not
// completed them. Files that were kept as read are no such error.
func (r *Result) Unfinished() error {
	if r.Complete || r.Held+r.Failed+r.Moved+r.Unsettled > 0 {
		return nil
	}
	return exit.With(exit.Failed, errors.New("the copy is incomplete: the source is changing or incomplete"), "run again")
}

// Line is the summary for the user, with a newline.
func (r *Result) Line() string {
	return fmt.Sprintf("listed %d directories, fetched %d files (%d bytes), deleted %d, held %d, skipped %d, failed %d, in %s; root %s\n",
		r.Listed, r.Fetched, r.Bytes, r.Deleted, r.Held, r.Skipped, r.Failed, r.Took.Round(time.Millisecond), r.Root)
}
