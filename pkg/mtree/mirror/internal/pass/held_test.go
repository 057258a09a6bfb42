package pass

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

const (
	heldFile    = "/copy/.tidemark/held"
	releaseFile = "/copy/.tidemark/release"
)

// hold lets a pass hold the deletion of a/old.
func (r *rig) hold() {
	r.t.Helper()
	r.options.HoldAll = "a reason"
	r.remove("a/old")
	r.requireHeld("a/old", "a reason")
}

// The file of held deletions is written if it has to say something new, and removed once
// nothing is held.
func TestTheListOfHeldDeletions(t *testing.T) {
	simulate(t, "", "a/f a/old a/other", func(t *testing.T, r *rig) {
		require.Zero(t, r.count("statx held"), "there is none")
		require.Zero(t, r.options.Counters.Held.Load())
		require.NotContains(t, r.log.String(), "deletions held")
		r.hold()
		require.Equal(t, 1, r.Made("write .held.new"))
		require.Contains(t, r.log.String(), "deletions held")
		require.Equal(t, int64(1), r.options.Counters.Held.Load())
		r.requireHeld("a/old", "a reason")
		require.Zero(t, r.Made("write .held.new"), "it says that already")
		require.Contains(t, r.log.String(), "deletions held")
		r.options.HoldAll = "another"
		r.requireHeld("a/old", "another")
		require.Equal(t, 1, r.Made("write .held.new"))
		r.remove("a/other")
		r.requireHeld("a/old a/other", "another")
		require.Equal(t, int64(2), r.options.Counters.Held.Load())

		r.options.HoldAll = ""
		r.Refuse("unlink held", unix.EIO, 1)
		p, err := r.try()
		require.ErrorIs(t, err, unix.EIO)
		require.True(t, replica.IsLocal(err))
		require.Equal(t, int64(2), p.Deleted)
		r.complete()
		_, err = r.Shell.Read(heldFile)
		require.ErrorIs(t, err, unix.ENOENT)
		require.NotContains(t, r.log.String(), "deletions held")
		require.Zero(t, r.options.Counters.Held.Load())
	})
}

// A file of held deletions that cannot be read is written anew, or removed.
func TestAListOfHeldDeletionsThatCannotBeRead(t *testing.T) {
	for _, why := range []string{"", "a reason"} {
		simulate(t, why, "a/f a/old", func(t *testing.T, r *rig) {
			r.hold()
			require.NoError(t, r.Shell.Write(heldFile, "no list"))
			r.options.HoldAll = why
			p := r.pass()
			require.Contains(t, r.log.String(), "writing them anew")
			require.Equal(t, why, p.HeldWhy)
			held, _ := r.held()
			require.Equal(t, why != "", held == "a/old")
			_, err := r.Shell.Read(heldFile)
			require.Equal(t, why == "", err != nil)
		})
	}
}

// If the status is lost, the file shows that deletions are held for their number.
func TestAHoldOutlivesALostStatus(t *testing.T) {
	simulate(t, "", "a/b a/c a/d a/e a/f", func(t *testing.T, r *rig) {
		r.limit("2")
		r.remove("a/b a/c a/d")
		require.Equal(t, "3 of 6 entries would go, --max-delete is 2", r.pass().HeldWhy)
		r.replica.Close()
		require.NoError(t, r.Shell.Remove("/copy/.tidemark/status.json"))
		r.open(replica.Options{})
		require.Equal(t, "3 of 3 entries would go, --max-delete is 2", r.pass().HeldWhy)
	})
}

// A release is answered, by its removal, once what is held then is written down; one that
// somebody gives during a pass waits for the next one.
func TestAReleaseIsAnswered(t *testing.T) {
	simulate(t, "in time", "a/f a/old a/other", func(t *testing.T, r *rig) {
		r.hold()
		r.release()
		r.remove("a/other")
		r.Refuse("write .held.new", unix.EIO, 1)
		_, err := r.try()
		require.ErrorIs(t, err, unix.EIO)
		require.True(t, r.replica.HasRelease(), "it is not answered before")
		require.NotContains(t, r.paths(), "a/old")
		r.requireHeld("a/other", "a reason")
		require.False(t, r.replica.HasRelease())
		require.NoError(t, r.Shell.Write(releaseFile, r.readHeld()))
		r.Refuse("unlink release", unix.EIO, 1)
		_, err = r.try()
		require.ErrorIs(t, err, unix.EIO)
		require.True(t, replica.IsLocal(err))
		r.complete()
		require.False(t, r.replica.HasRelease())
	})
	simulate(t, "during a pass", "a/f a/old", func(t *testing.T, r *rig) {
		r.hold()
		r.options.BeforeDelete = r.release
		r.requireHeld("a/old", "a reason")
		require.True(t, r.replica.HasRelease())
		r.options.BeforeDelete = nil
		r.complete()
		require.NotContains(t, r.paths(), "old")
	})
	simulate(t, "in a dry run", "a/f a/old", func(t *testing.T, r *rig) {
		r.hold()
		r.release()
		r.env.DryRun = true
		p := r.pass()
		require.Equal(t, int64(1), p.Held)
		require.Zero(t, p.Deleted)
		require.True(t, r.replica.HasRelease())
		require.NoError(t, r.Shell.Write(releaseFile, "no list"))
		r.pass()
		require.True(t, r.replica.HasRelease())
	})
}

