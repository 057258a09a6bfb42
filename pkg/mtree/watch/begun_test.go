package watch

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/wire"
)

// start is a tree on a machine in memory at which watches start and end.
type start struct {
	*faultkernel.Kernel
	t       *testing.T
	text    strings.Builder
	options Config
	later   time.Duration
}

// starts makes a tree that was watched and is published, if watched is true.
func starts(t *testing.T, watched bool, do func(t *testing.T, s *start)) {
	tryOpenat2(t)
	synctest.Test(t, func(t *testing.T) {
		s := &start{Kernel: faultkernel.New(t, 0), t: t}
		s.Make(t, "/tree/a/b/", "/tree/x/", "/own/")
		s.options = Config{Root: "/tree", Log: slog.New(slog.NewTextHandler(&s.text, nil))}
		s.options.Now = func() mtree.Stamp { return machine.Now().Add(s.later) }
		if watched {
			for range 3 {
				require.NoError(t, Once(t.Context(), s.options))
				<-time.After(time.Hour)
			}
		}
		s.text.Reset()
		s.Made("")
		do(t, s)
	})
}

// open starts a watch that only begins.
func (s *start) open() *watcher {
	s.t.Helper()
	w, err := open(s.options, "none")
	require.NoError(s.t, err)
	return w
}

// marker opens .tidemark, as others do.
func (s *start) marker() *state.Marker {
	d, err := disk.OpenRoot("/tree")
	require.NoError(s.t, err)
	m, err := state.OpenMarker(d, s.options.StateDir)
	require.NoError(s.t, err)
	return m
}

// change changes what the last watch left.
func (s *start) change(tree func(*state.Tree), status func(*state.Status)) {
	m := s.marker()
	t, err := m.ReadTree()
	require.NoError(s.t, err)
	if tree != nil {
		tree(&t)
		require.NoError(s.t, m.WriteTree(t))
	}
	if status != nil {
		have, err := m.ReadStatus()
		require.NoError(s.t, err)
		status(&have)
		f, err := m.CreateStatus()
		require.NoError(s.t, err)
		require.NoError(s.t, f.Write(have))
		require.NoError(s.t, f.Close())
	}
	require.NoError(s.t, m.Close())
}

// A watch that starts takes over what the last one left: the checkpoint, the floor, the writes
// that were ours; and a new run begins. What it publishes first is that everything is audited.
func TestStartTakesOver(t *testing.T) {
	starts(t, true, func(t *testing.T, s *start) {
		m := s.marker()
		was, err := m.ReadStatus()
		require.NoError(t, err)
		tree, err := m.ReadTree()
		require.NoError(t, err)
		var told []string
		s.options.Notify = func(text string) { told = append(told, text) }
		ready := 0
		s.options.Ready = func() { ready++ }
		s.Made("")
		w := s.open()
		require.Equal(t, 1, ready)
		require.Positive(t, s.Made("watch "), ".tidemark is heard")
		require.Equal(t, []string{string(wire.Auditing)}, told)
		require.Equal(t, *was.Checkpoint, *w.status.Checkpoint)
		require.Equal(t, *was.Audit, *w.status.Audit)
		require.Equal(t, auditRequest{reason: atStart, loss: true, Scope: audit.Scope{Since: was.Checkpoint.Add(-stamprule.LookBack), Before: *was.Audit}}, *w.audits.next)
		now, err := m.ReadTree()
		require.NoError(t, err)
		require.Equal(t, tree.Epoch, now.Epoch)
		require.Len(t, now.Runs, len(tree.Runs)+1)
		require.True(t, now.Same(w.writtenTree))
		require.Equal(t, w.inode.Node.Dev, w.ownWrites.Device, "else the root of a mount, whose inode may be the root's, takes its writes")
		require.True(t, w.audits.owed)
		require.NotNil(t, w.earlier)
		d, err := disk.OpenRoot("/tree/a")
		require.NoError(t, err)
		require.NoError(t, w.close())
		require.NoError(t, d.Close())
		require.NoError(t, m.Close())

		for _, clean := range []bool{true, false} {
			s.change(nil, func(st *state.Status) {
				floor := w.clock.Now().Add(time.Minute)
				st.Floor, st.Audit, st.Clean = &floor, nil, clean
			})
			w = s.open()
			floor := w.clock.Now().Add(time.Minute)
			if !clean {
				floor = floor.Add(w.granule)
			}
			require.Equal(t, floor, w.floor, "a batch that was broken off may have given one more")
			require.Equal(t, *was.Checkpoint, w.audits.next.Before, "no audit is known")
			require.NoError(t, w.close())
		}
	})
}

