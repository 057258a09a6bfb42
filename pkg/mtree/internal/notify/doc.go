// Package notify hears changes in a tree from the kernel: which directories
// changed, and by which names, since it was asked last.
//
// A Source is one way to hear. What it tells is never a verb but "look at this
// name now": events of the kernel are merged, reordered and late. What it
// promises: for every change made below an armed directory after Arm returned,
// a later Take names the directory and the entry; or says that only the
// directory is known (Dirty); or says that something was lost (Events.Lost), and
// then nothing is known until the tree was scanned anew.
//
// Changes are kept by directory, not by path, because paths move: a directory
// that is renamed while its change waits is reported under the path it has when
// it is taken. A path that leads nowhere by then belongs to a rename or a
// removal whose own event is still to come.
//
// The kernel's side is described in inotify(7) and fanotify(7).
package notify

// Source hears changes. Arm may be called by any goroutine at any time; Take,
// Wrote, Forget and Close by the one that owns the Source.
type Source interface {
	// Arm begins to hear the directory open as fd, which was found as name in
	// the directory parent, open as parentFD. It must be called before the
	// directory is listed: what happened before Arm is in the listing, what
	// happens afterwards is heard. Arming a directory again is allowed and
	// tells the Source where it is now.
	//
	// ErrGone: it is no longer there; the parent has an event about that.
	// ErrLimit: the kernel allows no more, see its text for the remedy.
	Arm(parent Ref, parentFD int, name string, fd int) (armed Ref, fresh bool, err error)

	// Known returns the directory open as fd, the zero Ref if it is not
	// armed. What Take said of a directory was said under a path, and by now
	// another may stand there.
	Known(fd int) Ref

	// Take returns what was heard since the last Take, without waiting.
	Take() Events

	// Wrote is called by the goroutine that takes after each time that it
	// set itself, so that the events of its own writes do not fill the
	// kernel's queue. Cost: one read every few thousand calls.
	Wrote()

	// Forget gives up the directories that were not armed since the root was:
	// those that left the tree while nothing was heard. It is called when
	// the scan that armed all there are is done and what was heard
	// meanwhile was taken. One that is given up wrongly is about to be heard
	// of as arrived.
	Forget()

	// Remounted tells that mounts came or went at directories below the root,
	// which are to be armed as arrived.
	Remounted()

	// Close ends the hearing and all goroutines of the Source.
	Close() error
}

// Ref is a directory as a Source knows it, whatever its path is just now. The
// zero Ref is the parent of the root.
type Ref struct{ node *node }

// Marker is the parent under which the marker directory .tidemark is armed:
// only names coming and going in it are heard, not what is written there.
var Marker = Ref{&node{}}

// Events is what a Source heard.
type Events struct {
	Dirs     []*DirEvents // each directory once
	Marker   []string     // names that came or went in the marker directory
	Lost     string       // why something was lost, "" if nothing was
	RootGone bool         // the root was moved, deleted or unmounted
	Drained  bool         // the kernel held nothing more when this was taken
	Count    int          // number of kernel events
}

// DirEvents is what happened in one directory.
type DirEvents struct {
	Path    string  // below the root as of now, "" for the root
	Self    bool    // its own mode, owner or times were set, perhaps by ourselves
	Dirty   bool    // entries changed whose names were not kept; none of them is a directory that came or went
	Entries []Entry // each name once
}

// Entry is one name in a directory at which something happened.
type Entry struct {
	Name    string
	Arrived bool // a directory came to stand here: made, moved in, exchanged
}
