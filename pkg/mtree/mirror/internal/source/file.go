package source

import (
	"crypto/sha256"
	"io"

	"tidemark/pkg/mtree"
)

// Wanted is a file to fetch.
type Wanted struct {
	*mtree.Entry              // as listed
	Path         string       // below the root
	Approx       *Approx      // of the listing that named it
	Kept         func() int64 // how many of its first bytes the caller has by now; nil: none
	Old          *Old         // another version that the caller has; nil: none, or it was of no use
	Whole        error        // why Old was of no use; nil: nothing is wrong
}

// keptBytes returns how many bytes the caller kept from an answer that broke off.
func (w *Wanted) keptBytes() int64 {
	if w.Kept == nil {
		return 0
	}
	return w.Kept()
}

// Is reports whether the file that was read is the file that was listed.
func (w *Wanted) Is(got *mtree.Entry) bool {
	if bounds, is := w.Approx.Of(w.Name); is {
		return w.Approx.IfModified(w.Name) || bounds.Fits(got.MTime, got.Size)
	}
	return SameFile(w.Entry, got)
}

// LooksLike reports whether the file that was read is not the file that was listed,
// but equals it in size and mtime, which is all that a copy keeps.
func (w *Wanted) LooksLike(got *mtree.Entry) bool {
	_, is := w.Approx.Of(w.Name)
	return !is && !SameFile(w.Entry, got) && w.Size == got.Size && w.MTime == got.MTime
}

// SameFile reports whether two entries describe the same version of a file: by size,
// mtime and, where both have it, ctime.
func SameFile(listed, got *mtree.Entry) bool {
	return listed.Size == got.Size && listed.MTime == got.MTime &&
		(listed.Has&got.Has&mtree.HasCTime == 0 || listed.CTime == got.CTime)
}

// File is a file of a source while it is read, or the error of opening it.
type File struct {
	// Got describes what is read: normally the file that was listed. If the file changed
	// since, size and times differ; if it keeps changing, Hot is set and the bytes may be
	// of several versions. Size is -1 if it is known only after reading.
	Got   mtree.Entry
	From  int64     // the offset in the file at which Body begins; 0 unless Wanted.Kept is set
	Body  io.Reader // io.EOF says that the file is whole; any other error that it is not
	Patch *Patch    // in place of Body, if Wanted.Old is set; nil: there is a Body
	Err   error     // why there is neither; nil: there is one
}

// Digest is a SHA-256.
type Digest = [sha256.Size]byte

// Sum is the digest of a file, and which version of the file was read: another file
// may have had the path then.
type Sum struct {
	SHA256 Digest
	File   mtree.Entry // size and times
	Known  bool        // File is known: earlier servers do not send it
}

// Of reports whether s may be the sum of the file that was listed.
func (s *Sum) Of(listed *mtree.Entry) bool { return !s.Known || SameFile(listed, &s.File) }
