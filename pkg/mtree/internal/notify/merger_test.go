package notify

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Each name stands once, however many there are. An arrival or a rename is kept, whatever
// happens to the name later.
func TestMergedOnce(t *testing.T) {
	for _, n := range []int{1, searched - 1, searched, searched + 1, 1000} {
		var m merger
		for round := range 3 {
			for i := range n {
				mask := uint64(unix.IN_DELETE)
				if round == 1 && i%2 == 0 {
					mask |= unix.IN_CREATE
				}
				if round == 1 && i%8 < 2 {
					mask |= unix.IN_MOVED_TO
				}
				m.add(fmt.Append(nil, i)).happened(i%4 == 0, mask)
			}
		}
		require.Len(t, m.Entries, n)
		for i, e := range m.Entries {
			e.Came = false
			require.Equal(t, Entry{Name: fmt.Sprint(i), Arrived: i%4 == 0, Renamed: i%8 == 1, Moved: i%8 == 0, File: i%4 != 0}, e)
		}
	}
}

// What had a name before and was written may have other names, at which nothing is heard. What
// is made and then written has none, most likely.
func TestWritten(t *testing.T) {
	for _, c := range []struct {
		masks             []uint64
		written, replaced bool
	}{
		{[]uint64{unix.IN_MODIFY}, true, false},
		{[]uint64{unix.IN_ATTRIB, unix.IN_DELETE}, true, false},
		{[]uint64{unix.IN_DELETE}, false, false},
		{[]uint64{unix.IN_CREATE, unix.IN_MODIFY, unix.IN_CLOSE_WRITE, unix.IN_MOVED_FROM}, false, false},
		{[]uint64{unix.IN_CREATE | unix.IN_MODIFY}, false, false},
		{[]uint64{unix.IN_MOVED_TO, unix.IN_MODIFY}, false, false},
		{[]uint64{unix.IN_CLOSE_WRITE, unix.IN_MOVED_TO, unix.IN_MODIFY}, true, true},
		{[]uint64{unix.IN_CREATE, unix.IN_MODIFY, unix.IN_DELETE, unix.IN_CREATE}, false, false},
	} {
		var e Entry
		for _, mask := range c.masks {
			e.happened(false, mask)
		}
		require.Equal(t, c.written, e.Written, c.masks)
		require.Equal(t, c.replaced, e.Replaced, c.masks)
		var d Entry
		d.happened(true, unix.IN_ATTRIB)
		require.False(t, d.Written, "a directory has one name")
		require.True(t, e.File && !d.File)
	}
}
