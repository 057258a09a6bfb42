package mirror

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/serve"
)

// requireHeld runs Once and requires that deletions were held and nothing was deleted.
func (b *bench) requireHeld(n int, why string) {
	b.t.Helper()
	err := b.once()
	require.Equal(b.t, exit.Held, exit.Of(err), "%v", err)
	require.ErrorContains(b.t, err, why)
	require.Contains(b.t, b.out.String(), fmt.Sprintf("deleted 0, held %d,", n))
}

func many(dir string, n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("%s/%03d = %d", dir, i, i))
	}
	return lines
}

func TestMaxDeleteHoldsAndReleases(t *testing.T) {
	s, b := overHTTP(t, append(many("a", 90), many("b/c", 40)...)...)
	b.equal(s)
	s.remove("a")
	b.requireHeld(91, "91 of 133 entries would go, --max-delete is 50%")
	require.Equal(t, "7", b.read("a/007"))
	status := b.printStatus()
	require.Contains(t, status, "held: 91\n")
	require.Contains(t, status, `directory "a", 91 entries`)
	b.requireHeld(91, "--max-delete")
	require.NoError(t, b.release())
	require.NoDirExists(t, b.path("a"))
	require.Contains(t, b.printStatus(), "held: 0\n")
	b.equal(s)
	b.requireIdle()
}

func (b *bench) printStatus() string {
	b.t.Helper()
	var out bytes.Buffer
	require.NoError(b.t, PrintStatus(&out, b.config.Dest, ""))
	return out.String()
}

func (b *bench) release() error {
	b.out.Reset()
	b.config.Out = &b.out
	return Release(context.Background(), Config{Dest: b.config.Dest, Out: &b.out, Log: b.config.Log})
}

// releaseAtItsEnd gives a release while a mirror keeps the copy, and ends that mirror.
func releaseAtItsEnd(t *testing.T, grace time.Duration) (b *bench, released <-chan error) {
	s, b := overHTTP(t, "a/f = x", "a/g = x", "h = x")
	b.config.MaxDelete = "1"
	b.equal(s)
	s.remove("a")
	require.Equal(t, exit.Held, exit.Of(b.once()))
	r, err := replica.Open((&b.config).replicaOptions())
	require.NoError(t, err)
	done := make(chan error, 1)
	config := Config{Dest: b.config.Dest, Out: io.Discard, Log: b.config.Log, restartGrace: grace}
	go func() { done <- Release(context.Background(), config) }()
	require.True(t, assertEventually(func() bool { _, err := os.Stat(b.path(".tidemark/release")); return err == nil }))
	r.Close()
	return b, done
}

// A mirror that is started again finds the lock free: a release that took it meanwhile made that mirror
// end with 4, for good.
func TestAReleaseLeavesTheLockToAMirrorThatIsStartedAgain(t *testing.T) {
	b, released := releaseAtItsEnd(t, 0)
	<-time.After(20 * waitLook)
	require.FileExists(t, b.path(".tidemark/release"))
	require.FileExists(t, b.path("a/f"))
	b.start()
	require.NoError(t, <-released)
	require.NoDirExists(t, b.path("a"))
}

// If none is started, the release is carried out without a mirror.
func TestAReleaseWithoutAMirrorInTheEnd(t *testing.T) {
	b, released := releaseAtItsEnd(t, time.Millisecond)
	require.NoError(t, <-released)
	require.NoDirExists(t, b.path("a"))
	require.NoFileExists(t, b.path(".tidemark/release"))
}

