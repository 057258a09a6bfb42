package source

import "errors"

// Errors of a source that callers branch on. Others say that the source could not be
// asked, or gave nonsense (mtree.ErrListing).
var (
	// ErrDenied says that the source may not read the file or directory itself.
	ErrDenied = errors.New("the source may not read it")
	// ErrGone says that the source has no file or directory of this name.
	ErrGone = errors.New("no longer there")
	// ErrSame says that a file was wanted only if it changed, and did not.
	ErrSame = errors.New("unchanged")
	// ErrMoved says that what is read is not, or no longer, what was listed.
	ErrMoved = errors.New("changed while it was read")
	// ErrChanging comes with ErrMoved: the file changes each time it is read.
	ErrChanging = errors.New("it goes on changing")
	// ErrNoPart says that the source tells nothing of what changed in a directory, or not yet.
	ErrNoPart = errors.New("nothing is told")
	// ErrWhole says that the source does not tell by names what changed in a directory.
	ErrWhole = errors.New("only the whole listing tells what changed")
	// ErrLost says that nothing was asked: the source could not be connected to a moment ago.
	ErrLost = errors.New("the source does not answer any more")
	// ErrOtherDirectory says that the path of a local source leads to another directory
	// than before. The next call of Root reads that one.
	ErrOtherDirectory = errors.New("SOURCE is another directory than before: it was mounted anew, or a link was turned")
)
