package replica

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

// view reads the journal of the copy, as serve does.
func (k *faulty) view(r *Replica) (journal.View, error) {
	m, err := state.OpenMarker(r.Root, "")
	require.NoError(k.t, err)
	defer m.Close()
	return new(journal.Follower).Read(m, journal.Tree{ID: r.tree.ID, Epoch: r.tree.Epoch})
}

// announced returns a copy of a tree with a directory, whose journal has a batch.
func announced(t *testing.T) (*faulty, *Replica) {
	k, r := simulated(t)
	k.tree("a/", "b/")
	require.NoError(t, r.SetTree(state.Tree{ID: strings.Repeat("1", 32), Role: state.Copy, Epoch: 7}))
	_, err := k.view(r)
	require.Error(t, err)
	r.Announce(mtree.Unix(10, 0), []journal.Line{{Path: "a", Names: []string{"f"}}})
	_, err = k.view(r)
	require.NoError(t, err)
	return k, r
}

// A time that was not announced, or was already given, ends the journal before it is there to be
// seen. The next batch begins another.
func TestAStampThatWasNotAnnounced(t *testing.T) {
	for _, second := range []string{"a", "b"} {
		k, r := announced(t)
		require.NoError(t, r.Stamp(k.dir(r, "a"), "a", mtree.Unix(11, 0)))
		first, err := k.view(r)
		require.NoError(t, err)
		was, number := first.Last()
		require.EqualValues(t, 1, number)

		seen := false
		k.Fail = func(call string) error {
			if strings.HasPrefix(call, "utimes") {
				_, err = k.view(r)
				seen = true
			}
			return nil
		}
		require.NoError(t, r.Stamp(k.dir(r, second), second, mtree.Unix(12, 0)))
		k.Fail = nil
		require.True(t, seen)
		require.ErrorIs(t, err, journal.ErrUnproved)

		r.Announce(mtree.Unix(12, 0), []journal.Line{{Path: "a", Names: []string{"f"}}})
		next, err := k.view(r)
		require.NoError(t, err)
		run, _ := next.Last()
		require.NotEqual(t, was, run)
	}
}

// What was announced and not stamped counts until the next call only, also if that announces nothing.
func TestAnAnnouncementThatWasTakenBack(t *testing.T) {
	k, r := announced(t)
	r.Announce(mtree.Unix(11, 0), nil)
	_, err := k.view(r)
	require.NoError(t, err)
	require.NoError(t, r.Stamp(k.dir(r, "a"), "a", mtree.Unix(12, 0)))
	_, err = k.view(r)
	require.ErrorIs(t, err, journal.ErrUnproved)
}

// A directory is known by its last stamp until it is visited.
func TestWhatWasVisitedSince(t *testing.T) {
	_, r := simulated(t)
	one, two := mtree.Unix(1, 0), mtree.Unix(2, 0)
	require.False(t, r.Recall("a", one))
	r.Remember("a", two, false)
	require.False(t, r.Recall("a", one))
	r.Remember("a", two.Add(1), false)
	require.True(t, r.Recall("a", two.Add(1)))
	require.False(t, r.Recall("a", two.Add(1)), "it was visited")
	r.Retain("a", two.Add(1))
	require.True(t, r.Recall("a", two.Add(1)))
	for i := range mostGiven + 1 {
		r.Remember(strconv.Itoa(i), one, true)
	}
	require.Len(t, r.announcer.given, 2)
}

// What is new with one stamp after another is known with the last; what may have had a stamp
// before is not: a full walk copies what the source has not published yet, and gives a directory
// the same stamp again.
func TestAStampThatIsGivenAgain(t *testing.T) {
	_, r := simulated(t)
	one, two, three := mtree.Unix(1, 0), mtree.Unix(2, 0), mtree.Unix(3, 0)
	r.Remember("a", one, false)
	require.False(t, r.Recall("a", one), "nobody knows what it had before")
	r.Remember("a", two, false)
	require.True(t, r.Recall("a", two))
	r.Remember("a", two, false)
	require.False(t, r.Recall("a", two), "the same")
	r.Remember("a", one, false)
	require.False(t, r.Recall("a", one), "an earlier one")
	r.Remember("a", two, false)
	require.False(t, r.Recall("a", two), "and again")
	r.Remember("a", three, false)
	require.False(t, r.Recall("a", mtree.Stamp{}), "it was begun")
	r.Remember("a", three, false)
	require.False(t, r.Recall("a", three), "with the stamp that it had before it was begun")
	r.Remember("new", one, true)
	require.True(t, r.Recall("new", one))
}