// Whether a mirror keeps the copy could not be found out, since its disk failed, and the release
// waited for ever.
func TestAReleaseOnADiskThatFails(t *testing.T) {
	k := faultkernel.New(t, 0)
	require.NoError(t, k.Shell.Mkdir("/copy", 0o755))
	config := Config{Dest: "/copy", Out: io.Discard, restartGrace: time.Millisecond}.withDefaults()
	r, err := replica.Open(config.replicaOptions())
	require.NoError(t, err)
	t.Cleanup(r.Close)
	tree := state.Tree{ID: state.NewTreeID(), Role: state.Copy}
	tree.Bind(r.Self)
	require.NoError(t, r.SetTree(tree))
	require.NoError(t, r.SetHeld(&replica.HeldList{Entries: []replica.Deletion{{Path: "f", Kind: mtree.File, Entries: 1, Why: "a reason"}}}))
	given := false
	k.Fail = func(call string) error {
		given = given || call == "write .release.new"
		if given && call == "open lock" {
			return unix.EIO
		}
		return nil
	}
	err = Release(t.Context(), config)
	require.True(t, given)
	require.Equal(t, exit.Local, exit.Of(err))
	require.ErrorIs(t, err, unix.EIO)
	_, err = k.Shell.Read("/copy/.tidemark/release")
	require.ErrorIs(t, err, unix.ENOENT, "nobody waits for it")
}

func TestMaxDeleteAsANumber(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "a/g = x", "h = x")
	b.config.MaxDelete = "1"
	b.equal(s)
	s.remove("a/f")
	b.equal(s)
	s.remove("a")
	b.requireHeld(2, "--max-delete is 1")
	b.config.MaxDelete = "2"
	b.requireHeld(2, "1 went in the last ten minutes, --max-delete is 2")
	b.config.MaxDelete = "3"
	b.equal(s)
}

// Held deletions are carried out when their cause is gone, without help.
func TestHeldDeletionsEndWithTheirCause(t *testing.T) {
	s, b := overHTTP(t, many("a", 150)...)
	b.equal(s)
	require.NoError(t, os.Rename(s.path("a"), s.path(".away")))
	testtree.Make(t, s.root, "z/f = new")
	s.publish("a")
	b.server.alter("/?txt", func(body string) string { // as if the tree had no dotfiles
		var kept []string
		for line := range strings.Lines(body) {
			if !strings.Contains(line, ".away") {
				kept = append(kept, line)
			}
		}
		return strings.Replace(strings.Join(kept, ""), "#end 2", "#end 1", 1)
	})
	b.requireHeld(151, "--max-delete")
	b.server.interfere(nil)
	require.NoError(t, os.Rename(s.path(".away"), s.path("a")))
	s.publish("a")
	b.equal(s)
	require.Contains(t, b.out.String(), "fetched 0 files (0 bytes), deleted 0, held 0")
	require.Contains(t, b.printStatus(), "held: 0\n")
}

// A release deletes exactly what was held: entries that changed since then stay.
func TestReleaseSparesWhatChanged(t *testing.T) {
	s, b := overHTTP(t, append(many("a", 90), many("b/c", 40)...)...)
	b.equal(s)
	s.remove("a")
	s.remove("b/c/001")
	b.requireHeld(92, "--max-delete")
	testtree.Make(t, b.config.Dest, "a/mine = somebody needs this")
	require.NoError(t, b.release())
	require.FileExists(t, b.path("a/mine"))
	require.NoFileExists(t, b.path("b/c/001"))
}

// A running mirror carries out a release itself.
func TestReleaseWithARunningMirror(t *testing.T) {
	s, b := overHTTP(t, append(many("a", 90), many("b/c", 40)...)...)
	b.equal(s)
	s.remove("a")
	b.start()
	require.True(t, assertEventually(func() bool { return strings.Contains(b.printStatus(), "held: 91\n") }))
	require.NoError(t, b.release())
	require.NoDirExists(t, b.path("a"))
	b.eventually(s)
}

func TestAnEmptyRootDeletesNothing(t *testing.T) {
	s, b := overHTTP(t, "a = x", "b = y")
	b.equal(s)
	require.NoError(t, os.Remove(s.path("a")))
	s.remove("b")
	b.requireHeld(2, "the source's root is empty")
	require.Equal(t, "x", b.read("a"))
}