// Nothing is due before something happens.
func TestNothingIsDueAtTheStart(t *testing.T) {
	starts(t, true, func(t *testing.T, s *start) {
		w := s.open()
		require.False(t, gives(w.batch.timer.C, 2*time.Hour))
		require.False(t, gives(w.statusRetry.C, 2*time.Hour))
		require.NoError(t, w.close())
	})
}

// The backend is that of the caller.
func TestStartWithABackend(t *testing.T) {
	starts(t, true, func(t *testing.T, s *start) {
		s.options.Backend = "inotify"
		w := s.open()
		require.Equal(t, "none", w.Backend)
		require.NoError(t, w.close())
	})
}

// Where continuity is in doubt nothing of the last run counts, and readers are told by another
// epoch, after the checkpoint is gone. Where directories may show times above the floor they are
// told again at the end of the audit.
func TestStartInDoubt(t *testing.T) {
	again := map[string]bool{"no checkpoint": true, "clock set back": true, "clock set back in another boot": true, "options in doubt": true}
	for what, prepare := range map[string]func(s *start){
		"no checkpoint":           func(s *start) { s.change(nil, func(st *state.Status) { st.Checkpoint = nil }) },
		"clock set back":          func(s *start) { s.later = -24 * time.Hour },
		"clock set back a little": func(s *start) { s.later = -30 * time.Second },
		"clock set back in another boot": func(s *start) {
			s.later = -24 * time.Hour
			s.change(nil, func(st *state.Status) { st.Clean, st.Boot = true, "another" })
		},
		"lost exceptions": func(s *start) {
			s.change(nil, func(st *state.Status) { st.Stamps = 1 })
			_ = s.Shell.Remove("/tree/.tidemark/stamps")
		},
		"another options": func(s *start) { s.options.Exclude = []string{"x"} },
		"options in doubt": func(s *start) {
			s.options.Exclude = []string{"x"}
			s.change(nil, func(st *state.Status) { st.Checkpoint = nil })
		},
	} {
		starts(t, true, func(t *testing.T, s *start) {
			m := s.marker()
			tree, err := m.ReadTree()
			require.NoError(t, err)
			prepare(s)
			s.text.Reset()
			flushed := false
			s.Fail = func(call string) error {
				switch call {
				case "fsync status.json":
					flushed = true
				case "rename tree":
					require.True(t, flushed)
					st, err := m.ReadStatus()
					require.NoError(t, err)
					require.Equal(t, wire.Auditing, st.State)
					require.Equal(t, what != "another options", st.Checkpoint == nil)
				}
				return nil
			}
			w := s.open()
			s.Fail = nil
			doubt := what != "another options"
			require.Equal(t, doubt, w.tree.Epoch > tree.Epoch, what)
			require.Equal(t, doubt, w.status.Checkpoint == nil, what)
			require.Equal(t, doubt, strings.Contains(s.text.String(), "continuity cannot be proved"), what)
			require.Equal(t, what == "another options", strings.Contains(s.text.String(), "other options"), what)
			require.True(t, w.audits.next.All, what)
			require.Equal(t, doubt, w.audits.next.epochRaised, what)
			require.Equal(t, again[what], w.audits.next.raiseAgain, what)
			require.False(t, w.clockSetBack(), "the start audit makes up for it: %s", what)
			if doubt { // the epoch began when the clock was set back, after the last watch
				require.WithinDuration(t, s.options.Now().Time(), w.began.Time(), time.Hour+time.Second, what)
			}
			require.Equal(t, doubt, !w.audits.next.Since.Before(w.audits.next.Before), what)
			require.False(t, w.audits.next.First)
			require.NoError(t, w.close())
			require.NoError(t, m.Close())
		})
	}
}

