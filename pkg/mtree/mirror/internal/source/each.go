package source

import (
	"context"
	"errors"
)

const (
	// fetchTries is how often a file that changes while it is read is read anew, before
	// it is kept as it was read last.
	fetchTries = 3

	// changingTries is the same for a file that shrinks again and again.
	changingTries = 12

	// leastProgress is by how many bytes the kept part of a file must have grown for the tries
	// to begin anew: something that cuts each answer after a byte would hold a pass for ever.
	leastProgress = 64 << 10
)

// Demand says which version of a file is wanted.
type Demand uint8

const (
	AsListed Demand = iota // the version that was listed, or ErrMoved
	AsFound                // the present version, provided that it does not change
	AsIs                   // whatever can be read
)

// Opener opens one file of a source.
type Opener func(ctx context.Context, w *Wanted, d Demand) (Opened, error)

// Opened is a file that EachFile yields, and closes when the caller is done with it.
type Opened struct {
	File
	Failed *error // where Body or Patch leaves its error, if it fails before the end
	Close  func()
	Proved bool // the bytes are those of one version, whatever was demanded
}

// EachFile is Fetch for a source that opens single files. It opens each file as it was
// listed; if that version is gone, as it is found; and if the file keeps changing, as it
// is. It skips the files marked in done, which may be nil. It stops when yield returns
// false, and closes what it opened.
//
// A file is yielded for each attempt that could be opened, or once with its error. The
// last attempt counts.
func EachFile(ctx context.Context, want []Wanted, done []bool, open Opener, yield func(int, File) bool) {
	for i := range want {
		if done != nil && done[i] {
			continue
		}
		more := true
		if err := ctx.Err(); err != nil {
			more = yield(i, File{Err: err})
		} else {
			more = yieldOne(ctx, i, &want[i], open, yield)
		}
		if !more {
			return
		}
	}
}

// yieldOne yields the attempts to read one file. It reports whether yield wants more.
func yieldOne(ctx context.Context, i int, w *Wanted, open Opener, yield func(int, File) bool) bool {
	kept := w.keptBytes()
	for try := 1; ; try++ {
		if now := w.keptBytes(); now >= kept+leastProgress { // guard (+leastProgress -> +1): TestAByteIsNoProgress
			kept, try = now, 1 // the connection broke, the file did not change
		}
		f, err := open(ctx, w, demandOf(try))
		if err != nil {
			if !triesAgain(err, try) {
				return yield(i, File{Err: err})
			}
			continue
		}
		if demandOf(try) == AsIs && !f.Proved { // guard (without !f.Proved): TestALogThatNeverStops
			f.Got.Hot = true
		}
		if !yieldOpened(i, &f, yield) {
			return false
		}
		if !triesAgain(*f.Failed, try) {
			return true
		}
	}
}

// yieldOpened closes the file, whatever yield does.
func yieldOpened(i int, f *Opened, yield func(int, File) bool) bool {
	defer f.Close()
	return yield(i, f.File)
}

// demandOf returns which version attempt number try opens; the first is number 1.
func demandOf(try int) Demand {
	switch {
	case try == 1:
		return AsListed
	case try < fetchTries:
		return AsFound
	}
	return AsIs
}

// triesAgain reports whether another attempt follows one that failed with err.
func triesAgain(err error, try int) bool {
	return errors.Is(err, ErrMoved) && (try < fetchTries || errors.Is(err, ErrChanging) && try < changingTries)
}
