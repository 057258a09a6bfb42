package serve

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// Streams of files and sums: a file is read whole, and left out if it is another by
// then, be it by size, by mtime or by ctime alone.
func TestFilesThatChangeAreLeftOut(t *testing.T) {
	h, err := New(Config{Root: t.TempDir()})
	require.NoError(t, err)
	defer h.Close()
	stream := &packing{h: h, r: httptest.NewRequest(http.MethodGet, "/", nil), out: h.newSink(httptest.NewRecorder(), &reply{})}
	ways := map[string]func(f *disk.Regular) error{
		"POST ?tar": func(f *disk.Regular) error {
			_, err := h.packOpen(nil, "x", f)
			return err
		},
		"GET ?tar": func(f *disk.Regular) error {
			stream.missed = nil
			return cmp.Or(stream.open("x", f), stream.missed)
		},
		"sums": func(f *disk.Regular) error {
			_, err := h.sumOpen(t.Context(), httptest.NewRecorder(), f)
			return err
		},
	}
	for name, change := range map[string]func(path string) error{
		"grown":   func(path string) error { return os.Truncate(path, 20) },
		"dated":   func(path string) error { return os.Chtimes(path, time.Time{}, time.Unix(1, 0)) },
		"mode":    func(path string) error { return os.Chmod(path, 0o600) },
		"rewrite": func(path string) error { return os.WriteFile(path, []byte("other"), 0o644) },
	} {
		path := h.cfg.Root + "/" + name
		require.NoError(t, os.WriteFile(path, []byte("bytes"), 0o644))
		require.NoError(t, os.Chtimes(path, time.Unix(5, 0), time.Unix(5, 0)))
		f, _, err := h.tree.OpenRegular(name)
		require.NoError(t, err)
		for way, send := range ways {
			require.NoError(t, send(f), way)
		}
		require.Eventually(t, func() bool { // the ctime moves on by ticks
			require.NoError(t, change(path))
			now, err := f.Stat()
			return err == nil && now.CTime != f.CTime
		}, 5*time.Second, time.Millisecond)
		for way, send := range ways {
			require.ErrorIs(t, send(f), errChanged, "%s, %s", name, way)
		}
		require.NoError(t, f.Close())
	}
}

// A date proves the stamp that was given within its second, or by a tool long ago, and no other.
func TestIsDated(t *testing.T) {
	h, err := New(Config{Root: t.TempDir()})
	require.NoError(t, err)
	defer h.Close()
	const sec = 1_700_000_000
	stamp := mtree.Unix(sec, 5)
	q := &dirRequest{target: &target{}, snap: h.tree.Now(), self: disk.Info{MTime: stamp}}
	for given, want := range map[mtree.Stamp]bool{
		mtree.Unix(sec-1, 0):               true, // of whole seconds, ahead of the clock
		mtree.Unix(sec, 999_999_999):       true,
		mtree.Unix(sec+1, 0):               false,
		mtree.Unix(sec+datedBefore, 0):     false,
		mtree.Unix(sec+datedBefore+1, 0):   true,
		mtree.Unix(sec+20*datedBefore, 99): true,
	} {
		q.self.CTime = given
		require.Equal(t, want, h.isDated(q, stamp), given)
		require.False(t, h.isDated(q, stamp.Add(1)), "it came after the ctime was read")
	}
}

// deadlines notes until when a client may take to read.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// Sums: who waits for others' large files to be hashed, or for an own one, is not
// cut off meanwhile. Over HTTP/2 a deadline that passes ends the answer.
func TestHashingMovesTheDeadlineOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Handler{hashing: make(chan struct{}, 1)}
		h.hashing <- struct{}{}
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		begun := time.Now()
		require.ErrorIs(t, h.enterHashing(ctx, w), context.DeadlineExceeded)
		require.Equal(t, begun.Add(writeTimeout), w.set[0])
		for i, until := range w.set[1:] {
			require.Less(t, until.Sub(w.set[i]), writeTimeout/2, "each in good time")
		}
		require.True(t, w.set[len(w.set)-1].After(time.Now()))
	})
	root := t.TempDir()
	require.NoError(t, os.WriteFile(root+"/a", []byte("1"), 0o644))
	h, err := New(Config{Root: root})
	require.NoError(t, err)
	defer h.Close()
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	_, _, err = h.sum(t.Context(), w, "a")
	require.NoError(t, err)
	require.Len(t, w.set, 1)
	require.WithinDuration(t, time.Now().Add(writeTimeout), w.set[0], writeTimeout/2)
}