func TestAFillingSourceDeletesNothing(t *testing.T) {
	s, b := overHTTP(t, "a = x", "b/c = y")
	b.equal(s)
	s.remove("b/c")
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		b.server.handler.ServeHTTP(headerEdit{w, func(h http.Header) { h.Set("Tidemark-State", "filling") }}, r)
		return true
	})
	b.requireHeld(1, "not complete yet")
	b.server.interfere(nil)
	b.equal(s)
}

// headerEdit changes the header of an answer before it is sent.
type headerEdit struct {
	http.ResponseWriter
	edit func(http.Header)
}

func (e headerEdit) WriteHeader(status int) {
	e.edit(e.Header())
	e.ResponseWriter.WriteHeader(status)
}

func (e headerEdit) Write(p []byte) (int, error) {
	e.edit(e.Header())
	return e.ResponseWriter.Write(p)
}

func TestALostTreeIDDeletesNothing(t *testing.T) {
	s, b := overHTTP(t, "a = x", "b = y")
	b.equal(s)
	s.remove("a")
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		b.server.handler.ServeHTTP(headerEdit{w, func(h http.Header) {
			h.Del("Tidemark-Tree")
			h.Del("Tidemark-Epoch")
		}}, r)
		return true
	})
	b.requireHeld(1, "lost its tree id")
}

func TestAnotherTreeIsRefused(t *testing.T) {
	s, b := overHTTP(t, "a = x")
	b.equal(s)
	other := watched(t, "b = y")
	b.config.Source = serveTree(t, other.root).URL
	err := b.once()
	require.Equal(t, exit.Refused, exit.Of(err), "%v", err)
	b.same(s)
	b.config.Adopt = true
	b.equal(other)
}

// Without ids, the address binds a copy to its source.
func TestAnotherSourceWithoutAnIDIsRefused(t *testing.T) {
	s, other := newTree(t, "a = x"), newTree(t, "b = y")
	b := newBench(t, s.root)
	b.equal(s)
	b.config.Source = other.root
	err := b.once()
	require.Equal(t, exit.Refused, exit.Of(err), "%v", err)
	b.same(s)
	b.config.Adopt = true
	b.equal(other)
}

func TestNoDeleteKeepsExtras(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "b = y", "c/d/e = z")
	b.config.NoDelete = true
	b.equal(s)
	s.remove("a/f")
	s.remove("c/d")
	s.change("n = new")
	require.NoError(t, b.once())
	require.Equal(t, "x", b.read("a/f"))
	require.Equal(t, "z", b.read("c/d/e"))
	b.requireIdle()
	s.change("c/d = a file")
	require.Equal(t, exit.Local, exit.Of(b.once()))
	require.Equal(t, "z", b.read("c/d/e"))
}

// A listing of the root that is cut anywhere, or an answer that is no listing, leaves the copy
// as it is.
func TestATruncatedListingDeletesNothing(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "b = y", "c/d = z")
	b.equal(s)
	s.remove("b")
	b.config.Log = nil
	var whole string
	b.server.alter("/?txt", func(body string) string { whole = body; return "" })
	require.Equal(t, exit.Unreachable, exit.Of(b.once()))
	for cut := range len(whole) {
		b.server.alter("/?txt", func(body string) string { return body[:cut] })
		require.Equal(t, exit.Unreachable, exit.Of(Once(context.Background(), b.config)), "cut at %d", cut)
	}
	require.Equal(t, "y", b.read("b"))
	for _, page := range []string{
		"<html><body>Please log in to the wireless network</body></html>",
		"502 Bad Gateway\n", "[]", "{}", "\x1f\x8b\x08", strings.Repeat("a", 1<<20),
	} {
		b.server.answer("/?txt", http.StatusOK, page)
		require.Equal(t, exit.Unreachable, exit.Of(b.once()), "%.30q", page)
	}
	for _, status := range []int{301, 302, 401, 403, 404, 410, 500, 502, 503, 504} {
		b.server.answer("/?txt", status, "")
		require.Equal(t, exit.Unreachable, exit.Of(b.once()), "%d", status)
	}
	require.Equal(t, "y", b.read("b"))
	b.server.interfere(nil)
	b.equal(s)
}

