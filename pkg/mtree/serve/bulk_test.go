package serve_test

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

// asNobody runs one test of this binary again without root's rights.
func asNobody(t *testing.T, name string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	work := inMemory(t)
	require.NoError(t, os.Chmod(work, 0o777))
	binary, err := os.ReadFile(self)
	require.NoError(t, err)
	copied := work + "/test"
	require.NoError(t, os.WriteFile(copied, binary, 0o755))
	cmd := exec.Command(copied, "-test.run", "^"+name+"$", "-test.v")
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "TMPDIR="+work)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS: "+name)
}

// POST ?tar: a PAX stream of the regular files named, with nanoseconds; what is
// missing, no file, a link or too large is left out.
func TestPostTar(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{
		"d/a b": "one", "d/e/\xff": "two", "d/sub/": "", "d/link": "-> a b", "top": "x",
	})
	require.NoError(t, os.WriteFile(s.path("d/big"), make([]byte, 1<<20+1), 0o644))
	require.NoError(t, os.WriteFile(s.path("d/fits"), make([]byte, 1<<20), 0o600))
	list := "a%20b\nmissing\ne/%FF\nsub\nlink\nbig\nfits\n"
	a := s.do(http.MethodPost, "/d/?tar", strings.NewReader(list))
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	require.Equal(t, "application/x-tar", a.Header.Get("Content-Type"))
	r := tar.NewReader(strings.NewReader(a.body))
	for _, want := range []struct {
		name string
		size int64
		mode int64
	}{{"a b", 3, 0o644}, {"e/\xff", 3, 0o644}, {"fits", 1 << 20, 0o600}} {
		header, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, want.name, header.Name)
		require.Equal(t, want.size, header.Size)
		require.Equal(t, want.mode, header.Mode)
		require.Equal(t, tar.FormatPAX, header.Format)
		require.Equal(t, want.name == "e/\xff", header.PAXRecords["hdrcharset"] == "BINARY")
		var info syscall.Stat_t
		require.NoError(t, syscall.Stat(s.path("d/"+want.name), &info))
		require.Equal(t, time.Unix(info.Mtim.Unix()), header.ModTime.Local())
		require.Equal(t, time.Unix(info.Ctim.Unix()), header.ChangeTime.Local())
	}
	_, err := r.Next()
	require.Equal(t, io.EOF, err)
}

// A list of paths that names anything else refuses itself as a whole, and its
// length is bounded.
func TestPostedPaths(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"d/a": "1", "top": "x"})
	for body, status := range map[string]int{
		"a":                           200,
		"a\n":                         200,
		"":                            200,
		"../top\n":                    400,
		"/etc/passwd\n":               400,
		"a\n..\n":                     400,
		"a//b\n":                      400,
		"a/\n":                        400,
		".tidemark/tree\n":            400,
		"%2e%2e%2ftop\n":              400,
		"%00\n":                       400,
		"%\n":                         400,
		"\n":                          400,
		strings.Repeat("a\n", 200):    200,
		strings.Repeat("a\n", 10_001): 413,
		strings.Repeat("a", 20_000):   413,
	} {
		for _, target := range []string{"/d/?tar", "/d/?sums"} {
			a := s.do(http.MethodPost, target, strings.NewReader(body))
			require.Equal(t, status, a.StatusCode, "%.50q", body)
		}
	}
	require.Equal(t, 404, s.do(http.MethodPost, "/none/?tar", strings.NewReader("a\n")).StatusCode)
	require.Equal(t, 404, s.do(http.MethodPost, "/.tidemark/?tar", strings.NewReader("tree\n")).StatusCode)
}

// GET ?tar: the whole subtree, only with --tar.
func TestGetTar(t *testing.T) {
	files := map[string]string{"d/a": "one", "d/e/b": "two", "d/l": "-> e/b", "d/empty/": "", "d/.hid": "x", "other": "x", "d/\xff": "raw"}
	require.Equal(t, 403, publishWatched(t, serve.Config{}, files).get("/d/?tar").StatusCode)
	s := publishWatched(t, serve.Config{Tar: true}, files)
	require.NoError(t, os.WriteFile(s.path("d/big"), make([]byte, 3<<20), 0o644))
	s.settle()
	a := s.get("/d/?tar")
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	var got []string
	for r := tar.NewReader(strings.NewReader(a.body)); ; {
		header, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		got = append(got, fmt.Sprintf("%c %s %d %s", header.Typeflag, header.Name, header.Size, header.Linkname))
		if header.Typeflag != tar.TypeSymlink {
			require.Equal(t, past, header.ModTime.UTC())
		}
	}
	require.Equal(t, []string{"0 a 3 ", "0 big 3145728 ", "5 e/ 0 ", "0 e/b 3 ", "5 empty/ 0 ", "2 l 0 e/b", "0 \xff 3 "}, got)
}

