package mirror

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/fastpath/fastpathtest"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// canary makes a directory beside the copy, and requires at the end of the test that
// nothing in it changed.
func (b *bench) canary() string {
	b.t.Helper()
	outside := filepath.Join(filepath.Dir(b.config.Dest), "outside")
	testtree.Make(b.t, outside, "f = canary", "sub/f = canary")
	before, err := testtree.Snapshot(outside)
	require.NoError(b.t, err)
	b.t.Cleanup(func() {
		after, err := testtree.Snapshot(outside)
		require.NoError(b.t, err)
		require.Equal(b.t, before, after, "something outside the copy was changed")
	})
	return outside
}

func TestSymlinksPlantedInTheCopy(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "d/sub/f = y", "gone/f = z", "g = file")
	b.equal(s)
	outside := b.canary()
	for _, name := range []string{"a", "d/sub", "gone", "g"} {
		require.NoError(t, os.RemoveAll(b.path(name)))
		require.NoError(t, os.Symlink(outside, b.path(name)))
	}
	s.change("a/f = changed", "d/sub/f = changed", "g = changed")
	s.remove("gone")
	b.equal(s)
	b.requireIdle()
}

// A directory that becomes a symlink between its visit and its fetches.
func TestASymlinkSwappedInDuringAPass(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "b = y")
	outside := b.canary()
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/a/f" {
			_ = os.Rename(b.path("a"), b.path("moved"))
			_ = os.Symlink(outside, b.path("a"))
		}
		return false
	})
	_ = b.once()
	b.server.interfere(nil)
	s.publish("a/f")
	b.equal(s)
}

// The same one level up: the symlink is within the path, not at its end. It is
// relative, because an absolute one may be refused for leaving the file system.
func TestASymlinkSwappedInAboveDuringAPass(t *testing.T) {
	s, b := overHTTP(t, "a/sub/f = x", "b = y")
	outside := b.canary() // it has a sub/f, too
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/a/sub/f" {
			_ = os.Rename(b.path("a"), b.path("moved"))
			_ = os.Symlink("../"+filepath.Base(outside), b.path("a"))
		}
		return false
	})
	require.Error(t, b.once())
	b.server.interfere(nil)
	s.publish("a/sub/f")
	b.equal(s)
}

// hostile serves a listing of these lines for the root; below answers everything else.
func hostile(t *testing.T, below http.HandlerFunc, lines ...string) *bench {
	now := "1700000000.000000001"
	b := newBench(t, "")
	server := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Tidemark-State", "watched")
		h.Set("Tidemark-Tree", "00112233445566778899aabbccddeeff")
		h.Set("Tidemark-Epoch", "1")
		if r.URL.Path == "/" && r.Method == http.MethodGet {
			body := now + " ./\t-\n"
			for _, line := range lines {
				if !strings.Contains(line, "\x20") {
					line = now + " " + line
				}
				body += line + "\n"
			}
			_, _ = w.Write([]byte(body + "#end " + strconv.Itoa(len(lines)) + "\n"))
			return
		}
		below(w, r)
	}))
	t.Cleanup(server.Close)
	b.config.Source = server.URL
	b.canary()
	return b
}

// One name that could lead out makes the whole listing invalid.
func TestHostileNames(t *testing.T) {
	for _, line := range []string{
		"../\t-", "..\t1", "./\t-", "..%2foutside\t1", "%2e%2e/\t-", "a%2fb\t1", "a/b\t1", "%00\t1", "a%00b\t1", "/etc\t1",
		".tidemark/\t-", "%2etidemark/\t-", strings.Repeat("a", 256) + "\t1", "f\t9223372036854775808", "f\t-1",
	} {
		b := hostile(t, http.NotFound, line)
		require.Equal(t, exit.Unreachable, exit.Of(b.once()), "%q", line)
		_, err := os.Lstat(b.config.Dest)
		require.ErrorIs(t, err, fs.ErrNotExist, "%q", line)
		require.NoError(t, os.Mkdir(b.config.Dest, 0o755))
		require.Equal(t, exit.Unreachable, exit.Of(b.once()), "%q", line)
		names, err := os.ReadDir(b.config.Dest)
		require.NoError(t, err)
		require.Len(t, names, 1, "only the marker: %q", line)
	}
	for _, twice := range [][]string{{"f\t1", "f\t1"}, {"f\t1", "f/\t-"}, {"f\t-\tlink=x", "f/\t-"}} {
		require.Equal(t, exit.Unreachable, exit.Of(hostile(t, http.NotFound, twice...).once()), "%q", twice)
	}
}

