package mirror

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/fastpath/fastpathtest"
)

// repeated gives the same text again and again and never ends.
type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		some := copy(p[n:], r.text[r.at:])
		n, r.at = n+some, (r.at+some)%len(r.text)
	}
	return n, nil
}

// memoryOf returns by how many bytes at most the heap in use grew while f ran. It looks
// every millisecond.
func memoryOf(f func()) (most int64) {
	use := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	runtime.GC()
	before := use()
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, use()-before)
			case <-stop:
				return
			}
		}
	}()
	f()
	close(stop)
	<-ended
	return most
}

// A small answer that unpacks to a large one, or a stream without an end, is an error. It
// fills neither memory nor disk, and the pass ends.
func TestBombs(t *testing.T) {
	line := "1700000000.000000001 ./\t-\n"
	sumLine := strings.Repeat("0", 64) + "  "
	for name, bomb := range map[string]func(w http.ResponseWriter){
		"listing of comments": func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
			_, _ = z.Write([]byte(line))
			_, _ = io.CopyN(z, &repeated{text: "#" + strings.Repeat("x", 8000) + "\n"}, (512<<20/8002+9)*8002)
			_, _ = z.Write([]byte("#end 0\n"))
			_ = z.Close()
		},
		"listing of one line": func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
			_, _ = io.CopyN(z, &repeated{text: line + "x"}, 1<<30)
		},
		"file in a coding": func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("ETag", `"1700000000.000000001-3-1.500000000"`)
			_, _ = w.Write([]byte("abc"))
		},
		"file without an end": func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"1700000000.000000001-3-1.500000000"`)
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(w, &repeated{text: "x"})
		},
		"sums without an end": func(w http.ResponseWriter) {
			for n := 0; ; n++ {
				if _, err := fmt.Fprintf(w, "%s%d\n", sumLine, n); err != nil {
					return
				}
			}
		},
		"tar without an end": func(w http.ResponseWriter) {
			archive := tar.NewWriter(w)
			for n := 0; ; n++ {
				h := tar.Header{Name: fmt.Sprint(n), Typeflag: tar.TypeReg, ModTime: time.Unix(1700000000, 1), Format: tar.FormatPAX}
				if archive.WriteHeader(&h) != nil || archive.Flush() != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			what, _, _ := strings.Cut(name, " ")
			b := hostile(t, func(w http.ResponseWriter, r *http.Request) {
				kind := map[bool]string{true: r.URL.RawQuery, false: map[string]string{"/d/": "listing", "/f": "file"}[r.URL.Path]}[r.Method == http.MethodPost]
				switch {
				case r.Method == http.MethodHead:
				case kind == what, what == "sums" && kind == "sums&tags":
					bomb(w)
				case kind == "listing":
					_, _ = w.Write([]byte(line + "#end 0\n"))
				default:
					w.WriteHeader(http.StatusNotFound)
				}
			}, "d/\t-", "e\t3\tctime=1.5", "f\t3\tctime=1.5")
			b.config.Log = nil
			if what == "sums" { // asked for if size and time are equal
				testtree.Make(t, b.config.Dest, "f = abc @1700000000.000000001", "e = abc @1700000000.000000001")
				b.config.Adopt = true
				m, err := open(b.config)
				require.NoError(t, err)
				defer m.close()
				require.Less(t, memoryOf(func() { _, err = m.source.Sums(context.Background(), []string{"e", "f"}) }), int64(32<<20))
				require.Error(t, err)
				return
			}
			// By this name mirror does not know that it is this machine, so it asks for
			// compressed answers.
			b.config.Source = strings.Replace(b.config.Source, "127.0.0.1", "0.0.0.0", 1)
			var err error
			require.Less(t, memoryOf(func() { err = b.once() }), int64(64<<20))
			require.Error(t, err)
			if name == "listing of comments" {
				require.ErrorContains(t, err, "longer than any that is accepted")
			}
			require.NoFileExists(t, b.path("f"))
			left, _ := os.ReadDir(b.path(".tidemark/tmp"))
			require.Empty(t, left)
		})
	}
}

// With a low --bwlimit there are few streams, because servers end the connections of
// clients that read slowly.
func TestFewStreamsWithALowLimit(t *testing.T) {
	for limit, jobs := range map[int64]int{0: 8, 1: 1, 10 << 10: 1, 200 << 10: 3, 10 << 20: 8} {
		require.Equal(t, jobs, Config{BWLimit: limit}.withDefaults().Jobs, "%d", limit)
	}
}

// Directories of the copy are replaced by symlinks that lead out, and put back, all the
// time. Nothing outside is touched, and when that stops the copy is completed.
func TestSymlinksSwappedInALoop(t *testing.T) {
	var lines []string
	for d := range 10 {
		lines = append(lines, many(fmt.Sprintf("d%d/sub", d), 20)...)
	}
	s, b := overHTTP(t, lines...)
	b.equal(s)
	b.config.Log = nil
	outside := b.canary()
	stop, ended := make(chan struct{}), make(chan struct{})
	var swaps atomic.Int64
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := b.path(fmt.Sprintf("d%d", i%10))
			if i%2 == 0 {
				name = filepath.Join(name, "sub")
			}
			if os.Rename(name, b.config.Dest+".away") != nil {
				continue
			}
			_ = os.Symlink(outside, name)
			swaps.Add(1)
			_ = os.Remove(name)
			_ = os.Rename(b.config.Dest+".away", name)
		}
	}()
	for round := range 8 {
		for d := range 10 {
			s.change(fmt.Sprintf("d%d/sub/%03d = round %d", d, round, round), fmt.Sprintf("d%d/sub/new%d/f = round %d", d, round, round))
			s.remove(fmt.Sprintf("d%d/sub/new%d", d, round-1))
			s.remove(fmt.Sprintf("d%d/sub/%03d", d, 19-round))
		}
		_ = b.once()
	}
	close(stop)
	<-ended
	require.Positive(t, swaps.Load())
	require.NoError(t, os.RemoveAll(b.config.Dest+".away"))
	for d := range 10 {
		s.publish(fmt.Sprintf("d%d/sub", d))
	}
	b.config.MaxDelete = "100000"
	b.equal(s)
}

// A file system that is mounted in the copy does not belong to it: nothing in it is
// changed or deleted, and the directories beside it are mirrored.
func TestMountsInsideTheCopy(t *testing.T) {
	s, b := overHTTP(t, "a/in/f = x", "b/in/f = x", "b/g = x", "c/f = x", "d/f = x")
	b.equal(s)
	for _, at := range []string{"a/in", "b/in", "d"} {
		require.NoError(t, syscall.Mount("tmpfs", b.path(at), "tmpfs", 0, "size=64k"))
		t.Cleanup(func() { _ = syscall.Unmount(b.path(at), syscall.MNT_DETACH) })
		testtree.Make(t, b.path(at), "theirs = precious", "f = theirs, too")
	}
	s.change("a/in/f = changed", "a/in/new = x", "c/f = changed")
	s.remove("b")
	require.NoError(t, os.RemoveAll(s.path("d")))
	s.change("d = a file now")
	err := b.once()
	require.Equal(t, exit.Local, exit.Of(err), "%v", err)
	require.ErrorContains(t, err, "another file system is mounted here")
	for _, at := range []string{"a/in", "b/in", "d"} {
		require.Equal(t, "precious", b.read(at+"/theirs"))
		require.Equal(t, "theirs, too", b.read(at+"/f"))
		require.NoFileExists(t, b.path(at+"/new"))
		require.NoError(t, syscall.Unmount(b.path(at), 0))
	}
	require.Equal(t, "changed", b.read("c/f"))
	b.equal(s)
}

// A file that is mounted over a file of the copy does not belong to it: its bytes, mode,
// times and name do not change, and only this path fails.
func TestMountedFilesInsideTheCopy(t *testing.T) {
	s, b := overHTTP(t, "c/mode = x", "c/bytes = x", "c/gone = x", "dir/f = x")
	b.equal(s)
	theirs := t.TempDir() + "/theirs"
	require.NoError(t, os.WriteFile(theirs, []byte("x"), 0o600))
	like, err := os.Stat(b.path("c/mode"))
	require.NoError(t, err)
	require.NoError(t, os.Chtimes(theirs, like.ModTime(), like.ModTime()))
	before, err := os.Stat(theirs)
	require.NoError(t, err)
	mounted := []string{"c/mode", "c/bytes", "c/gone"}
	for _, name := range mounted {
		require.NoError(t, syscall.Mount(theirs, b.path(name), "", syscall.MS_BIND, ""))
		t.Cleanup(func() { _ = syscall.Unmount(b.path(name), syscall.MNT_DETACH) })
	}
	require.NoError(t, os.Chmod(s.path("c/mode"), 0o755))
	s.publish("c/mode")
	s.change("c/bytes = changed", "dir/f = changed")
	s.remove("c/gone")
	require.Equal(t, exit.Local, exit.Of(b.once()))
	require.Contains(t, b.out.String(), "failed 3,")
	require.Equal(t, "changed", b.read("dir/f"), "others go on")
	after, err := os.Stat(theirs)
	require.NoError(t, err)
	require.Equal(t, before.Mode(), after.Mode())
	require.Equal(t, before.Sys().(*syscall.Stat_t).Ctim, after.Sys().(*syscall.Stat_t).Ctim)
	for _, name := range mounted {
		require.NoError(t, syscall.Unmount(b.path(name), 0))
	}
	b.equal(s)
}

// Whatever goes wrong with any directory, nothing in it or above it is deleted,
// and all others are made equal.
func TestTroubleWithAnyDirectory(t *testing.T) {
	dirs := []string{"", "a", "a/b", "a/b/c", "d", "d/e"}
	s, b := overHTTP(t, "a/b/c/f = x", "d/e/f = x")
	b.config.Log = nil
	for i, dir := range dirs {
		for j, trouble := range []http.HandlerFunc{
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
			func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
			func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte("<html><title>Sign in</title></html>"))
			},
			func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("1.5 ./\t-\n#end 0\n")) }, // of a source without a tree id
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://127.0.0.1:1/")
				w.WriteHeader(http.StatusFound)
			},
		} {
			b.server.interfere(nil)
			version := fmt.Sprintf("%d.%d", i, j)
			for _, dir := range dirs {
				s.change(mtree.JoinPath(dir, "gone")+" = x", mtree.JoinPath(dir, "file")+" = x")
			}
			b.equal(s)
			for _, dir := range dirs {
				require.NoError(t, os.Remove(s.path(mtree.JoinPath(dir, "gone"))))
				s.change(mtree.JoinPath(dir, "file") + " = " + version)
			}
			b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/"+strings.TrimPrefix(dir+"/", "/") || r.Method != http.MethodGet {
					return false
				}
				trouble(w, r)
				return true
			})
			require.Error(t, b.once())
			for _, other := range dirs {
				is := mtree.JoinPath(other, "gone")
				switch {
				case dir == "", other == dir, strings.HasPrefix(dir, other+"/"), other == "", strings.HasPrefix(other, dir+"/"):
					require.FileExists(t, b.path(is), "%q, trouble %d with %q", is, j, dir)
				default:
					require.NoFileExists(t, b.path(is), "%q, trouble %d with %q", is, j, dir)
					require.Equal(t, version, b.read(mtree.JoinPath(other, "file")))
				}
			}
		}
	}
}

// A portal, or a proxy with an error page, answers 200 for files: its page is not taken for
// a file, neither of serve nor of another server.
func TestAPortalBetweenListingAndFiles(t *testing.T) {
	portal := func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/") && r.Method == http.MethodGet {
			return false
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><title>Sign in</title></html>")
		return true
	}
	s, b := overHTTP(t, "a/f = one", "b/large = "+strings.Repeat("x", 2<<20), "c = 1234567890")
	b.equal(s)
	s.change("a/f = changed", "b/large = "+strings.Repeat("y", 2<<20), "new/file = z")
	s.forge("c", "0987654321")
	s.publish("c")
	b.server.interfere(portal)
	require.Error(t, b.once())
	require.Equal(t, "one", b.read("a/f"))
	require.Equal(t, strings.Repeat("x", 2<<20), b.read("b/large"))
	require.NoFileExists(t, b.path("new/file"))
	require.Equal(t, "1234567890", b.read("c"))
	b.server.interfere(nil)
	b.equal(s)

	page := `<html><head><title>Index of /</title></head><body><h1>Index of /</h1><pre><a href="f">f</a> 03-Feb-2024 04:05 3</pre></body></html>`
	other := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if !portal(w, r) {
			_, _ = io.WriteString(w, page)
		}
	}))
	defer other.Close()
	c := newBench(t, other.URL)
	require.Error(t, c.once())
	require.NoFileExists(t, c.path("f"))
}
