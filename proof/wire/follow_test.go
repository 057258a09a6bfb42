package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror"
)

// A mirror that keeps running: it asks with since and wait, tries again after pauses, and
// nobody starts it anew.

// running is such a mirror.
type running struct {
	place  *place
	cancel context.CancelFunc
	ended  chan error
}

func (p *place) follow(c mirror.Config) *running {
	c.Interval = 20 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{place: p, cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- mirror.Run(ctx, c) }()
	return r
}

// stop ends it. That it ended by itself is an error.
func (r *running) stop() error {
	var early error
	select {
	case err := <-r.ended:
		return fmt.Errorf("the mirror ended: %w", err)
	default:
	}
	r.cancel()
	select {
	case err := <-r.ended:
		return errors.Join(early, err)
	case <-time.After(30 * time.Second):
		return errors.New("the mirror does not end")
	}
}

// refused reports whether it ended because its first answer was of another tree. Then it is
// for somebody to look, and to start it again.
func (r *running) refused() bool {
	select {
	case err := <-r.ended:
		if exit.Of(err) == exit.Refused && hasRemedy(err) {
			return true
		}
		r.ended <- err
	default:
	}
	return false
}

// equal waits until the copy is equal to what is published, and reports whether it is.
func (r *running) equal(patience time.Duration) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		if differ, err := r.place.compare(); err == nil && differ == nil {
			return true
		} else if time.Now().After(end) {
			return false
		}
	}
}

const (
	faultLasts = 400 * time.Millisecond // for a change to arrive in spite of the fault
	mending    = time.Minute            // until it must have arrived when the fault has ended
)

// followed has a mirror run while the source changes twice with the fault, and waits until
// the copy is equal without it.
func followed(p *place, c mirror.Config) (err, hung error) {
	c.Patience = 10 * patience // a pause after each request that is given up without need
	r := p.follow(c)
	for _, change := range []func(*editor){(*editor).change, (*editor).moveOn} {
		r.equal(faultLasts)
		err = errors.Join(err, p.become(change))
	}
	r.equal(faultLasts)
	p.proxy.arm(nil, 0, false)
	fmt.Fprintln(&p.log, "the fault ends:")
	if r.refused() {
		r = p.follow(c)
	}
	began := time.Now()
	if p.blind {
		r.equal(faultLasts) // what is wrong only --verify finds
	} else if !r.equal(mending) {
		differ, _ := p.compare()
		hung = fmt.Errorf("NO CONVERGENCE of a running mirror within %v: %q", mending, differ)
	}
	fmt.Fprintf(&p.log, "equal after %v\n", time.Since(began))
	if stopErr := r.stop(); stopErr != nil && !errors.Is(stopErr, context.Canceled) {
		hung = errors.Join(hung, stopErr)
	}
	p.proxy.cut() // the last request may still be on its way
	return err, hung
}

// keepers are names of the source that no change of the storm touches.
var keepers = []string{"a/g", "a/b/one", "a/b/c/deep", "big", "many/5", "many/6", "grown/s", "grown/t/u"}

// TestStorm: a running mirror through a network where a third of all answers comes with some
// fault, which is gone for a while, and comes back. What nobody touches is whole all the
// time. A minute after the end at most the copy is equal, and nothing is asked any more.
func TestStorm(t *testing.T) {
	base := workDir(t)
	proof.Rounds(t, 2, func(t *testing.T, seed uint64) {
		p, err := newPlace(filepath.Join(base, fmt.Sprint("storm", seed)), kinds[0])
		defer p.close()
		require.NoError(t, err)
		defer func() {
			if t.Failed() {
				t.Log(p.trail())
			}
		}()
		require.NoError(t, p.toSecond())
		c := p.faulty()
		c.Jobs, c.Patience = 4, 10*patience
		r := p.follow(c)
		storm(t, p, seed)
		p.proxy.choose(nil)
		if !r.equal(mending) {
			differ, err := p.compare()
			require.Fail(t, "the copy does not become equal", "%q, %v", differ, err)
		}
		requireQuiet(t, p)
		require.NoError(t, r.stop())
		_, replaced := p.proxy.arm(nil, 0, false)
		proof.Count("answers replaced", replaced)
		proof.Count("storms", 1)
		require.NoError(t, errors.Join(p.checkOutside(), p.requireIdle()))
	})
}

// storm changes the source while answers come with faults.
func storm(t *testing.T, p *place, seed uint64) {
	weather := rand.New(rand.NewPCG(seed, 1))
	p.proxy.choose(func(ex *exchange) *fault { // the proxy calls it with its lock
		f := &faults[weather.IntN(len(faults))]
		if weather.IntN(3) > 0 || f.blind || f.prep != nil || strings.HasPrefix(f.name, "epoch") || !f.fits(ex) {
			return nil
		}
		return f
	})
	changes := rand.New(rand.NewPCG(seed, 2))
	for i := range 12 {
		require.NoError(t, p.become(func(e *editor) {
			e.write(fmt.Sprintf("storm/%d/f", changes.IntN(4)), strings.Repeat("x", i+1))
			e.write("a/f", fmt.Sprint("version ", i))
			if i%4 == 3 {
				e.remove(fmt.Sprintf("storm/%d", changes.IntN(4)))
			}
		}))
		if i == 6 {
			p.proxy.cut()
		}
		for range 10 {
			for _, name := range keepers {
				e, err := read(filepath.Join(p.dest, name))
				require.False(t, errors.Is(err, fs.ErrNotExist), "WRONG DELETION of %q", name)
				require.NoError(t, err)
				require.True(t, p.known[name][e.version()], "TORN: %q has %s", name, e.bytes)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
}

// requireQuiet requires that a mirror whose copy is equal comes to ask nothing but a long
// poll.
func requireQuiet(t *testing.T, p *place) {
	require.NoError(t, eventually(func() error {
		p.proxy.requests()
		<-time.After(200 * time.Millisecond)
		if asked := p.proxy.requests(); len(asked) > 1 {
			return fmt.Errorf("it asks all the time: %q", asked)
		}
		return nil
	}))
}
