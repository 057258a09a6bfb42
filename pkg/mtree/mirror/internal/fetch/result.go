package fetch

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// Result is what a fetch brought for one group of files.
type Result struct {
	Err       error              // nothing was fetched
	Names     []string           // of the files that arrived
	Updated   []string           // of these, in their order, those under which there was a file or symlink
	From      []string           // where these were in the copy under other names: the paths of these, by the indices of Names; else nil
	Bytes     int64              // of these files
	Copied    int64              // bytes that count as arrived, and were in the copy
	Made      int64              // of these files, those under names that were free
	Taken     int64              // of these files, those that were in the copy under another name
	Denied    int64              // files that the source may not read
	Unread    []string           // their names
	Gone      int64              // files that are gone, and that no part says so of, or that change as fast as they are read
	Refused   int64              // files that limits leave out: only the answer told their size or time
	Older     int64              // of these, those of which the copy has another version
	Moved     int64              // files that had changed and were stored with their own times, and that no part confirmed
	Unsettled int64              // files that kept changing and were stored as read
	Deletions []replica.Deletion // directories that have the name of a file
	Failed    []Failure          // files that are not stored, for another reason
	Verified  []*mtree.Entry     // files that arrived as they were listed
	staged    bool               // the directory was filled in the staging directory, or that was tried
	Replaced  bool               // the directory got its name with all files in it
	changed   []changedFile      // of those of Moved and Gone, what the source can still confirm
	Told      *mtree.Listing     // of the part that confirmed a file: when it was read, and its stamp; nil: none did
}

// changedFile is a file that arrived in another version than was listed, or that the copy has not
// and the source had no more.
type changedFile struct {
	want, got mtree.Entry
	gone      bool
}

// Failure is a path that could not be made right.
type Failure struct {
	Path string
	Err  error
}
