package mtree

// Kind says what an entry is. Other file types (FIFOs, sockets, devices) are
// never listed.
type Kind uint8

const (
	Other   Kind = iota // none of the three: exists on disk, never in a listing
	File                // regular file
	Dir                 // directory
	Symlink             // symbolic link, itself
)

// String names the kind, for messages.
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
	HasSame                    // Entry.Same, and the file has more than one name
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

	// Same is equal for all names of one file of a tree (hard links), and tells it from other files
	// that have more than one name; of a file with HasSame only. lister.Present gives each file its
	// inode number here.
	Same uint64

	// NotUnderstood is the key of an attribute that begins with a capital
	// and that this reader does not know. Such an entry must be reported as
	// failed, and neither fetched nor deleted.
	NotUnderstood string
}