// GET ?tar of a directory that cannot be read completely: the rest arrives, without an end.
func TestGetTarMisses(t *testing.T) {
	if os.Getuid() == 0 {
		asNobody(t, t.Name())
		return
	}
	s := publishWatched(t, serve.Config{Tar: true}, map[string]string{"a": "1", "b/x": "1", "c/y": "2", "d": "3"})
	for _, name := range []string{"a", "b"} {
		require.NoError(t, os.Chmod(s.path(name), 0))
		t.Cleanup(func() { _ = os.Chmod(s.path(name), 0o755) })
	}
	response, _ := s.slowly("/?tar")
	require.Equal(t, 200, response.StatusCode)
	r := tar.NewReader(response.Body)
	for _, want := range []string{"b/", "c/", "c/y", "d"} {
		header, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, want, header.Name)
	}
	_, err := r.Next()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	response, _ = s.slowly("/b/?tar")
	require.Equal(t, 403, response.StatusCode)
}

// GET ?tar of a small file that changes again and again ended without an end each time that
// a change came while the file was packed, though nothing of it had been sent.
func TestGetTarOfASmallFileThatChanges(t *testing.T) {
	s := publishWatched(t, serve.Config{Tar: true}, map[string]string{"f": strings.Repeat("x", 60000)})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for mode := os.FileMode(0o600); ; mode ^= 0o044 {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond): // longer than it takes to pack it on a busy machine
				_ = os.Chmod(s.path("f"), mode)
			}
		}
	}()
	for range 500 {
		response, _ := s.slowly("/?tar")
		_, err := io.ReadAll(response.Body)
		require.NoError(t, err)
	}
	close(stop)
	<-stopped
}

// Sums: sha256sum(1) reads them, with every name.
func TestSums(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{
		"a": "1", "b c": "2", "back\\slash": "3", "line\nend": "4", "\xff": "5", "d/x": "6", "l": "-> a", "cr\r": "7",
	})
	a := s.get("/?sums")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, 6, strings.Count(a.body, "\n"))
	check := exec.Command("sha256sum", "--strict", "-c")
	check.Dir, check.Stdin = s.root, strings.NewReader(a.body)
	out, err := check.CombinedOutput()
	require.NoError(t, err, string(out))
	posted := s.do(http.MethodPost, "/?sums", strings.NewReader("d/x\nnone\nl\nd\na\n"))
	require.Equal(t, "e7f6c011776e8db7cd330b54174fd76f7d0216b612387a5ffcfb81e6f0919683  d/x\n"+
		"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b  a\n", posted.body)
	require.Equal(t, "no-store", posted.Header.Get("Cache-Control"))
}

// A sum did not say which file it is of, and its path may have been another file's: with
// &tags it does, in a comment that sha256sum(1) passes over.
func TestSumsWithTags(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1", "b": "2"})
	a := s.get("/?sums&tags")
	require.Equal(t, 200, a.StatusCode)
	lines := strings.Split(a.body, "\n")
	require.Len(t, lines, 5)
	require.Equal(t, "# "+s.get("/a").Header.Get("ETag"), lines[0])
	require.Equal(t, "# "+s.get("/b").Header.Get("ETag"), lines[2])
	require.Equal(t, s.get("/?sums").body, lines[1]+"\n"+lines[3]+"\n")
	check := exec.Command("sha256sum", "--strict", "-c")
	check.Dir, check.Stdin = s.root, strings.NewReader(a.body)
	out, err := check.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, a.body, s.do(http.MethodPost, "/?sums&tags", strings.NewReader("a\nb\n")).body)
}

// Work that a client can ask for without bound is bounded. A request beyond that waits, and
// gets the place of one that waits for its client: sixteen slow readers locked out all
// others of their address, for as long as they liked.
func TestBulkIsBounded(t *testing.T) {
	s := publishWatched(t, serve.Config{Root: inMemory(t), Tar: true}, nil)
	require.NoError(t, os.WriteFile(s.path("big"), make([]byte, 64<<20), 0o644))
	for range 16 {
		response, _ := s.slowly("/?tar")
		require.Equal(t, 200, response.StatusCode)
	}
	require.Equal(t, 200, s.get("/?txt").StatusCode, "listings go on")
	require.Equal(t, 200, s.get("/?sums").StatusCode)
}