// The same below the root: nothing in that directory changes.
func TestATruncatedListingBelowDeletesNothing(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "a/g = y", "c/d = z")
	b.equal(s)
	s.remove("a/f")
	for _, page := range []string{"", "<html>", "1.5 ./\t-\n", "1.5 ./\t-\n#end 1\n", "1.5 ./\t-\n1.5 ../\t-\n#end 1\n"} {
		b.server.answer("/a/?txt", http.StatusOK, page)
		require.Equal(t, exit.Failed, exit.Of(b.once()), "%q", page)
		require.Equal(t, "x", b.read("a/f"))
	}
	b.server.interfere(nil)
	b.equal(s)
}

// Entries that the source says it hides are not taken for deleted.
func TestHiddenIsNotDeleted(t *testing.T) {
	s, b := overHTTP(t, ".config = x", "a = y")
	b.equal(s)
	b.server.alter("/?txt", func(body string) string {
		body = strings.Replace(body, "\tid=", "\thidden=1\tid=", 1)
		body = strings.Replace(body, "#end 2", "#end 1", 1)
		start := strings.Index(body, "\n") + 1
		return body[:start] + body[start+strings.Index(body[start:], "\n")+1:]
	})
	s.publish("a")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "deleted 0")
	require.Equal(t, "x", b.read(".config"))
}

// A copy inside the tree that serve publishes would copy itself again and again.
func TestACopyInsideItsSourceIsRefused(t *testing.T) {
	s, b := overHTTP(t, "a/f = x")
	b.config.Dest = s.path("a/copy")
	err := b.once()
	require.Equal(t, exit.Refused, exit.Of(err), "%v", err)
	var with *exit.Error
	require.ErrorAs(t, err, &with)
	require.NotEmpty(t, with.Remedy)
	require.NoDirExists(t, s.path("a/copy/a"))
}

// The error of a source that needs a token says so.
func TestRemedyForAMissingToken(t *testing.T) {
	_, b := overHTTP(t, "a = x")
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		b.server.interfere(func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			return true
		})
		var with *exit.Error
		err := b.once()
		require.ErrorAs(t, err, &with)
		require.Equal(t, exit.Unreachable, with.Code)
		require.Contains(t, with.Remedy, "--token-file")
	}
}

func TestDestinationsThatAreRefused(t *testing.T) {
	s := watched(t, "a = x")
	refuse := func(name string, code exit.Code, prepare func(dest string, c *Config)) {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, s.root)
			require.NoError(t, os.Mkdir(b.config.Dest, 0o755))
			prepare(b.config.Dest, &b.config)
			before, err := testtree.Snapshot(b.config.Dest)
			require.NoError(t, err)
			err = b.once()
			require.Equal(t, code, exit.Of(err), "%v", err)
			var with *exit.Error
			require.ErrorAs(t, err, &with)
			require.NotEmpty(t, with.Remedy)
			after, err := testtree.Snapshot(b.config.Dest)
			require.NoError(t, err)
			require.Equal(t, before, after)
		})
	}
	refuse("not empty", exit.Refused, func(dest string, _ *Config) { testtree.Make(t, dest, "mine = x") })
	refuse("a watched source", exit.Refused, func(_ string, c *Config) { c.Dest = watched(t, "mine = x").root })
	refuse("a source nobody watches now", exit.Refused, func(_ string, c *Config) {
		c.Adopt = true
		other := watched(t, "mine = x")
		require.NoError(t, other.lock.Unlock())
		c.Dest = other.root
	})
	refuse("a copy of the copy", exit.Refused, func(dest string, c *Config) {
		require.NoError(t, Once(context.Background(), *c))
		c.Dest += ".restored"
		require.NoError(t, exec.Command("cp", "-a", dest, c.Dest).Run())
	})
	refuse("a newer format", exit.Refused, func(dest string, _ *Config) {
		testtree.Make(t, dest, `.tidemark/tree = {"format":99}`)
	})
	refuse("nonsense in tree", exit.Refused, func(dest string, _ *Config) { testtree.Make(t, dest, `.tidemark/tree = nonsense`) })
	refuse("another directory", exit.Refused, func(dest string, _ *Config) {
		testtree.Make(t, dest, `.tidemark/tree = {"format":1,"id":"00112233445566778899aabbccddeeff","role":"mirror","inode":1}`)
	})
	refuse("within the source", exit.Usage, func(_ string, c *Config) { c.Dest = filepath.Join(s.root, "copy") })
	refuse("around the source", exit.Usage, func(_ string, c *Config) { c.Dest = filepath.Dir(s.root) })
	refuse("no parent", exit.Local, func(_ string, c *Config) { c.Dest += "/a/b/c" })
}