// A directory of which no stamp was remembered counts from the one of its record: a later one is new. Of
// one that was begun nobody knows what stamp it had. A directory that is made anew had none, whatever
// another had there.
func TestWhatIsKnownOfAStamp(t *testing.T) {
	_, r := simulated(t)
	one, two, three := mtree.Unix(1, 0), mtree.Unix(2, 0), mtree.Unix(3, 0)
	require.False(t, r.Recall("recorded", one))
	r.Remember("recorded", two, false)
	require.True(t, r.Recall("recorded", two))
	require.False(t, r.Recall("begun", mtree.Stamp{}))
	r.Remember("begun", two, false)
	require.False(t, r.Recall("begun", two))
	r.Remember("anew", three, false)
	r.Remember("anew", one, true)
	require.True(t, r.Recall("anew", one))
}

// What the copy is of changed within an epoch, as with other filters: no reader may go by what was
// written down before.
func TestTheJournalOfOtherOptions(t *testing.T) {
	k, r := announced(t)
	next := r.tree
	next.Filters = []string{"- x"}
	require.NoError(t, r.SetTree(next))
	_, err := k.view(r)
	require.ErrorIs(t, err, journal.ErrUnproved)
}

// The end of a mirror ends its journal.
func TestTheJournalIsClosed(t *testing.T) {
	k, r := announced(t)
	r.Close()
	require.Empty(t, k.Open)
}

// Another tree or epoch has another journal, and the same stamps mean something else.
func TestTheJournalOfAnotherEpoch(t *testing.T) {
	k, r := announced(t)
	r.Remember("a", mtree.Unix(1, 0), true)
	next := r.tree
	next.Epoch++
	require.NoError(t, r.SetTree(next))
	_, err := k.view(r)
	require.Error(t, err)
	require.False(t, r.Recall("a", mtree.Unix(1, 0)))
	r.Announce(mtree.Unix(10, 0), []journal.Line{{Path: "a"}})
	_, err = k.view(r)
	require.NoError(t, err)
}

// What cannot be written is logged once, and stops nothing.
func TestAJournalOfACopyThatCannotBeWritten(t *testing.T) {
	k, r := announced(t)
	lines := []journal.Line{{Path: "a", Names: []string{"f"}}}
	k.Refuse("write journal.0", unix.ENOSPC, 1)
	r.Announce(mtree.Unix(11, 0), lines)
	r.Announce(mtree.Unix(12, 0), lines)
	require.Equal(t, 1, strings.Count(k.log.String(), "cannot write which names change"))
	_, err := k.view(r)
	require.ErrorIs(t, err, journal.ErrUnproved)
	require.NoError(t, r.Stamp(k.dir(r, "a"), "a", mtree.Unix(12, 0)))
}

// A copy without attributes has none: copies of it get no parts.
func TestCopiesWithoutAJournal(t *testing.T) {
	for name, change := range map[string]func(r *Replica){
		"no tree yet": func(r *Replica) { r.tree.ID = "" },
		"names fold":  func(r *Replica) { r.Staging.Folds = true },
		"a log":       func(r *Replica) { r.records = &records.Log{} },
		"a dry run":   func(r *Replica) { r.ReadOnly = true },
		"no line":     nil,
	} {
		k, r := simulated(t)
		require.NoError(t, r.SetTree(state.Tree{ID: strings.Repeat("1", 32), Role: state.Copy}))
		lines := []journal.Line{{Path: "", Names: []string{"f"}}}
		if change == nil {
			lines = nil
		} else {
			change(r)
			require.False(t, r.mayAnnounce(), name)
		}
		r.Announce(mtree.Unix(10, 0), lines)
		require.Zero(t, k.Made("open journal"), name)
		r.records = nil
	}
}
