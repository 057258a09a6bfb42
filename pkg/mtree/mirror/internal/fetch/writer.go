package fetch

import (
	"errors"
	"fmt"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/links"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// Writer changes directories of the copy: it opens them, and puts files into them.
type Writer struct {
	Replica      *replica.Replica
	BeforeChange func() // called before each change of the copy

	NoDelete bool // no directory is replaced
	Owner    bool // owners are set
	Sparse   bool // runs of zeros become holes
	SyncEach bool // each file is flushed before it gets its name
}

// Target is a directory of the copy that is changed, and what its pass knows of it after its visit.
type Target struct {
	Path   string         // "" is the root
	Begun  records.Record // what its record says until it is complete; with the stamp and the id that were listed
	Doubts replica.Doubts // what is not trusted in it and below it
	Past   bool           // its listing, or that of a directory above, is of the past: source.Dir.Past
	Nested bool           // in the copy, it or a directory above it is the root of another tree or copy
}

// OpenToChange opens the directory of a target for a step that follows its visit.
func (w Writer) OpenToChange(t *Target) (*disk.Dir, error) {
	dir, err := w.Replica.Enter(t.Path)
	if err != nil {
		return nil, err
	}
	info, err := dir.Self()
	if err == nil {
		err = w.MakeReady(dir, info, t)
	}
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return dir, nil
}

// MakeReady makes a directory ready to be changed: it becomes writable for its owner,
// and its record says that it is unfinished.
func (w Writer) MakeReady(dir *disk.Dir, info disk.Info, t *Target) error {
	w.BeforeChange()
	if info.Mode&0o700 != 0o700 {
		if err := dir.Chmod(info.Mode | 0o700); err != nil {
			return err
		}
	}
	return w.Replica.Begin(dir, t.Path, t.Begun, t.Doubts)
}

// Replacement returns the deletion of the directory at path. Once the guards allow that,
// the file or symlink named staged in the staging directory replaces it.
func (w Writer) Replacement(dir *disk.Dir, path, staged string, nested bool) (replica.Deletion, error) {
	d, err := w.mayReplace(dir, path, nested)
	if err != nil {
		_ = w.Replica.Staging.Dir().Unlink(staged)
		return replica.Deletion{}, err
	}
	d.Staged = staged
	return d, nil
}

// mayReplace returns the deletion of the directory at path, which something else is to replace, and
// an error if that may never be.
func (w Writer) mayReplace(dir *disk.Dir, path string, nested bool) (replica.Deletion, error) {
	if w.NoDelete {
		return replica.Deletion{}, fmt.Errorf("a directory has the name of what is no directory at the source, and nothing is deleted (--no-delete)")
	}
	var d replica.Deletion
	stays := false
	info, err := dir.Stat(mtree.BaseName(path))
	if err == nil {
		d, stays, err = w.Replica.Measure(dir, path, mtree.Dir, info.MTime)
	}
	if stays {
		err = errors.New("a directory that holds what filters exclude has the name of what is no directory at the source")
	}
	if nested {
		d.Why = replica.WhyTree
	}
	return d, err
}

// NoteName notes a name that was fetched or made. isListed says that it has the bytes of the file that was listed.
func (w Writer) NoteName(dir *disk.Dir, t *Target, e *mtree.Entry, isListed bool) {
	index := w.Replica.Links
	if index == nil {
		return
	}
	if e.Has&mtree.HasSame == 0 || !isListed || t.Nested {
		index.Leave(mtree.JoinPath(t.Path, e.Name))
		return
	}
	info, err := dir.Stat(e.Name)
	if err != nil {
		index.Doubt(mtree.JoinPath(t.Path, e.Name)) // guard: TestALinkedNameThatCannotBeLookedAt
		return
	}
	w.NoteLink(t, e, info)
}

// NoteReplacement notes a name that a file, or a symlink, got from a directory: it may be one of a file with
// others, so it is looked at again.
func (w Writer) NoteReplacement(path string) {
	if w.Replica.Links != nil {
		w.Replica.Links.Doubt(path) // guard: TestALinkInThePlaceOfADirectory
	}
}

// NoteLink notes a name that was linked, and is as info says now.
func (w Writer) NoteLink(t *Target, e *mtree.Entry, info disk.Info) {
	if info.Kind == mtree.File && info.Size == e.Size && !t.Nested {
		w.Replica.Links.Note(links.FileOf(mtree.JoinPath(t.Path, e.Name), e, info.Node.Ino, info.CTime))
	}
}
