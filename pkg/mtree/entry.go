package mtree

// Kind says what an entry is. Other file types (FIFOs, sockets, devices) are
// never listed.
type Kind uint8

const (
	Other   Kind = iota // neither of the three: exists on disk, never in a listing
	File                // regular file
	Dir                 // directory
	Symlink             // symbolic link, itself
)

func (k Kind) String() string {
	switch k {
	case File:
		return "file"
	case Dir:
		return "directory"
	case Symlink:
		return "symlink"
	}
	return "other"
}

// Attrs says which optional attributes of an Entry are known.
type Attrs uint8

const (
	HasMode  Attrs = 1 << iota // Entry.Mode
	HasCTime                   // Entry.CTime
	HasOwner                   // Entry.UID and Entry.GID
)

// Entry is one line of a listing: what a directory says about one name in it.
type Entry struct {
	Name  string
	Kind  Kind
	Has   Attrs
	Hot   bool   // hot=1: may not match its time
	Mode  uint32 // permission bits, 0..07777; a mirror applies 0777 of them
	MTime Stamp  // modification time; of a directory: its stamp
	CTime Stamp  // inode change time at the source
	Size  int64  // bytes, 0..2^63-1; files only, else 0
	Link  string // target of a symlink, raw bytes
	UID   uint32 // owner at the source, only where the server publishes it
	GID   uint32

	// NotUnderstood is the key of an attribute that begins with a capital
	// and is unknown to this reader. Such an entry must be reported as
	// failed, and neither fetched nor deleted.
	NotUnderstood string
}

// Listing is what one directory held when it was read: its stamp and all its
// entries.
type Listing struct {
	// Path is the directory's path relative to the URL that was asked, ""
	// being that directory itself. Only answers to "changes since" have
	// listings with other paths.
	Path string

	Stamp  Stamp  // the directory's mtime, read before its names
	Hot    bool   // may not match its stamp: never the ground for completing a directory
	ID     string // 16 hex digits telling one directory from another, "" if not given
	Now    Stamp  // the server's clock when reading began
	HasNow bool   // Now was given
	Hidden int64  // names that are there and not listed

	// Excluded is how many of the Hidden are not told by their leading dot:
	// the server was told to leave them out, or they are on another file
	// system. Any name may be one of them, so what is missing from this
	// listing may still exist. The others of the Hidden are dotfiles.
	Excluded int64

	// Covered is how many of the Excluded are mount points and no directories:
	// a file may be mounted over, too. While it is 0, only directories are.
	Covered int64

	Entries []Entry // ascending bytewise by Name, no name twice
}