// A clock that was slowed down until it is right showed no time twice: nothing is stamped for it, nor
// told again.
func TestClockThatWasSlowedDown(t *testing.T) {
	starts(t, true, func(t *testing.T, s *start) {
		<-time.After(48 * time.Hour)
		s.later = -2 * time.Minute
		w := s.open()
		require.False(t, w.audits.next.All || w.audits.next.raiseAgain || w.clockSetBack())
		require.NoError(t, w.close())
	})
}

// The first watch of a tree waits until no later ctime can lie before its reading of the clock,
// and gives the tree no epoch before its first audit is done; so does one whose predecessor did
// not end that.
func TestFirstStart(t *testing.T) {
	for _, again := range []bool{false, true} {
		starts(t, false, func(t *testing.T, s *start) {
			if again {
				require.NoError(t, s.open().close())
			}
			began, now := time.Now(), s.options.Now()
			w := s.open()
			require.GreaterOrEqual(t, time.Since(began), wire.ClockLag)
			require.True(t, w.firstAudit)
			require.Equal(t, wire.Unwatched, w.status.State)
			require.Zero(t, w.tree.Epoch)
			require.Nil(t, w.status.Checkpoint)
			require.True(t, w.audits.next.First)
			require.False(t, w.audits.next.All)
			require.Equal(t, []mtree.Stamp{now, now}, []mtree.Stamp{w.audits.next.Since, w.audits.next.Before})
			require.NotContains(t, s.text.String(), "other options")
			require.NoError(t, w.close())
		})
	}
	starts(t, true, func(t *testing.T, s *start) {
		began := time.Now()
		w := s.open()
		require.Less(t, time.Since(began), wire.ClockLag, "nobody waits again")
		require.NoError(t, w.close())
	})
}

// Before mounts are crossed that were not, serve is given the time to know of it.
func TestStartThatCrossesMounts(t *testing.T) {
	for _, c := range []struct {
		was   *bool
		cross bool
		waits bool
	}{{new(bool), true, true}, {nil, true, true}, {ptr(true), true, false}, {new(bool), false, false}, {nil, false, false}} {
		starts(t, true, func(t *testing.T, s *start) {
			s.change(nil, func(st *state.Status) { st.CrossMounts = c.was })
			s.options.CrossMounts = c.cross
			began := time.Now()
			w := s.open()
			require.Equal(t, c.waits, time.Since(began) >= state.StatusLag, c)
			require.Equal(t, c.cross, *w.status.CrossMounts)
			require.NoError(t, w.close())
		})
	}
}

func ptr[T any](v T) *T { return &v }