// A release that cannot be read, or names nothing, is answered, too: it releases nothing. An
// empty one stayed, and a running mirror ran a pass for it every second.
func TestAReleaseThatNamesNothing(t *testing.T) {
	for _, text := range []string{"", "#held a reason\n", "no list"} {
		simulate(t, text, "a/f a/old", func(t *testing.T, r *rig) {
			r.hold()
			require.NoError(t, r.Shell.Write(releaseFile, text))
			r.requireHeld("a/old", "a reason")
			require.False(t, r.replica.HasRelease())
			require.Equal(t, text == "no list", strings.Contains(r.log.String(), "a release is unreadable"))
		})
	}
}

// A cache listed a directory as it had been before entries of it were deleted, and held here. The
// hold lapsed, and a release was used up, though nothing had been deleted.
func TestAHoldOutlivesAListingOfThePast(t *testing.T) {
	simulate(t, "", "a/f a/old", func(t *testing.T, r *rig) {
		cached, err := r.Site.List(t.Context(), "a", source.Fresh)
		require.NoError(t, err)
		r.hold()
		r.options.HoldAll = ""
		r.show = func(path string, l *source.Dir) {
			if path == "a" {
				*l = cached
				l.Past = true
			}
		}
		require.False(t, r.pass().Complete)
		held, _ := r.held()
		require.Equal(t, "a/old", held)
		r.show = nil
		r.complete()
		require.Equal(t, "a/ a/f", r.paths())
	})
}

// What somebody released stays held if it is not carried out: mirror --release said that it was
// deleted.
func TestAReleaseThatCannotBeCarriedOutYet(t *testing.T) {
	for name, fail := range map[string]func(r *rig){
		"something else failed there": func(r *rig) {
			r.write("a/f")
			r.lose(errAway, "fetch /a/f")
		},
		"the disk refused": func(r *rig) { r.Refuse("unlink old", unix.EPERM, 1) },
		"the directory could not be opened": func(r *rig) {
			r.options.BeforeDelete = func() { r.Refuse("open a", unix.EIO, 1) }
		},
	} {
		simulate(t, name, "a/f a/old", func(t *testing.T, r *rig) {
			r.hold()
			r.options.HoldAll = ""
			r.release()
			fail(r)
			p := r.pass()
			require.False(t, p.Complete)
			paths, why := r.held()
			require.Equal(t, []any{"a/old", "a reason", int64(1)}, []any{paths, why, p.Held})
			require.False(t, r.replica.HasRelease())
			require.Contains(t, r.paths(), "a/old")
			r.Fault, r.options.BeforeDelete = nil, nil
			r.release()
			r.complete()
			require.NotContains(t, r.paths(), "old")
		})
	}
}

// Of what somebody released, only that stays held which was not carried out; what was not released,
// or was not held, is not held for a failure.
func TestWhatOfAReleaseStaysHeld(t *testing.T) {
	const all = "a/f a/old a/tree/x a/tree/y"
	for name, c := range map[string]struct{ refuse, held string }{
		"one of two":                {"unlink old", "a/old"},
		"a tree that stays in part": {"unlink x", "a/tree"},
	} {
		simulate(t, name, all, func(t *testing.T, r *rig) {
			r.options.HoldAll = "a reason"
			r.remove("a/old a/tree")
			r.requireHeld("a/old a/tree", "a reason")
			r.options.HoldAll = ""
			r.release()
			r.Refuse(c.refuse, unix.EPERM, 1)
			r.pass()
			held, _ := r.held()
			require.Equal(t, c.held, held)
		})
	}
	simulate(t, "a hold that ended", all, func(t *testing.T, r *rig) {
		r.hold()
		release := r.readHeld()
		r.options.HoldAll = ""
		for _, text := range []string{"", release} {
			r.Refuse("unlink old", unix.EPERM, 1)
			if text != "" {
				require.NoError(t, r.Shell.Write(releaseFile, text))
			}
			require.Equal(t, int64(1), r.pass().Failed)
			held, _ := r.held()
			require.Empty(t, held)
		}
	})
}

// The status of a hold reached the disk some time after the list of it. A power cut in between ended the
// hold: the list alone holds nothing.
func TestAHoldOutlivesAPowerCut(t *testing.T) {
	simulate(t, "", "a/b a/c a/d a/e a/f", func(t *testing.T, r *rig) {
		r.limit("2")
		r.remove("a/b a/c a/d")
		for _, failing := range []string{"fsync status.json", "write .held.new"} {
			r.Refuse(failing, unix.EIO, 1)
			_, err := r.try()
			require.ErrorIs(t, err, unix.EIO)
			require.Equal(t, failing == "write .held.new", r.Made("write .held.new") > 0)
			held, _ := r.held()
			require.Empty(t, held)
		}
		require.Equal(t, int64(3), r.pass().Held)
		require.Equal(t, 1, r.Made("fsync status.json"))
		require.Equal(t, int64(3), r.pass().Held)
		require.Zero(t, r.Made("fsync status.json"), "it is known")
	})
}
