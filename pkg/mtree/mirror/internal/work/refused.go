package work

import (
	"errors"
	"io"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// A file that --min-size, --max-size or --max-age refuses is not fetched, and nothing else follows from
// that: it stays in the copy as long as the source lists its name. So a file that grows out of --max-age
// stays, though no stamp says when it does. A version that the copy has in place of one that is refused
// is counted, as one is that the source may not read.

// refuses returns which files of a listing are refused, as far as it tells; nil: none. Ages are by the
// clock of the source, whose mtimes they are, where the listing shows it: by a wrong clock of ours all
// files would be too old, and no stamp would lead back to them.
func (env *Env) refuses(l *mtree.Listing, approx *source.Approx) func(e *mtree.Entry) bool {
	if env.Limits.None() {
		return nil
	}
	now := env.Replica.Now()
	if l.HasNow { // guard: TestTheAgeOfAFileIsByTheSourcesClock
		now = l.Now
	}
	return func(e *mtree.Entry) bool {
		bounds, open := approx.Of(e.Name)
		if !open {
			return env.Limits.Refuse(e.Size, e.MTime, now)
		}
		latest, known := bounds.NotAfter()
		return env.Limits.RefuseSize(bounds.Low, bounds.High) || known && env.Limits.RefuseAge(latest, now)
	}
}

// errRefused says that a file is refused: its listing did not tell.
var errRefused = errors.New("it is left out by --min-size, --max-size or --max-age")

// refuseArrived returns errRefused if the answer shows that a file is refused, and source.ErrChanging if
// it is only now, so that its directory is listed again. Of a size that shows only at the end, it bounds
// what is read.
func (env *Env) refuseArrived(want *source.Wanted, f *source.File) error {
	_, open := want.Approx.Of(want.Name)
	if env.Limits.None() || !open && want.Is(&f.Got) {
		return nil
	}
	got := &f.Got
	switch now := env.Replica.Now(); {
	case env.Limits.RefuseAge(got.MTime, now), got.Size >= 0 && env.Limits.RefuseSize(got.Size, got.Size): // guard: TestWhatOnlyTheAnswerTells
		if !open { // guard: TestAFileThatGrowsBeforeItIsFetched
			return source.ErrChanging
		}
		return errRefused
	case got.Size < 0 && env.Limits.MaxSize > 0:
		f.Body = &cappedReader{f.Body, env.Limits.MaxSize} // guard: TestWhatOnlyTheAnswerTells
	}
	return nil
}

// cappedReader gives errRefused in the place of what is beyond its size.
type cappedReader struct {
	in   io.Reader
	left int64
}

func (r *cappedReader) Read(buf []byte) (n int, err error) {
	n, err = r.in.Read(buf)
	if r.left -= int64(n); r.left < 0 {
		return n, errRefused
	}
	return n, err
}
