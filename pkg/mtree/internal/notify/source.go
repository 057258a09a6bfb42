package notify

// Source hears changes. Any goroutine may call Arm at any time. The one that owns the
// Source calls all other methods.
type Source interface {
	// Arm begins to hear the directory open as fd, which was found as name in
	// the directory parent, open as parentFD. It must be called before the
	// directory is listed: what happened before Arm is in the listing, what
	// happens afterwards is heard. Arming a directory again is allowed; then
	// the Source knows where it is now. fresh says that it was not armed before.
	// The name of a Marker is its path.
	//
	// ErrGone: it is no longer there; the parent has an event about that.
	// ErrLimit: the kernel allows no more, see its text for the remedy.
	Arm(parent Ref, parentFD int, name string, fd int) (armed Ref, fresh bool, err error)

	// Known returns the directory open as fd, the zero Ref if it is not armed. Take names a
	// directory by its path, where another one may be by now. ErrGone: it was removed.
	Known(fd int) (Ref, error)

	// Take returns the events since the last Take, without waiting.
	Take() Events

	// Waiting looks at the events that the next Take would return, and takes none. Where it
	// does not know, it says that something is open. More may come before the Take. Cost: one
	// read, and one more system call; a few more for each directory in which names were
	// made.
	Waiting() Waiting

	// Wrote is called after each directory time that the owner set itself, so
	// that the events of its own writes do not fill the kernel's queue. heard says that
	// Take tells of that write, if the directory is armed. Cost: one read every few
	// thousand calls.
	Wrote() (heard bool)

	// Forget gives up the directories that were not armed since the root was: those that
	// left the tree while nothing was heard. It is called when the scan that armed all
	// directories is done, and the events of that time were taken. If a directory is given
	// up wrongly, the event of its arrival is still to come.
	Forget()

	// Remounted says that mounts came or went at directories below the root.
	// The caller arms those as arrived.
	Remounted()

	// Close ends the hearing and all goroutines of the Source.
	Close() error
}

// Waiting says what is under way among the events that a Take would return.
type Waiting struct {
	// Open: something is half done, or this is not known. A file was written and not
	// closed; a name went and its new place was not heard; events were lost, or are many.
	Open bool
	// Made are the paths of names that came, and were neither written nor closed: files that
	// are about to be written, or links, which are complete.
	Made []string
}

// Ref is a directory as a Source knows it, independent of its path. The zero Ref is the
// parent of the root.
type Ref struct{ node *node }

// Marker is the parent under which the marker directory .tidemark is armed:
// only names that come and go in it are heard, not writes.
var Marker = Ref{&node{}}

// Events is the result of a Take.
type Events struct {
	Dirs     []*DirEvents // each directory once
	Marker   []string     // names that came or went in the marker directory
	Lost     string       // why something was lost, "" if nothing was
	RootGone bool         // the root was moved, deleted or unmounted
	Drained  bool         // the kernel held nothing more when this was taken
	Strayed  bool         // Drained, and since the last such Take a directory was moved to where nothing is heard: out of the tree, or into a directory that was not armed yet
	Count    int          // number of kernel events
}

// DirEvents are the events of one directory.
type DirEvents struct {
	Path    string  // below the root as of now, "" for the root
	Self    int     // how many events say that its own mode, owner or times were set, perhaps by us
	Dirty   bool    // entries changed whose names were not kept; none of them is a directory that came or went
	Entries []Entry // each name once
}

// Entry is one name in a directory at which something happened.
type Entry struct {
	Name    string
	Arrived bool // a directory arrived here: made, moved in, exchanged
	Moved   bool // a directory got this name by a rename
	Renamed bool // what is no directory got this name by a rename
	File    bool // what is no directory had this name, or has it

	// Written says that what had this name before was written, or its attributes were set;
	// Replaced, that something else got the name after that.
	Written, Replaced bool

	Came bool // something got the name: what is written after that has no other name, most likely
}
