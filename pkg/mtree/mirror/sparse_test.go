package mirror

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// room returns how many bytes a file takes on the disk.
func room(t *testing.T, path string) int64 {
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// With --sparse, runs of zeros become holes, however a file comes: new, in the place of another, filled
// with its directory, taken over. Without it none do. The option alone fetches nothing.
func TestSparseCopy(t *testing.T) {
	for _, kind := range []string{"HTTP", "local"} {
		t.Run(kind, func(t *testing.T) {
			s, b := overHTTP(t, "d/small = x")
			if kind == "local" {
				b.config.Source, b.server = s.root, nil
			}
			text := bytes.Join([][]byte{[]byte("begin"), make([]byte, 3<<20), bytes.Repeat([]byte("x"), 9<<10), make([]byte, 4<<20)}, nil)
			write := func(names ...string) {
				for _, name := range names {
					require.NoError(t, os.MkdirAll(s.path(name[:1]), 0o755))
					require.NoError(t, os.WriteFile(s.path(name), text, 0o644))
					s.publish(name)
				}
			}
			var many []string
			for i := range 20 {
				many = append(many, "m/"+string(rune('a'+i)))
			}
			write("d/f")
			b.equal(s)
			require.Greater(t, room(t, b.path("d/f")), int64(7<<20), "it is off by default")
			b.config.Sparse = true
			b.requireIdle()
			write("d/g")
			write(many...)
			b.equal(s)
			for _, name := range append(many, "d/g") {
				require.Less(t, room(t, b.path(name)), int64(100<<10), name)
			}
			text[0]++
			write("m/a") // over HTTP put together of blocks
			require.NoError(t, os.Rename(s.path("d/g"), s.path("d/moved")))
			require.NoError(t, os.Chmod(s.path("d/moved"), 0o600)) // so that it is copied
			s.publish("d/moved")
			b.equal(s)
			require.Less(t, room(t, b.path("m/a")), int64(100<<10))
			require.Less(t, room(t, b.path("d/moved")), int64(100<<10))
			require.NoError(t, Verify(t.Context(), Config{Dest: b.config.Dest, Log: b.config.Log, Out: &b.out}, false))
			b.config.Sparse = false
			b.requireIdle()
		})
	}
}

// A large file that breaks off in a hole is continued there.
func TestASparseFileThatBreaksOff(t *testing.T) {
	s, b := overHTTP(t)
	text := bytes.Join([][]byte{[]byte("begin"), make([]byte, 12<<20), []byte("end")}, nil)
	require.NoError(t, os.WriteFile(s.path("f"), text, 0o644))
	old := time.Unix(1_000_000_000, 0)
	require.NoError(t, os.Chtimes(s.path("f"), old, old))
	s.publish("f")
	b.config.Sparse = true
	var ranges []string
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/f" || r.Method != http.MethodGet {
			return false
		}
		if ranges = append(ranges, r.Header.Get("Range")); len(ranges) == 1 {
			b.server.handler.ServeHTTP(&cutWriter{w, 7 << 20}, r)
			return true
		}
		return false
	})
	b.equal(s)
	require.Len(t, ranges, 2)
	require.True(t, strings.HasPrefix(ranges[1], "bytes=7"), "%q", ranges)
	require.Less(t, room(t, b.path("f")), int64(100<<10))
	b.requireIdle()
}