// Another mirror ran between the first look at a directory and its lock, and made the
// directory its own copy.
func TestTheSecondLookAtADestination(t *testing.T) {
	s, other := watched(t, "a = x"), watched(t, "b = y")
	b := newBench(t, s.root)
	b.config.meanwhile = func() {
		first := b.config
		first.Source, first.meanwhile = other.root, nil
		require.NoError(t, Once(context.Background(), first))
	}
	err := b.once()
	require.Equal(t, exit.Refused, exit.Of(err), "%v", err)
	b.same(other)
}

func TestOneMirrorPerDestination(t *testing.T) {
	s := watched(t, "a = x")
	b := newBench(t, s.root)
	b.start()
	require.Equal(t, exit.Refused, exit.Of(b.once()))
}

// A copy that rsync made is taken over without fetching the files that are equal.
func TestAdopt(t *testing.T) {
	s, b := overHTTP(t, "a/f = same @1000000000", "a/g = other @1000000000", "b = new")
	testtree.Make(t, filepath.Dir(b.config.Dest), "copy/a/f = same @1000000000", "copy/a/g = old @1000000000", "copy/extra/x = y")
	require.Equal(t, exit.Refused, exit.Of(b.once()))
	b.config.Adopt = true
	b.equal(s)
	require.Contains(t, b.out.String(), "fetched 2 files (8 bytes), deleted 2,")
	b.requireIdle()
}

// mkfs makes lost+found: a destination with nothing else counts as empty, and lost+found is
// not deleted.
func TestLostAndFoundIsNobodys(t *testing.T) {
	s, b := overHTTP(t, "a = x")
	testtree.Make(t, filepath.Dir(b.config.Dest), "copy/lost+found/")
	require.NoError(t, b.once())
	require.DirExists(t, b.path("lost+found"))
	require.Equal(t, "x", b.read("a"))
	_ = s
}

// With other filters nothing counts as complete: everything is compared.
func TestAnotherSelectionComparesEverything(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "a/g.tmp = y", "cache/h = z", "l -> a")
	b.config.Filters = []string{"+ keep.tmp", "- *.tmp", "- /cache/"}
	b.config.NoLinks = true
	require.NoError(t, b.once())
	b.requireIdle()
	require.NoFileExists(t, b.path("a/g.tmp"))
	require.NoDirExists(t, b.path("cache"))
	testtree.Make(t, b.config.Dest, "cache/mine = excluded, so it stays")
	s.change("a/keep.tmp = y")
	require.NoError(t, b.once())
	require.Equal(t, "y", b.read("a/keep.tmp"))
	require.FileExists(t, b.path("cache/mine"))
	b.config.Filters, b.config.NoLinks = nil, false
	b.equal(s)
	b.requireIdle()

	b.config.NoDelete = true
	require.NoError(t, b.once())
	s.remove("a/f")
	require.NoError(t, b.once())
	require.FileExists(t, b.path("a/f"))
	b.config.NoDelete, b.config.DryRun = false, true
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), `delete "a/f"`)
	require.FileExists(t, b.path("a/f"))
	b.config.DryRun = false
	b.equal(s)
}

