package watch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/notify"
)

// takesAfter lets a watcher hear something, and returns how long it waits before it takes that,
// up to twice the settle time.
func (p *post) takesAfter(looked ...notify.Waiting) time.Duration {
	p.tower.taken, p.tower.waiting = 0, looked
	began := time.Now()
	require.NoError(p.t, p.heard(p.ctx))
	for p.tower.taken == 0 && time.Since(began) < 2*p.Settle {
		<-p.batch.timer.C
		require.NoError(p.t, p.settle(p.ctx))
	}
	return time.Since(began)
}

// After a quiet moment, what is complete by itself is published at once. What is half done is
// looked at again soon, and settles as anything else.
func TestWhatIsOpenSettles(t *testing.T) {
	manned(t, []string{"a/f", "a/g"}, func(t *testing.T, p *post) {
		open := notify.Waiting{Open: true}
		require.NoError(t, p.Shell.Symlink("f", "/tree/a/s"))
		require.NoError(t, p.Shell.Link("/tree/a/g", "/tree/a/h"))
		made := func(names ...string) notify.Waiting { return notify.Waiting{Made: names} }
		for _, c := range []struct {
			what   string
			looked []notify.Waiting
			after  time.Duration
		}{
			{"complete", []notify.Waiting{{}}, 0},
			{"complete at the second look", []notify.Waiting{open, {}}, p.Settle / 10},
			{"complete at the third", []notify.Waiting{open, open, {}}, 4 * p.Settle / 10},
			{"open", []notify.Waiting{open, open, open}, p.Settle},
			{"a file that is open", []notify.Waiting{made("a/f"), made("a/f"), made("a/f")}, p.Settle},
			{"a file that is closed soon", []notify.Waiting{made("a/f"), {}}, p.Settle / 10},
			{"a symlink", []notify.Waiting{made("a/s")}, 0},
			{"a link", []notify.Waiting{made("a/h")}, 0},
			{"a link and a file", []notify.Waiting{made("a/h", "a/f"), open, open}, p.Settle},
			{"what is gone", []notify.Waiting{made("a/gone"), open, open}, p.Settle},
			{"as many links as are looked at", []notify.Waiting{made("a/s", "a/s", "a/s", "a/s", "a/s", "a/s", "a/s", "a/s")}, 0},
			{"many links", []notify.Waiting{made("a/s", "a/s", "a/s", "a/s", "a/s", "a/s", "a/s", "a/s", "a/s"), open, open}, p.Settle},
		} {
			p.sleep(time.Minute)
			p.hear(&notify.DirEvents{Path: "a", Dirty: true})
			require.Equal(t, c.after, p.takesAfter(c.looked...), c.what)
			require.Empty(t, p.tower.waiting, c.what)
			require.Equal(t, 1, p.tower.taken, c.what)
			require.Zero(t, p.batch.looks, c.what)
		}
	})
}

// A root that is gone ends watch, also where the batch need not settle.
func TestRootIsGoneAfterAQuietMoment(t *testing.T) {
	for _, looked := range [][]notify.Waiting{{{}}, {{Open: true}, {}}} {
		manned(t, nil, func(t *testing.T, p *post) {
			p.sleep(time.Minute)
			require.NoError(t, p.Shell.Rename("/tree", "/away", 0))
			p.tower.waiting, p.tower.events = looked, []notify.Events{{RootGone: true}}
			err := p.heard(p.ctx)
			if len(looked) > 1 {
				require.NoError(t, err)
				<-p.batch.timer.C
				err = p.settle(p.ctx)
			}
			require.ErrorContains(t, err, "moved, deleted or unmounted")
		})
	}
}

// What comes soon after a batch is gathered, as changes are that never pause.
func TestBurstsAreGathered(t *testing.T) {
	manned(t, []string{"a/f"}, func(t *testing.T, p *post) {
		publish := func(looked ...notify.Waiting) time.Duration {
			p.hear(&notify.DirEvents{Path: "a", Dirty: true})
			return p.takesAfter(looked...)
		}
		p.sleep(time.Minute)
		require.Zero(t, publish(notify.Waiting{}))
		require.Equal(t, p.Settle, publish())
		p.sleep(p.Settle - 1)
		require.Equal(t, p.Settle, publish())
		p.sleep(p.Settle)
		require.Zero(t, publish(notify.Waiting{}))

		p.sleep(p.Settle)
		p.batch.cost = 10 * p.Settle
		require.Equal(t, p.Settle, publish(), "it was expensive")

		p.sleep(time.Minute)
		p.audits.running = true
		require.Equal(t, p.Settle, publish(), "an audit runs")
		p.audits.running = false

		p.sleep(time.Minute)
		require.Zero(t, p.takesAfter(notify.Waiting{}), "nothing is stamped")
		require.Zero(t, publish(notify.Waiting{}))
	})
}

// While a batch is looked at, more that comes does not make it wait longer than it would.
func TestLooksAreNoPatience(t *testing.T) {
	manned(t, []string{"a/f"}, func(t *testing.T, p *post) {
		p.sleep(time.Minute)
		p.hear(&notify.DirEvents{Path: "a", Dirty: true})
		open := notify.Waiting{Open: true}
		p.tower.waiting = []notify.Waiting{open, open, open}
		began := time.Now()
		require.NoError(t, p.heard(p.ctx))
		for p.tower.taken = 0; p.tower.taken == 0; {
			<-p.batch.timer.C
			select {
			case p.wake <- struct{}{}:
			default:
			}
			require.NoError(t, p.settle(p.ctx))
		}
		require.Equal(t, p.batch.patience(p.Settle), time.Since(began))
	})
}