// /?status: JSON, no paths.
func TestStatus(t *testing.T) {
	s := publishWatched(t, serve.Config{Version: "1.2.3"}, map[string]string{"a": "1"})
	a := s.get("/?status")
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &got))
	require.Equal(t, "1.2.3", got["version"])
	require.Equal(t, treeID, got["tree"])
	require.Equal(t, 7.0, got["epoch"])
	require.Equal(t, "watched", got["state"])
	require.Equal(t, mtree.FromTime(past).String(), got["root"])
	require.Regexp(t, `^\d+\.\d{9}$`, got["checkpoint"])
	require.NotContains(t, got, "upstream")
	require.NotContains(t, a.body, s.root)
}

// For a copy /?status names the host it was made from, and how old the copy is.
func TestStatusOfCopy(t *testing.T) {
	root := t.TempDir()
	watched(t, root, wire.Mirrored)
	s := &site{T: t, root: root, cfg: serve.Config{Root: root}}
	s.alterTree(func(tree *state.Tree) { tree.Upstream = "https://user:word@up.example:8077/private/dir/" })
	s.start()
	body := s.get("/?status").body
	require.Contains(t, body, `"host": "up.example:8077"`)
	require.Contains(t, body, `"lag": `)
	for _, secret := range []string{"user", "word", "private"} {
		require.NotContains(t, body, secret)
	}
}

// ?recent=N: the newest files at or below, newest first, in every format, and
// only as many directories are read as that takes.
func TestRecent(t *testing.T) {
	files := map[string]string{}
	for d := range 20 {
		for f := range 5 {
			files[fmt.Sprintf("d%02d/e/f%d", d, f)] = ""
		}
	}
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, files)
	base := mtree.FromTime(past)
	for i, name := range []string{"d03/e/f1", "d17/e/f2", "d03/e/f4"} { // oldest first
		stamp := base.Add(time.Duration(i+1) * time.Hour)
		s.stamp(name, stamp)
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			s.stamp(dir, stamp)
		}
		s.stamp("", stamp)
	}
	a := s.get("/?txt&recent=3")
	require.Equal(t, 200, a.StatusCode)
	var got []string
	for line := range strings.Lines(a.body) {
		got = append(got, strings.Fields(line)[1])
	}
	require.Equal(t, []string{"d03/e/f4", "d17/e/f2", "d03/e/f1", "3"}, got)
	require.LessOrEqual(t, s.cfg.Stats.Listings.Load(), int64(0), "counted as a search, not as listings")
	require.Contains(t, s.get("/?html&recent=2").body, `<a href="d17/e/f2">d17/e/f2</a>`)
	require.Contains(t, s.get("/?json&recent=2").body, `"href":"d17/e/f2"`)
	require.Contains(t, s.get("/d03/?txt&recent=1").body, " e/f4\t")
	s.stamp("d09/e/f0", base.Add(10*time.Hour)) // was ahead when its directory got its stamp
	for _, n := range []string{"1", "100"} {
		require.Regexp(t, `^\S+ d03/e/f4\t`, s.get("/?txt&recent="+n).body, n)
	}
	require.NoError(t, os.Chtimes(s.path("d05/e/f0"), time.Now().Add(time.Hour), time.Now().Add(time.Hour)))
	now := machine.Now()
	for _, dir := range []string{"d05/e", "d05", ""} {
		s.stamp(dir, now)
	}
	require.Contains(t, s.get("/?txt&recent=1").body, " d05/e/f0\t", "dated ahead of the clock, found by when that was done")
	now = machine.Now()
	require.NoError(t, os.Chtimes(s.path("d06/e/f0"), now.Time(), now.Time()))
	for _, dir := range []string{"d06/e", "d06", ""} {
		s.stamp(dir, now)
	}
	require.Regexp(t, `(?s) d06/e/f0\t.* d05/e/f0\t`, s.get("/?txt&recent=2").body, "what was written later is newer")
	for _, bad := range []string{"0", "-1", "x", "1001", ""} {
		require.Equal(t, 400, s.get("/?txt&recent="+bad).StatusCode, bad)
	}
	require.Equal(t, 409, publish(t, serve.Config{}, nil).get("/?txt&recent=1").StatusCode)
}