// A Tidemark-Tree that is no tree id was recorded, and then refused at each start: the copy
// was of no use any more, and --adopt did not help.
func TestATreeIDThatIsNone(t *testing.T) {
	for _, id := range []string{"x", "00112233445566778899aabbccddee", "00112233445566778899aabbccddeefg", "\u009b31m"} {
		s, b := overHTTP(t, "f = x")
		b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Tidemark-Tree", id)
			_, _ = w.Write([]byte("1700000000.000000001 ./\t-\n#end 0\n"))
			return true
		})
		require.Equal(t, exit.Unreachable, exit.Of(b.once()), "%q", id)
		b.server.interfere(nil)
		b.equal(s)
	}
}

// Symlinks that could lead out are not made.
func TestUnsafeSymlinks(t *testing.T) {
	b := hostile(t, http.NotFound, "evil\t-\tlink=../outside", "far\t-\tlink=/etc", "good\t-\tlink=evil")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "skipped 2")
	_, err := os.Lstat(b.path("evil"))
	require.ErrorIs(t, err, os.ErrNotExist)
	target, err := os.Readlink(b.path("good"))
	require.NoError(t, err)
	require.Equal(t, "evil", target)
}

// Redirections are not followed: no other address is asked.
func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := 0
	other := fastpathtest.NewServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer other.Close()
	b := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
	}, "d/\t-", "f\t3\tctime=1.5", "g\t3")
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	require.Contains(t, b.out.String(), "failed 3")
	require.Zero(t, asked)
}

// Bodies longer or shorter than listed never get the name.
func TestLyingLengths(t *testing.T) {
	for _, body := range []string{"", "ab", "abcd", strings.Repeat("x", 1<<20)} {
		b := hostile(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("ETag", `"1700000000.000000001-3-1.500000000"`)
			if r.URL.Path == "/chunked" {
				_ = http.NewResponseController(w).Flush()
			}
			_, _ = w.Write([]byte(body))
		}, "chunked\t3\tctime=1.5", "plain\t3\tctime=1.5")
		require.Equal(t, exit.Failed, exit.Of(b.once()), "%q", body)
		require.NoFileExists(t, b.path("chunked"))
		require.NoFileExists(t, b.path("plain"))
	}
}

// From a tar stream only what was asked for is taken, as it was listed.
func TestHostileTar(t *testing.T) {
	stamp := time.Unix(1700000000, 1)
	b := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		var out bytes.Buffer
		archive := tar.NewWriter(&out)
		for _, h := range []tar.Header{
			{Name: "../outside/f", Typeflag: tar.TypeReg, Size: 3},
			{Name: "/f", Typeflag: tar.TypeReg, Size: 3},
			{Name: "f/g", Typeflag: tar.TypeReg, Size: 3},
			{Name: "g", Typeflag: tar.TypeReg, Size: 3, ModTime: stamp.Add(1)},
			{Name: "f", Typeflag: tar.TypeReg, Size: 3, ModTime: stamp},
			{Name: "f", Typeflag: tar.TypeReg, Size: 3, ModTime: stamp},
			{Name: "g", Typeflag: tar.TypeSymlink, Linkname: "../outside"},
			{Name: "g", Typeflag: tar.TypeReg, Size: 3, ModTime: stamp},
		} {
			if h.ModTime.IsZero() {
				h.ModTime = stamp
			}
			h.Format, h.ChangeTime, h.Mode = tar.FormatPAX, time.Unix(1, 5e8), 0o4777
			require.NoError(t, archive.WriteHeader(&h))
			if h.Typeflag == tar.TypeReg {
				_, _ = archive.Write([]byte("abc"))
			}
		}
		_, _ = w.Write(out.Bytes())
	}, "f\t3\tmode=0644\tctime=1.5", "g\t3\tctime=1.5")
	require.Error(t, b.once())
	require.Equal(t, "abc", b.read("f"))
	info, err := os.Stat(b.path("f"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode())
	require.NoFileExists(t, b.path("g"))
}

