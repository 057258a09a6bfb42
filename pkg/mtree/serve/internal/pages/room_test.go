package pages

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The room is bounded; what several requests keep counts once; the request that has taken
// longest is cut for others, and none within its first second.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewRoom(100)
		cuts, gone := map[string]int{}, make(chan struct{})
		take := func(name string, l *Load) (*Holder, error) {
			return m.Take(l, func() {
				if cuts[name]++; name == "a" {
					close(gone)
				}
			})
		}
		first, second := &Load{Bytes: 60}, &Load{Bytes: 30}
		a, err := take("a", first)
		require.NoError(t, err)
		b, err := take("b", first)
		require.NoError(t, err)
		c, err := take("c", second)
		require.NoError(t, err)
		require.EqualValues(t, 90, m.bytes)
		b.Give()
		require.EqualValues(t, 90, m.bytes)
		// The first one is cut, and gives back what it kept.
		begun := time.Now()
		go func() {
			<-gone
			a.Give()
		}()
		d, err := take("d", &Load{Bytes: 40})
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(begun), grace)
		require.Equal(t, map[string]int{"a": 1}, cuts)
		require.EqualValues(t, 70, m.bytes)
		require.NoError(t, d.Grow(30))
		// Requests that give nothing back are cut once.
		begun = time.Now()
		_, err = take("e", &Load{Bytes: 10})
		require.ErrorIs(t, err, ErrFull)
		require.Equal(t, patience, time.Since(begun))
		require.Equal(t, map[string]int{"a": 1, "c": 1}, cuts)
		c.Give()
		d.Give()
		require.Zero(t, m.bytes)
		// What is larger than the room gets it alone.
		e, err := take("e", &Load{Bytes: 1000})
		require.NoError(t, err)
		e.Give()
		require.Zero(t, m.bytes)
		require.Zero(t, m.order.Len())
	})
}

// A request that was cut while it did something else ends by its new function.
func TestCutBeforeSetCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewRoom(100)
		a, err := m.Take(&Load{Bytes: 80}, func() {})
		require.NoError(t, err)
		_, err = m.Take(&Load{Bytes: 30}, func() {})
		require.ErrorIs(t, err, ErrFull)
		cuts := 0
		a.SetCut(func() { cuts++ })
		require.Equal(t, 1, cuts)
		a.Give()
	})
}

// What was taken for more than it came to is given back at once to who waits.
func TestResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewRoom(100)
		load := &Load{Bytes: 80}
		a, err := m.Take(load, func() {})
		require.NoError(t, err)
		begun := time.Now()
		go a.Resize(70)
		b, err := m.Take(&Load{Bytes: 30}, func() {})
		require.NoError(t, err)
		require.Zero(t, time.Since(begun))
		require.EqualValues(t, 70, load.Bytes)
		require.EqualValues(t, 100, m.Bytes())
		a.Give()
		require.EqualValues(t, 30, m.Bytes())
		b.Give()
		require.Zero(t, m.Bytes())
	})
}