// What the last run left unfinished goes on: borders, and the degraded state.
func TestStartAfterTrouble(t *testing.T) {
	starts(t, true, func(t *testing.T, s *start) {
		s.change(func(tree *state.Tree) { tree.Borders = []string{"a", "x%0A"} }, func(st *state.Status) { st.State = wire.Degraded })
		w := s.open()
		require.Equal(t, map[string]bool{"a": true, "x%0A": true, "x\n": true}, w.earlier, "also as an earlier version wrote it")
		require.Equal(t, wire.Degraded, w.status.State)
		require.NoError(t, w.close())
		s.change(func(tree *state.Tree) { tree.Epoch = 0 }, func(st *state.Status) { st.State = wire.Degraded })
		m := s.marker()
		s.Fail = func(call string) error {
			if call == "rename tree" {
				st, err := m.ReadStatus()
				require.NoError(t, err)
				require.Equal(t, wire.Unwatched, st.State)
			}
			return nil
		}
		w = s.open()
		s.Fail = nil
		require.Equal(t, wire.Unwatched, w.status.State)
		require.Nil(t, w.status.Checkpoint, "the first audit was not finished")
		require.NoError(t, w.close())
		require.NoError(t, m.Close())
	})
	starts(t, true, func(t *testing.T, s *start) { // a tree that was restored before its first audit was done
		s.change(func(tree *state.Tree) { tree.Epoch, tree.Inode = 0, tree.Inode+1 }, nil)
		s.options.SameTree = true
		w := s.open()
		require.False(t, w.firstAudit, "it is not known which times are stamps")
		require.True(t, w.audits.next.All)
		require.NoError(t, w.close())
	})
}

// Where mounts came or went since, everything counts as arrived. If the mounts cannot be known, none
// did, and everything is stamped anew; where they can never be, only if events publish: audits see
// what is mounted. On the first run it is anyway.
func TestStartWithOtherMounts(t *testing.T) {
	for _, watched := range []bool{true, false} {
		starts(t, watched, func(t *testing.T, s *start) {
			s.Mounts = "5 1 8:2 / /tree/a/b rw - ext4 x rw\n"
			w := s.open()
			require.Equal(t, watched, w.earlier["a/b"])
			require.Equal(t, watched, len(w.missedMounts) == 1 && w.missedMounts[0].Path == "a")
			require.False(t, w.audits.next.All)
			require.NoError(t, w.close())
			if !watched {
				return
			}
			s.change(func(tree *state.Tree) { tree.Mounts = []state.Mount{{Path: "a/b"}} }, nil)
			s.Refuse("proc mountinfo", unix.EIO, -1)
			w = s.open()
			require.True(t, w.audits.next.All)
			require.Empty(t, w.missedMounts)
			require.NoError(t, w.close())
			for _, backend := range []string{"inotify", "none"} {
				s.Refuse("proc mountinfo", sys.ErrNoProc, -1)
				w, err := open(s.options, backend)
				require.NoError(t, err)
				require.Equal(t, backend != "none", w.audits.next.All)
				require.NoError(t, w.close())
			}
		})
	}
}

// What was a copy is a source from now on: nothing says otherwise any more, also in the root's
// own .tidemark, if the state is elsewhere. A source's stays as it is.
func TestStartOnACopy(t *testing.T) {
	for role, promoted := range map[state.Role]bool{state.Copy: true, state.Source: false} {
		starts(t, true, func(t *testing.T, s *start) {
			s.change(func(tree *state.Tree) { tree.Role = role }, nil)
			s.options.StateDir, s.options.Promote, s.options.NewTree = "/own", role == state.Copy, false
			w := s.open()
			d, err := disk.OpenRoot("/tree")
			require.NoError(t, err)
			own, err := state.OpenMarker(d, "")
			require.NoError(t, err)
			have, err := own.ReadTree()
			require.NoError(t, err)
			require.Equal(t, state.Source, have.Role)
			require.Equal(t, promoted, len(have.Runs) == len(w.tree.Runs) && have.Same(w.tree), role)
			require.NoError(t, errors.Join(own.Close(), d.Close(), w.close()))
		})
	}
}