// A tree that never ends is copied down to the longest possible path, and then complete.
func TestEndlessDepth(t *testing.T) {
	name := strings.Repeat("d", 250)
	b := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("1700000000.000000001 ./\t-\n1700000000.000000001 " + name + "/\t-\n#end 1\n"))
	}, name+"/\t-")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "skipped 1, failed 0")
	b.config.DryRun = true
	require.NoError(t, b.once())
}

// One directory whose path is too long stopped all above it from completing: every pass
// ended with 1 and listed them again, and nothing in them was deleted.
func TestDirectoriesThatAreTooDeep(t *testing.T) {
	name := strings.Repeat("d", 250)
	deep := strings.Repeat(name+"/", plan.MaxPath/251)
	room := plan.MaxPath - len(deep)
	s := watched(t, "a/gone = 1", deep+"f = one", deep+"gone = 2", deep+strings.Repeat("x", room)+"/f = fits", deep+"changes = file")
	s.tooDeep(deep + strings.Repeat("y", room+1))
	b := newBench(t, s.root)
	require.NoError(t, b.once(), "a local source")
	require.Contains(t, b.out.String(), "skipped 1, failed 0")
	require.Equal(t, "fits", b.read(deep+strings.Repeat("x", room)+"/f"))
	require.NoDirExists(t, b.path(deep+strings.Repeat("y", room+1)))
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "listed 0 directories")

	// A change below it does not matter; a deletion beside it does.
	b.config.MaxDelete = "100%"
	s.remove(deep + "gone")
	s.remove("a/gone")
	s.remove(deep + "changes")
	s.tooDeep(deep + "changes" + strings.Repeat("z", room-6))
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "deleted 3, held 0, skipped 2, failed 0")
	require.Equal(t, int64(2), mustUncopied(t, b).Total())

	// A directory of the copy under that name stays, whatever is in it; a file does not.
	stays := b.path(deep + strings.Repeat("y", room+1))
	require.NoError(t, os.Mkdir(stays, 0o755))
	require.NoError(t, os.WriteFile(stays+"/mine", nil, 0o644))
	require.NoError(t, os.WriteFile(b.path(deep+"changes"+strings.Repeat("z", room-6)), nil, 0o644))
	b.config.Filters = []string{"- nothing"}
	require.NoError(t, b.once(), "a full walk")
	require.Contains(t, b.out.String(), "deleted 1, held 0, skipped 2, failed 0")
	require.DirExists(t, stays)
	require.FileExists(t, stays+"/mine")
	require.NoError(t, Verify(t.Context(), b.config, false))
}

// tooDeep makes a directory with a file in it, with a path that is too long to be copied,
// and publishes it.
func (s *tree) tooDeep(path string) {
	require.NoError(s.t, os.Mkdir(s.path(path), 0o755))
	s.publish(path)
}

func mustUncopied(t *testing.T, b *bench) replica.Uncopied {
	l, err := replica.LookAt(b.config.Dest, "")
	require.NoError(t, err)
	defer l.Close()
	u, err := l.Uncopied()
	require.NoError(t, err)
	return u
}

// Dates that the file system cannot store are stored as closely as possible, and mirror
// knows that.
func TestDatesBeyondTheFileSystem(t *testing.T) {
	far := "253402300799.999999999"
	b := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+far+`-1-1.500000000"`)
		_, _ = w.Write([]byte("x"))
	}, far+" f\t1\tctime=1.5")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "fetched 1 files")
	b.config.Filters = []string{"- nothing"}
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "listed 1 directories, fetched 0 files")
}
