package serve

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// There is room for so much; what several keep counts once; who has taken longest is
// let go for others, and nobody within the first second.
func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newHeld(100)
		cuts, gone := map[string]int{}, make(chan struct{})
		take := func(name string, l *load) (*holder, error) {
			return m.take(l, func() {
				if cuts[name]++; name == "a" {
					close(gone)
				}
			})
		}
		first, second := &load{bytes: 60}, &load{bytes: 30}
		a, err := take("a", first)
		require.NoError(t, err)
		b, err := take("b", first)
		require.NoError(t, err)
		c, err := take("c", second)
		require.NoError(t, err)
		require.EqualValues(t, 90, m.bytes)
		m.give(b)
		require.EqualValues(t, 90, m.bytes)
		// The first one is let go, who gives back what it kept.
		begun := time.Now()
		go func() {
			<-gone
			m.give(a)
		}()
		d, err := take("d", &load{bytes: 40})
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(begun), heldGrace)
		require.Equal(t, map[string]int{"a": 1}, cuts)
		require.EqualValues(t, 70, m.bytes)
		require.NoError(t, m.grow(d, 30))
		// Those who do not give anything back are asked once.
		begun = time.Now()
		_, err = take("e", &load{bytes: 10})
		require.ErrorIs(t, err, errHeld)
		require.Equal(t, heldPatience, time.Since(begun))
		require.Equal(t, map[string]int{"a": 1, "c": 1}, cuts)
		m.give(c)
		m.give(d)
		require.Zero(t, m.bytes)
		// What is larger than all may be is let in alone.
		e, err := take("e", &load{bytes: 1000})
		require.NoError(t, err)
		m.give(e)
		require.Zero(t, m.bytes)
		require.Zero(t, m.order.Len())
	})
}

// A making that begins after the question is shared, one under way only if the stamp
// proves it; and one that fails is no page for anybody.
func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, proven := range []bool{false, true} {
			f := newFlights()
			var made atomic.Int64
			hold := make(chan struct{})
			results := make(chan *page, 9)
			var all sync.WaitGroup
			ask := func(at int64) {
				var shown pageTime
				if proven {
					shown.mtime = mtree.Unix(at, 0)
				}
				all.Go(func() {
					p, err := f.do(flightKey{}, shown, func() (*page, error) {
						made.Add(1)
						<-hold
						return &page{size: made.Load()}, nil
					})
					require.NoError(t, err)
					results <- p
				})
			}
			ask(1)
			synctest.Wait()
			for range 4 {
				ask(1)
			}
			synctest.Wait()
			require.EqualValues(t, 1, made.Load())
			if proven { // one that changed meanwhile is read once more for all, and not beside the first
				for later := range 4 {
					ask(int64(2 + later))
				}
				synctest.Wait()
				require.EqualValues(t, 1, made.Load())
			}
			close(hold)
			all.Wait()
			require.EqualValues(t, 2, made.Load(), "what came meanwhile may not be in the first")
			require.Empty(t, f.by)
		}
		f := newFlights()
		wrong := errors.New("wrong")
		_, err := f.do(flightKey{}, pageTime{}, func() (*page, error) { return nil, wrong })
		require.ErrorIs(t, err, wrong)
		require.Panics(t, func() { _, _ = f.do(flightKey{}, pageTime{}, func() (*page, error) { panic("x") }) })
		require.Empty(t, f.by)
	})
}

// What is held back of files counts, too, as soon as there is much of it.
func TestTailsAreHeld(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.WriteFile(root+"/f", []byte("bytes"), 0o644))
	h, err := New(Config{Root: root})
	require.NoError(t, err)
	defer h.Close()
	h.freeTails, h.held = 0, newHeld(heldBack)
	get := func() string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/f", nil))
		return w.Body.String()
	}
	require.Equal(t, "bytes", get())
	require.Zero(t, h.held.bytes)
	cut := make(chan struct{})
	slow, err := h.held.take(&load{bytes: 1}, func() { close(cut) })
	require.NoError(t, err)
	go func() {
		<-cut
		h.held.give(slow)
	}()
	require.Equal(t, "bytes", get())
	select {
	case <-cut:
	default:
		t.Fatal("who holds more than there is room for is let go")
	}
	require.Zero(t, h.held.bytes)
	require.Zero(t, h.tails.Load())
}
