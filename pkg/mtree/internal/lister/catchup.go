package lister

import (
	"errors"
	"time"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// A large directory that is changed all the time has another stamp after each reading than before
// it. But if the keeper of the tree writes down which names change, then what was read under the
// first stamp, and these names read anew, are what it has under the last: as a copy of it is brought
// up to date by a part. A look at some names takes so little time that no change falls into it.

// ErrEarly says that the directory changed, and that it is not written down yet what changed.
var ErrEarly = errors.New("it changed, and its batch is not written yet")

// catchUpTime is how long a reading that was overtaken tries to catch up. watch writes down
// what changed within 50 ms where much changes. catchUpPause is the pause between two tries.
const (
	catchUpTime  = 100 * time.Millisecond
	catchUpPause = 2 * time.Millisecond
)

// catchUp brings what was read of a directory up to its present stamp.
type catchUp struct {
	l    *Lister
	d    *disk.Dir
	path string
	from disk.Info         // before the reading
	had  *state.Exceptions // then
	have *present          // what was read, then what is there with the stamp in after

	after disk.Info
}

// run reports whether have is what the directory has under the stamp in after. Otherwise have is as
// it was.
func (c *catchUp) run() (caught bool, err error) {
	for end := time.Now().Add(catchUpTime); ; time.Sleep(catchUpPause) {
		caught, err = c.try()
		if err == ErrWhole {
			return false, nil
		}
		if caught || err != nil || time.Now().After(end) {
			return caught, err
		}
	}
}

// try reads the stamp, then (by Changed) which names have changed, the names, and the stamp again.
func (c *catchUp) try() (caught bool, err error) {
	before, exceptions, err := c.l.self(c.d, c.path)
	if err != nil {
		return false, err
	}
	// A directory that no longer refuses its stamp shows it without a word in the journal.
	if exceptions.AnyStamps() || c.had.AnyStamps() || c.l.isDoubted() { // guard: TestCatchUpWithExceptions
		return false, ErrWhole
	}
	names, err := c.l.Changed(c.path, c.from.MTime)
	if err == ErrEarly { // guard: TestCatchUpWaits
		return false, nil
	}
	if err != nil { // guard: TestCatchUpWhereNothingIsKnown
		return false, ErrWhole // nobody knows: the whole is read again
	}
	t := &nameTable{}
	for _, text := range names {
		t.add(text)
	}
	entries, err := c.l.look(c.d, c.path, before, t)
	if err != nil {
		return false, err
	}
	if c.after, err = c.l.Self(c.d, c.path); err != nil || c.after.MTime != before.MTime { // guard (without c.after.MTime): TestCatchUpTriesAgain
		return false, err
	}
	c.have.replace(&present{t, entries})
	return true, nil
}