// Once the state is elsewhere, the root's own .tidemark says that nobody keeps the stamps. A serve
// that lived on without --state-dir took the tree for audited, by what an earlier run had left there, and
// mirrors pruned. If that cannot be written, the log says so.
func TestStartElsewhere(t *testing.T) {
	for role, writable := range map[state.Role]bool{state.Source: true, state.Copy: true, "": false} {
		starts(t, true, func(t *testing.T, s *start) {
			m := s.marker()
			before, err := m.Published()
			require.NoError(t, err)
			require.Equal(t, wire.Audited, before.State)
			if role != "" {
				s.change(func(tree *state.Tree) { tree.Role = role }, nil)
			}
			s.options.StateDir, s.options.Promote = "/own", role == state.Copy
			var begun atomic.Bool // the tree file is written before
			s.Fail = func(call string) error {
				if call == "rename tree" {
					begun.Store(true)
				}
				if begun.Load() && !writable && call == "open status.json" {
					return unix.EROFS
				}
				return nil
			}
			require.NoError(t, s.open().close())
			s.Fail = nil
			after, err := m.Published()
			require.NoError(t, err)
			require.Equal(t, writable, after.State == wire.Unwatched && after.Status.Checkpoint == nil, role)
			require.Equal(t, !writable, strings.Contains(s.text.String(), "give serve the same --state-dir"), role)
			require.NoError(t, m.Close())
		})
	}
}

// What says that somebody keeps the stamps is taken back: a state as well as a checkpoint. What says
// so no more, or is not there, is not written. What cannot be read now is left: the next start may
// need what else it says.
func TestStatusThatIsTakenBack(t *testing.T) {
	at := mtree.Unix(1000, 0)
	for _, c := range []struct {
		what   string
		text   string // of the file; "": it has status
		status state.Status
		fails  error
		writes bool
	}{
		{what: "a state", status: state.Status{State: wire.Degraded}, writes: true},
		{what: "a checkpoint", status: state.Status{State: wire.Unwatched, Checkpoint: &at}, writes: true},
		{what: "damaged", text: "{", writes: true},
		{what: "nothing", status: state.Status{State: wire.Unwatched}},
		{what: "not there", fails: unix.ENOENT},
		{what: "cannot be read", status: state.Status{State: wire.Audited, Checkpoint: &at}, fails: unix.EIO},
	} {
		starts(t, true, func(t *testing.T, s *start) {
			w := s.open()
			defer w.close()
			own := s.marker()
			defer own.Close()
			f, err := own.CreateStatus()
			require.NoError(t, err)
			require.NoError(t, errors.Join(f.Write(c.status), f.Close()))
			if c.text != "" {
				require.NoError(t, s.Shell.Write(markerPath+"/status.json", c.text))
			}
			s.text.Reset()
			s.Made("")
			s.Refuse("open status.json", c.fails, 1)
			w.takeBackStatus(own)
			require.Equal(t, c.writes, s.Made("write status.json") > 0, c.what)
			require.Equal(t, c.fails == unix.EIO, strings.Contains(s.text.String(), "cannot read"), c.what)
			if c.writes {
				have, err := own.ReadStatus()
				require.NoError(t, err)
				require.Equal(t, wire.Unwatched, have.State, c.what)
				require.Nil(t, have.Checkpoint, c.what)
			}
		})
	}
}

// If the root's own .tidemark has no tree file, it gets that of the watch.
func TestStartBesideAnEmptyMarker(t *testing.T) {
	starts(t, true, func(t *testing.T, s *start) {
		require.NoError(t, s.Shell.Remove(markerPath+"/tree"))
		s.options.StateDir = "/own"
		w := s.open()
		d, err := disk.OpenRoot("/tree")
		require.NoError(t, err)
		own, err := state.OpenMarker(d, "")
		require.NoError(t, err)
		have, err := own.ReadTree()
		require.NoError(t, err)
		require.True(t, have.Same(w.tree))
		require.NoError(t, errors.Join(own.Close(), d.Close(), w.close()))
	})
}

// Whether others may change the tree elsewhere is asked of the root's file system, if nothing is heard.
func TestStartOnAFileServer(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		starts(t, false, func(t *testing.T, s *start) {
			if elsewhere {
				s.ShowFS = func(st *unix.Statfs_t) { st.Type = unix.NFS_SUPER_MAGIC }
			}
			w := s.open()
			require.Equal(t, elsewhere, w.elsewhere)
			require.NoError(t, w.close())
		})
	}
}