// A dry run prints what would change, and changes nothing.
func TestDryRun(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "b/g = y", "h = z")
	b.config.DryRun = true
	require.NoError(t, b.once())
	require.NoDirExists(t, b.config.Dest)
	require.Contains(t, b.out.String(), "mkdir  \"a\"\nmkdir  \"b\"\nfetch  \"h\"\n")
	require.Contains(t, b.out.String(), "fetch  \"a/f\"\n")
	b.config.DryRun = false
	b.equal(s)
	before, err := testtree.Snapshot(b.config.Dest)
	require.NoError(t, err)
	s.change("a/f = changed", "n/m -> h")
	s.remove("b")
	require.NoError(t, os.Chmod(s.path("h"), 0o600))
	b.config.DryRun = true
	require.NoError(t, b.once())
	for _, line := range []string{"fetch  \"a/f\"\n", "mkdir  \"n\"\n", "delete \"b\"\n", "chmod  \"h\"\n", "fetched 1 files (7 bytes), deleted 2, held 0"} {
		require.Contains(t, b.out.String(), line)
	}
	after, err := testtree.Snapshot(b.config.Dest)
	require.NoError(t, err)
	require.Equal(t, before, after)
	b.config.DryRun = false
	b.equal(s)

	// What is to become a directory is something else still.
	s.remove("h")
	s.remove("n/m")
	s.change("h/k = x", "n/m/k = x")
	b.config.DryRun = true
	require.NoError(t, b.once())
	for _, line := range []string{"mkdir  \"h\"\n", "fetch  \"h/k\"\n", "mkdir  \"n/m\"\n", "fetch  \"n/m/k\"\n", "failed 0"} {
		require.Contains(t, b.out.String(), line)
	}
	b.config.DryRun = false
	b.equal(s)
}

// Files of --last are fetched after everything else.
func TestLast(t *testing.T) {
	s, b := overHTTP(t, "index = x", "a/1 = y", "a/index = z", "a/b/2 = y", "c/3 = w")
	b.config.Last = []string{"index"}
	b.equal(s)
	asked := b.server.requests()
	for i, name := range asked {
		require.Equal(t, i >= len(asked)-2, strings.HasSuffix(name, "index"), "%q", asked)
	}
}

// Verify finds differences that no stamp shows, and mends them.
func TestVerify(t *testing.T) {
	s, b := overHTTP(t, "a/f = one", "a/g = two", "b/c/d = x", "e = y")
	b.equal(s)
	verify := func(repair bool) error {
		c := b.config
		b.out.Reset()
		c.Out = &b.out
		return Verify(context.Background(), c, repair)
	}
	require.NoError(t, verify(false))
	require.Contains(t, b.out.String(), "compared 4 directories, 4 files (8 bytes), 0 differ\n")

	damaged := &tree{t: t, root: b.config.Dest}
	damaged.forge("a/f", "0ne")
	require.NoError(t, os.Remove(b.path("b/c/d")))
	require.NoError(t, os.Chmod(b.path("e"), 0o600))
	testtree.Make(t, b.config.Dest, "b/mine = z")
	require.Equal(t, exit.Failed, exit.Of(verify(false)))
	for _, line := range []string{"differs \"a/f\"\n", "missing \"b/c/d\"\n", "mode of \"e\"\n", "extra \"b/mine\"\n", "4 differ\n"} {
		require.Contains(t, b.out.String(), line)
	}
	require.NoError(t, verify(true))
	b.same(s)
	url := b.config.Source
	b.config.Source = "" // the copy knows it
	require.NoError(t, verify(false))
	b.config.Source = url
	b.requireIdle()
}

