package fetch

import (
	"errors"
	"io"

	"tidemark/pkg/mtree/mirror/internal/source"
)

// errRefused says that a file is refused: its listing did not tell.
var errRefused = errors.New("it is left out by --min-size, --max-size or --max-age")

// refuseArrived returns errRefused if the answer shows that a file is refused, and source.ErrChanging if
// it is only now, so that its directory is listed again. Of a size that shows only at the end, it bounds
// what is read.
func (env *Env) refuseArrived(want *source.Wanted, f *source.File) error {
	_, open := want.Approx.Of(want.Name)
	if !open && want.Is(&f.Got) {
		return nil
	}
	got := &f.Got
	switch now := env.Copy.Replica.Now(); {
	case env.Limits.RefuseAge(got.MTime, now), env.Limits.RefuseSize(got.Size, got.Size): // guard: TestWhatOnlyTheAnswerTells
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
