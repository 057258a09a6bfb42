package mtree

import (
	"errors"
	"fmt"
)

// ListingType is the media type of a text listing.
const ListingType = "text/plain; charset=utf-8"

// maxLine bounds one line of a listing, in bytes: a name of MaxName and a link
// target of 4095 bytes (PATH_MAX), all escaped threefold, and 3 KiB for
// attributes of versions to come.
const maxLine = 16 << 10

// Errors of reading a listing. ErrTruncated is an ErrListing.
var (
	ErrListing   = errors.New("not a listing")
	ErrTruncated = fmt.Errorf("%w: it ends before its #end line", ErrListing)
)

// Listing is what one directory held when it was read: its stamp and all its
// entries.
type Listing struct {
	// Path is the directory's path relative to the URL that was asked, "" for
	// that directory itself. Only answers to "changes since" have listings with
	// other paths.
	Path string

	Stamp  Stamp  // the directory's mtime, read before its names
	Hot    bool   // may not match its stamp: never the ground for completing a directory
	ID     string // 16 hex digits that tell one directory from another; "" if not given
	Now    Stamp  // the server's clock when reading began
	HasNow bool   // Now was given
	Hidden int64  // how many names are there and not listed

	// Excluded is how many of the Hidden names are hidden for another reason
	// than a leading dot: an option of the server leaves them out, or they are
	// on another file system. Any name may be one of them, so what is missing
	// from this listing may still exist. The other Hidden names are dotfiles.
	Excluded int64

	// Covered is how many of the Excluded names are mount points and not
	// directories: something may be mounted over a file, too. While it is 0, all
	// Excluded mount points are directories.
	Covered int64

	// Mounts tells which of the Excluded names are mount points: another text, others. It is
	// "" if none is, or if the server does not say. It has at most MaxMounts hex digits.
	Mounts string

	Entries []Entry // ascending bytewise by Name, no name twice

	// Part is not empty if this is a part: Entries and Gone are then the names that changed
	// for readers whose record of the directory lies within one of these spans. Of all
	// other names it says nothing, and Hidden, Excluded, Covered and Mounts are not given.
	// It has at most MaxSpans.
	Part []Span

	// Gone are the names of a part that do not exist, ascending bytewise; none is in
	// Entries. A whole listing has none.
	Gone []string
}
