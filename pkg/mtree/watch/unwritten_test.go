package watch

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/wire"
)

// What readers must be told apart from times, and cannot be: the disk is full.

// fails lets some calls fail from now on, and no others.
func (p *post) fails(calls map[string]error) {
	p.Fail = func(call string) error { return calls[call] }
}

// happens publishes what was heard in a directory, and waits until our own writes are proof: an
// audit does not stamp these directories anew for them.
func (p *post) happens(event notify.DirEvents) {
	p.t.Helper()
	p.hear(&event)
	for range 3 {
		require.NoError(p.t, p.publishEvents(p.ctx))
	}
}

// mends lets an audit run once everything works again, and requires that it stamps what is above
// a/d anew.
func (p *post) mends() {
	p.t.Helper()
	p.sleep(time.Hour)
	require.Equal(p.t, " a", p.changes(func() { p.again(func() {}) }, "", "a"))
	require.Equal(p.t, wire.Watched, p.status(p.t).State)
}

// A directory could be read again, or took its time again, and .tidemark could not be written, so
// serve still went by the old line when what is above had its new stamp. The watcher forgot the
// directory all the same, so nothing above was ever stamped for those who were refused.
func TestExceptionsThatEndUnwritten(t *testing.T) {
	for what, c := range map[string]struct {
		except map[string]error // what makes a/d an exception
		full   map[string]error // what fails when it ends
		event  notify.DirEvents // at which it begins and ends
	}{
		"unread": {
			map[string]error{"open d": unix.EACCES}, map[string]error{"rename unread": unix.ENOSPC},
			notify.DirEvents{Path: "a/d", Self: 1},
		},
		"refuses": {
			map[string]error{"utimes d": unix.EPERM}, map[string]error{"rename stamps": unix.ENOSPC},
			notify.DirEvents{Path: "a/d", Entries: []notify.Entry{{Name: "f"}}},
		},
	} {
		t.Run(what, func(t *testing.T) {
			manned(t, []string{"a/d/f"}, func(t *testing.T, p *post) {
				p.fails(c.except)
				p.happens(c.event)
				have := exceptionsIn(t, p)
				require.Equal(t, 1, len(have.Unread)+len(have.Stamps))
				require.Equal(t, wire.Watched, p.status(t).State)
				p.fails(c.full)
				p.happens(c.event)
				require.Equal(t, wire.Degraded, p.status(t).State)
				p.Fail = nil
				p.mends()
				have = exceptionsIn(t, p)
				require.Empty(t, have.Unread)
				require.Empty(t, have.Stamps)
			})
		})
	}
}

// Readers ask for exceptions once the status counts any. It could not be written when the first
// directory refused its time: what is above was stamped, readers listed the directory with its old
// time, and completed what is above. Nothing was stamped when they could be told.
func TestFirstExceptionThatNobodyIsToldOf(t *testing.T) {
	manned(t, []string{"a/d/f"}, func(t *testing.T, p *post) {
		refuses := map[string]error{"utimes d": unix.EPERM}
		p.fails(map[string]error{"utimes d": unix.EPERM, "write status.json": unix.ENOSPC})
		p.happens(notify.DirEvents{Path: "a/d", Entries: []notify.Entry{{Name: "f"}}})
		require.Len(t, exceptionsIn(t, p).Stamps, 1)
		require.Zero(t, p.status(t).Stamps, "nobody is told")
		p.fails(refuses)
		p.writeStatus()
		require.Equal(t, wire.Degraded, p.status(t).State)
		p.mends()
		require.Equal(t, 1, p.status(t).Stamps)
	})
}

// While the disk was full, each batch was logged twice: it could not note what it stamped. With a
// hundred batches a second that filled the log, which may lie on the same disk.
func TestDiskThatIsFullForManyBatches(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		warnings := func() int { return strings.Count(p.text.String(), "cannot note") }
		for want := range 3 {
			p.saves("a/f")
			require.Equal(t, want, warnings())
			p.fails(map[string]error{"write left.0": unix.ENOSPC, "write left.1": unix.ENOSPC})
			for range 5 {
				p.saves("a/f")
				require.NoError(t, p.publishEvents(p.ctx)) // nothing to note
			}
			require.Equal(t, want+1, warnings())
			p.Fail = nil
		}
	})
}