// A SOURCE with a password must be given to --verify again. Then it forgot the options that the copy
// was made with: what they keep was extra, and --repair deleted it.
func TestVerifyByTheOptionsOfTheCopy(t *testing.T) {
	for name, made := range map[string]func(c *Config){
		"excluded":    func(c *Config) { c.Filters = []string{"- /local/"} },
		"kept":        func(c *Config) { c.NoDelete = true },
		"left out":    func(c *Config) { c.NoLinks = true },
		"nothing":     func(*Config) {},
		"all of them": func(c *Config) { c.Filters, c.NoDelete, c.NoLinks = []string{"- /local/"}, true, true },
	} {
		for _, source := range []string{"", "http://u:p@"} {
			_, b := overHTTP(t, "a/f = one", "l -> a/f")
			made(&b.config)
			require.NoError(t, b.once())
			testtree.Make(t, b.config.Dest, "local/mine = x")
			(&tree{t: t, root: b.config.Dest}).forge("a/f", "0ne")
			c := Config{Dest: b.config.Dest, Log: b.config.Log, Out: &b.out}
			if source != "" {
				c.Source = source + strings.TrimPrefix(b.config.Source, "http://") + "/"
			}
			stays := b.config.NoDelete || len(b.config.Filters) > 0
			for _, repair := range []bool{false, true} {
				b.out.Reset()
				err := Verify(t.Context(), c, repair)
				require.Equal(t, repair, err == nil, "%s, %q: %v", name, c.Source, err)
				require.Contains(t, b.out.String(), "differs \"a/f\"\n")
				require.Equal(t, !stays, strings.Contains(b.out.String(), "local"), "%s: %s", name, b.out.String())
				require.NotContains(t, b.out.String(), "missing")
			}
			require.Equal(t, "one", b.read("a/f"))
			_, err := os.Stat(b.path("local/mine"))
			require.Equal(t, stays, err == nil, "%s, %q", name, c.Source)
			b.requireIdle() // by the same options
		}
	}
}

// --repair with other options than the copy was made with would delete what those keep, and so
// would another SOURCE without any: that is refused, and nothing changes.
func TestWhatRepairRefuses(t *testing.T) {
	const made = `--exclude "/local/" --no-links`
	for name, c := range map[string]struct {
		set  func(c *Config)
		says string // in the refusal; "": it is mended
	}{
		"no options":                    {set: func(*Config) {}},
		"DEST alone":                    {set: func(c *Config) { c.Source = "" }},
		"its options":                   {set: func(c *Config) { c.Filters, c.NoLinks = []string{"- /local/"}, true }},
		"its options, DEST alone":       {set: func(c *Config) { c.Source, c.Filters, c.NoLinks = "", []string{"- /local/"}, true }},
		"its options and owners":        {set: func(c *Config) { c.Filters, c.NoLinks, c.Owner = []string{"- /local/"}, true, true }},
		"some of them":                  {set: func(c *Config) { c.Filters = []string{"- /local/"} }, says: made},
		"others":                        {set: func(c *Config) { c.Filters, c.NoLinks = []string{"- /other/"}, true }, says: made},
		"others, DEST alone":            {set: func(c *Config) { c.Source, c.NoDelete = "", true }, says: made},
		"no options, and that was said": {set: func(c *Config) { c.SelectionSet = true }, says: made},
		"another SOURCE":                {set: func(c *Config) { c.Source += "/other" }, says: "with " + made},
	} {
		_, b := overHTTP(t, "a/f = one", "l -> a/f")
		b.config.Filters, b.config.NoLinks = []string{"- /local/"}, true
		require.NoError(t, b.once())
		testtree.Make(t, b.config.Dest, "local/mine = x", "extra = x")
		config := Config{Source: b.config.Source, Dest: b.config.Dest, Log: b.config.Log}
		c.set(&config)
		err := Verify(t.Context(), config, true)
		require.Equal(t, "x", b.read("local/mine"), name)
		_, extra := os.Stat(b.path("extra"))
		require.Equal(t, c.says != "", extra == nil, name)
		if c.says == "" {
			require.NoError(t, err, name)
			continue
		}
		require.Equal(t, exit.Refused, exit.Of(err), "%s: %v", name, err)
		require.ErrorContains(t, err, c.says, name)
		var with *exit.Error
		require.ErrorAs(t, err, &with)
		require.NotEmpty(t, with.Remedy)
	}

	// Its options with another SOURCE of the same tree are fine, and so is a copy that was made with none.
	for _, filters := range [][]string{nil, {"- /local/"}} {
		s, b := overHTTP(t, "a/f = one")
		b.config.Filters = filters
		require.NoError(t, b.once())
		testtree.Make(t, b.config.Dest, "extra = x")
		b.config.Source = serveTree(t, s.root).URL
		require.NoError(t, Verify(t.Context(), b.config, true))
		require.NoFileExists(t, b.path("extra"))
	}
}

