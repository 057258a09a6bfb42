package audit

import (
	"time"

	"tidemark/pkg/mtree"
)

// Finding is one directory that an audit found changed.
type Finding struct {
	Path         string
	MTime, CTime mtree.Stamp // the latest times of the changed entries, except future ones
	Judged       mtree.Stamp // its ctime in the scan; zero if it was too young to tell

	// Came is set if it may have arrived under its name: the latest ctime of it and of the
	// directories above it. Before it arrived, another one may have shown any time up to that.
	Came mtree.Stamp

	// Below is set if nothing is known of the directories below it either: it may have arrived
	// under its name, its own ctime is young, or everything counts as changed.
	Below bool

	ShowOnly bool // it refused its time: it only has to show the stamp that is published

	// Only on the first run on a tree: the stamp for the directory, if it still shows
	// the mtime Showed.
	First         bool
	Value, Showed mtree.Stamp
}

// Report is how an audit ended.
type Report struct {
	Err         error // the audit was broken off: it proves nothing
	Directories int64
	Files       int64    // regular files
	Bytes       int64    // of these files
	Others      int64    // entries that are neither
	Found       int64    // findings
	Mounted     bool     // Tree.Unfollowed, and something is mounted below the root
	Mounts      []string // paths below the root at which something was mounted, in order
	Elapsed     time.Duration
	Waited      time.Duration // of that, for the writer, who may wait for the clock
}

// Took returns how long the scan itself took.
func (r Report) Took() time.Duration { return max(0, r.Elapsed-r.Waited) }