// settled is overHTTP by a serve whose clock is ahead, so that no file is compared for its young
// ctime.
func settled(t *testing.T, lines ...string) (*tree, *bench) {
	return served(t, serve.Config{Hidden: true, Now: func() mtree.Stamp { return machine.Now().Add(30 * time.Second) }}, lines...)
}

// --verify --repair gave a damaged file a time in 1901, and so its other names, which may be in a
// snapshot of the copy that somebody made with cp -al.
func TestVerifySparesOtherNames(t *testing.T) {
	s, b := settled(t, "a/f = one", "a/g = two")
	b.equal(s)
	snapshot := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.Link(b.path("a/f"), snapshot))
	damaged := &tree{t: t, root: b.config.Dest}
	damaged.forge("a/f", "0ne")
	was, err := os.Stat(snapshot)
	require.NoError(t, err)
	require.NoError(t, Verify(context.Background(), b.config, true))
	b.same(s)
	is, err := os.Stat(snapshot)
	require.NoError(t, err)
	require.Equal(t, was.ModTime(), is.ModTime())
	text, err := os.ReadFile(snapshot)
	require.NoError(t, err)
	require.Equal(t, "0ne", string(text))
	b.requireIdle()
}

func TestBadOptions(t *testing.T) {
	for _, c := range []Config{
		{}, {Source: "/tmp"}, {Source: "http://", Dest: "x"}, {Source: "http://h/?q", Dest: "x"},
		{Source: "/", Dest: "x", MaxDelete: "half"}, {Source: "/", Dest: "x", MaxDelete: "101%"},
		{Source: "/", Dest: "x", MaxDelete: "-1"}, {Source: "/", Dest: "x", Filters: []string{"- ["}},
		{Source: "/", Dest: "x", Durability: "maybe"},
	} {
		require.Equal(t, exit.Usage, exit.Of(Once(context.Background(), c)), "%+v", c)
	}
	missing := Config{Source: "/nonexistent/dir", Dest: filepath.Join(t.TempDir(), "x")}
	require.Equal(t, exit.Unreachable, exit.Of(Once(context.Background(), missing)))
	require.NoDirExists(t, missing.Dest)
}

// A copy whose .tidemark was removed is recognised by its root, and completed.
func TestARemovedMarker(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "c = y")
	b.equal(s)
	require.NoError(t, os.RemoveAll(b.path(".tidemark")))
	require.NoError(t, os.WriteFile(b.path("a/f"), []byte("damaged"), 0o644))
	b.equal(s)
	require.Contains(t, b.out.String(), "listed 2 directories")
	b.requireIdle()
	b.config.Source = serveTree(t, watched(t, "b = y").root).URL
	require.NoError(t, os.RemoveAll(b.path(".tidemark")))
	require.Equal(t, exit.Refused, exit.Of(b.once()))
}
