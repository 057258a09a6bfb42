package serve_test

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// One change in a wide directory is told in one line of it, to who asks for parts.
func TestParts(t *testing.T) {
	k := publishKept(t, serve.Config{}, wide("a/d", 100))
	old := k.shows("a/d")
	first := k.shows("")
	require.NoError(t, os.WriteFile(k.path("a/d/f007"), []byte("22"), 0o644))
	require.NoError(t, os.Remove(k.path("a/d/f050")))
	kernel := k.shows("a/d")
	stamp := k.publish("a/d/f007", "a/d/f050", "a/d/never")

	a := k.get(since("/", first))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	tag, ok := wire.ParseListingTag(k.get("/?txt").Header.Get("ETag"))
	require.True(t, ok)
	require.Equal(t, tag.Fingerprint, a.Header.Get("Tidemark-Options"), "a part counts only for whose record has it")
	require.Less(t, len(a.body), 1000)
	blocks, trailer := decodeParts(t, a.body)
	require.Equal(t, mtree.Trailer{Stamp: stamp}, trailer)
	require.Equal(t, []string{"./ part a", "a/ part d", "a/d/ part f007 -f050 -never"}, brief(blocks))
	whole := k.list("/a/d/")
	part := blocks[2]
	require.Equal(t, []mtree.Span{{From: kernel, To: kernel}}, part.Part, "what it gave before is not remembered")
	require.False(t, part.Suffices(old))
	require.Equal(t, whole.Entries[7], part.Entries[0])
	require.Equal(t, whole.Stamp, part.Stamp)
	require.Equal(t, whole.ID, part.ID)
	require.False(t, part.Hot)

	require.NoError(t, os.WriteFile(k.path("a/d/f009"), []byte("22"), 0o644))
	require.NoError(t, os.Remove(k.path("a/d/f051")))
	kernel = k.shows("a/d")
	k.publish("a/d/f009", "a/d/f051")
	blocks, _ = k.parts(since("/", stamp))
	require.Equal(t, []string{"./ part a", "a/ part d", "a/d/ part f009 -f051"}, brief(blocks))
	require.Equal(t, []mtree.Span{{From: stamp, To: kernel}}, blocks[2].Part)
	require.Equal(t, []mtree.Span{{From: stamp, To: stamp}}, blocks[1].Part)
	blocks, _ = k.parts(since("/", first))
	require.Equal(t, []string{"./ part a", "a/ part d", "a/d/ part f007 f009 -f050 -f051 -never"}, brief(blocks))
	require.True(t, blocks[2].Suffices(stamp))

	for _, target := range []string{"/?txt&since=" + first.String(), "/?txt&since=" + first.String() + "&part=2"} {
		blocks, _ = k.parts(target)
		require.Equal(t, []string{"./ whole", "a/ whole", "a/d/ whole"}, brief(blocks), "nobody gets parts who did not ask")
	}
	blocks, _ = k.parts(since("/a/d/", first))
	require.Equal(t, []string{"./ part f007 f009 -f050 -f051 -never"}, brief(blocks), "paths are relative")
	blocks, _ = k.parts(since("/", k.floor))
	require.Empty(t, blocks)
	require.Equal(t, 410, k.get(since("/", k.floor.Add(1))).StatusCode)
}

// What is stamped between the reading of the directory's stamp and that of its names is in the
// part: the journal is read after the stamp.
func TestPartOfWhatIsStampedMeanwhile(t *testing.T) {
	var k *keeper
	var calls atomic.Int32 // of the clock until there is another batch: it is read before each directory's stamp
	now := func() mtree.Stamp {
		if calls.Add(-1) == 0 {
			require.NoError(t, os.WriteFile(k.path("d/f009"), []byte("22"), 0o644))
			k.publish("d/f009")
		}
		return machine.Now()
	}
	k = publishKept(t, serve.Config{Now: now}, wide("d", 20))
	first := k.shows("")
	k.publish("d/f001")
	told := 0
	for n := range int32(5) {
		calls.Store(n + 1)
		blocks, _ := k.parts(since("/d/", first))
		require.Len(t, blocks, 1)
		if calls.Load() <= 0 && blocks[0].Stamp == k.shows("d") {
			told++
			require.Equal(t, "./ part f001 f009", brief(blocks)[0], "%d", n)
		}
		calls.Store(0)
		k.begin() // f009 is not told any more
		first = k.shows("")
		k.publish("d/f001")
	}
	require.GreaterOrEqual(t, told, 2)
}

// A directory that is stamped after the walk began, but before its parent's part is read, is told
// as well: a reader that is shown its new stamp would ask for all of it.
func TestPartsTellWhatTheyList(t *testing.T) {
	var k *keeper
	var calls atomic.Int32
	now := func() mtree.Stamp {
		if calls.Add(-1) == 0 {
			k.publish("b/c/x")
		}
		return machine.Now()
	}
	k = publishKept(t, serve.Config{Now: now}, map[string]string{"a/x": "1", "b/c/x": "1"})
	late := 0
	for n := range int32(5) {
		first := k.shows("")
		k.publish("a/x")
		stamp := k.floor
		calls.Store(n + 1)
		blocks, _ := k.parts(since("/", first))
		calls.Store(0)
		if b := slices.IndexFunc(blocks[0].Entries, func(e mtree.Entry) bool { return e.Name == "b" && e.MTime.After(stamp) }); b >= 0 {
			late++
			require.Equal(t, []string{"./ part a b", "a/ part x", "b/ part c", "b/c/ part x"}, brief(blocks), "%d", n)
		}
	}
	require.GreaterOrEqual(t, late, 1)
}

// Of a directory that arrived, and of what is below it, whole listings are told, by the stamps;
// of one whose names are not known, its whole listing.
func TestPartsBelowWhatArrived(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{
		"a/b/c/x": "1", "a/b/d/x": "1", "a/e/x": "1", "f/g/x": "1", "h": "1",
	})
	first := k.shows("")
	k.publish("a/**", "h")
	stamp := k.floor
	for _, dir := range []string{"a/b", "a/b/c"} {
		k.stamp(dir, stamp)
	}
	k.publish("a/e/x", "f/*")
	blocks, _ := k.parts(since("/", first))
	require.Equal(t, []string{"./ part a f h", "a/ whole", "a/b/ whole", "a/b/c/ whole", "a/e/ whole", "f/ whole"}, brief(blocks))
	blocks, _ = k.parts(since("/a/b/", first))
	require.Equal(t, []string{"./ whole", "c/ whole"}, brief(blocks), "what was asked about is below it, too")
	blocks, _ = k.parts(since("/", stamp))
	require.Equal(t, []string{"./ part a f", "a/ part e", "a/e/ part x", "f/ whole"}, brief(blocks))
}

// A directory that is asked about is told first, also if it has a new stamp and no line: so it is
// before its batch is written, and in a copy in mid-pass. Its readers refused the answer.
func TestPartsOfADirectoryWithoutALine(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{"a/x": "1", "a/n/x": "1", "b/x": "1", "u/x": "1"})
	k.publish("a/n/x")
	k.begin()
	from := k.publish("b/x")
	stamp := k.publish("b/x")
	k.stamp("a", stamp) // as the kernel does
	blocks, _ := k.parts(since("/a/", from))
	require.Equal(t, []string{"./ whole"}, brief(blocks))

	require.NoError(t, k.w.Write(k.floor, []journal.Line{ // a commit of a copy in mid-pass
		{Path: "a", Known: true, From: stamp, To: stamp, Names: []string{"n/", "x"}},
		{Path: "a/n", Known: true, From: stamp, To: stamp, Names: []string{"x"}},
	}))
	k.floor = mtree.Later(machine.Now(), k.floor.Add(1))
	for _, dir := range []string{"a/n", "a", "u", ""} {
		k.stamp(dir, k.floor)
	}
	all, _ := k.parts(since("/", stamp))
	require.Equal(t, []string{"./ whole", "a/ part n x", "a/n/ part x", "u/ whole"}, brief(all))
	for i := range all[1:] {
		rest, _ := k.parts(since("/", stamp) + "&after=" + all[i+1].Path)
		require.Equal(t, strings.Join(brief(all)[i+2:], ","), strings.Join(brief(rest), ","))
	}
}

// since: after=PATH continues after PATH, with parts as well.
func TestPartsAfter(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{
		"a/b/c/x": "1", "a/b/d/x": "1", "a b/&+/x": "1", "f/g/x": "1", "h": "1", "s/t/v/x": "1", "u/v/w/x": "1",
	})
	first := k.shows("")
	k.publish("a/b/**", "a b/&+/x", "f/g/x", "h", "s/*")
	k.stamp("a/b/c", k.floor)
	k.stamp("a/b/d", k.floor)
	k.stamp("s/t", k.floor)
	k.stamp("s/t/v", k.floor)
	k.stamp("u", k.floor)   // no line: as below a border
	k.stamp("u/v", k.floor) // the same
	k.publish("u/")
	all, trailer := k.parts(since("/", first))
	require.Equal(t, []string{
		"./ part a a b f h s u", "a/ part b", "a/b/ whole", "a/b/c/ whole", "a/b/d/ whole", "a b/ part &+", "a b/&+/ part x",
		"f/ part g", "f/g/ part x", "s/ whole", "s/t/ whole", "s/t/v/ whole", "u/ whole", "u/v/ whole",
	}, brief(all))
	require.False(t, trailer.More)
	for i := range all[1:] {
		rest, _ := k.parts(since("/", first) + "&after=" + strings.ReplaceAll(url.PathEscape(all[i+1].Path), "&", "%26"))
		require.Equal(t, strings.Join(brief(all[i+2:]), ","), strings.Join(brief(rest), ","), "after %q", all[i+1].Path)
	}
}

// No name that by its bytes is not published leaves serve, there or gone, nor is a hidden
// directory told.
func TestPartsTellNoHiddenName(t *testing.T) {
	k := publishKept(t, serve.Config{Exclude: []string{"*.key", "secret/", "/top"}}, map[string]string{
		"a/.dot": "1", ".d/x": "1", "a/x.key": "1", "a/secret/x": "1", "top/x": "1", "a/x": "1", "b/.d/x": "1",
	})
	first := k.shows("")
	changed := []string{"a/.dot", ".d/x", "a/x.key", "a/gone.key", "a/.gone", "a/secret/x", "top/x", "b/.d/x", "a/x", "a/gone"}
	k.publish(changed...)
	for range 2 {
		a := k.get(since("/", first))
		for _, hidden := range []string{".dot", ".d", "key", "secret", "top", ".gone"} {
			require.NotContains(t, a.body, hidden)
		}
		blocks, _ := decodeParts(t, a.body)
		require.Equal(t, []string{"./ part a b", "a/ whole", "b/ part"}, brief(blocks), "a rule for directories only: whole")
		require.NoError(t, os.RemoveAll(k.path("a/secret")))
		k.publish(append(changed[:5:5], "a/secret/")...)
	}
	require.NoError(t, os.RemoveAll(k.path("top")))
	from := k.publish("a/x")
	k.publish("a/.dot", "a/x.key", "a/x", "top/", "a/gone.key")
	blocks, _ := k.parts(since("/", from))
	require.Equal(t, []string{"./ part a", "a/ part x"}, brief(blocks))
}

// Nothing is told of what is below a directory that this user may not read, though it may be
// open to who knows its name: a walk by the stamps stops there.
func TestPartsBelowWhatIsClosed(t *testing.T) {
	if os.Getuid() == 0 {
		asNobody(t, t.Name())
		return
	}
	k := publishKept(t, serve.Config{}, map[string]string{"a/secret/x": "1", "a/secret/in/sub/x": "1", "b/x": "1"})
	first := k.shows("")
	k.publish("a/secret/x", "a/secret/in/**", "b/x")
	k.stamp("a/secret/in/sub", k.floor)
	k.close("a", 0o311)
	for target, want := range map[string][]string{
		since("/", first):                             {"./ part a b", "b/ part x"},
		since("/", first) + "&after=a":                {"b/ part x"},
		since("/", first) + "&after=a/none":           {"b/ part x"},
		since("/", first) + "&after=a/secret/in/none": {"b/ part x"},
		since("/a/secret/", first):                    {"./ part in x", "in/ whole", "in/sub/ whole"},
	} {
		blocks, _ := k.parts(target)
		require.Equal(t, want, brief(blocks), target)
	}
}

// What has a name that a reader may have, and is not published, is told by the whole listing.
func TestPartOfAFIFO(t *testing.T) {
	k := publishKept(t, serve.Config{}, wide("d", 3))
	first := k.shows("")
	require.NoError(t, os.Remove(k.path("d/f001")))
	require.NoError(t, syscall.Mkfifo(k.path("d/f001"), 0o644))
	k.publish("d/f001")
	blocks, _ := k.parts(since("/", first))
	require.Equal(t, []string{"./ part d", "d/ whole"}, brief(blocks))
}

// A stamp that is not in the journal leads to whole listings: the last numbers are missing.
func TestPartsWithAGap(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{"a/x": "1", "b/x": "1"})
	first := k.shows("")
	k.publish("a/x")
	second := k.publish("a/x")
	blocks, _ := k.parts(since("/", second.Add(-1)))
	require.Equal(t, []string{"./ part a", "a/ part x"}, brief(blocks))
	k.w.Drop()
	k.stampAll(k.plan([]string{"b/x"}))
	k.begun("")
	for _, from := range []mtree.Stamp{first, second} {
		blocks, _ = k.parts(since("/", from))
		for i := range blocks {
			require.False(t, blocks[i].IsPart(), brief(blocks))
		}
	}
	third := k.publish("a/x")
	fourth := k.publish("b/x")
	blocks, _ = k.parts(since("/", second))
	for i := range blocks {
		require.False(t, blocks[i].IsPart(), "%v: another run, which does not reach back", brief(blocks))
	}
	blocks, _ = k.parts(since("/", third))
	require.Equal(t, []string{"./ part b", "b/ part x"}, brief(blocks))
	require.Equal(t, fourth, blocks[0].Stamp)
}

// begun waits until serve reads the root's stamp as it is now.
func (k *keeper) begun(dir string) {
	k.Helper()
	require.Equal(k, k.shows(dir), k.list("/"+dir).Stamp)
}

// A state in which nobody vouches for the stamps gives no parts.
func TestPartsWhereNobodyKeepsTheStamps(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{"a/x": "1"})
	first := k.shows("")
	k.publish("a/x")
	for _, c := range []struct {
		state wire.State
		want  string
	}{{wire.Auditing, "./ part a"}, {wire.Degraded, ""}, {wire.Watched, "./ part a"}} {
		k.alterStatus(func(s *state.Status) { s.State = c.state })
		require.Eventually(t, func() bool { return k.get("/").Header.Get("Tidemark-State") == string(c.state) }, longest, time.Millisecond)
		a := k.get(since("/", first))
		if c.want == "" {
			require.Equal(t, 410, a.StatusCode)
			require.Equal(t, 410, k.get("/?changes").StatusCode)
			continue
		}
		blocks, _ := decodeParts(t, a.body)
		require.Equal(t, c.want, brief(blocks)[0])
	}
	k.alterTree(func(tree *state.Tree) { tree.Epoch++ })
	require.Eventually(t, func() bool { return k.get("/").Header.Get("Tidemark-Epoch") == "8" }, longest, time.Millisecond)
	blocks, _ := k.parts(since("/", first))
	require.Equal(t, []string{"./ whole", "a/ whole"}, brief(blocks), "the journal is of another epoch")
}

// An answer is made once for all who ask the same while the root has the same stamp.
func TestPartsAreShared(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{"a/x": "1"})
	first := k.shows("")
	k.publish("a/x")
	made := func() int64 { return k.cfg.Stats.Parts.Load() }
	want := k.get(since("/", first)).body
	require.EqualValues(t, 2, made())
	require.Equal(t, want, k.get(since("/", first)).body)
	require.EqualValues(t, 2, made())
	k.get(since("/", first), "Cache-Control", "no-cache")
	require.EqualValues(t, 4, made(), "unless the client wants it read now")
	k.get(since("/", first.Add(1)))
	k.get(since("/a/", first))
	require.EqualValues(t, 4+2+1, made(), "another question")
	require.NotEqual(t, want, k.get(since("/", first), "Accept-Encoding", "gzip").body)
	k.publish("a/x")
	require.NotEqual(t, want, k.get(since("/", first)).body)
	require.EqualValues(t, 4+2+1+2+2, made())
}

// Directories with stamps of their own, and those above them, are told whole.
func TestPartsWithStampsToldApart(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{"a/b/x": "1", "a/c/x": "1"})
	first := k.shows("")
	stamp := k.publish("a/b/x", "a/c/x")
	k.tell(map[string]mtree.Stamp{"a/b": stamp.Add(1)})
	require.Eventually(t, func() bool {
		blocks, _ := k.parts(since("/", first) + "&after=")
		return len(blocks) == 4 && !blocks[1].IsPart()
	}, longest, time.Millisecond)
	blocks, _ := k.parts(since("/", first))
	require.Equal(t, []string{"./ part a", "a/ whole", "a/b/ whole", "a/c/ part x"}, brief(blocks))
	require.Equal(t, stamp.Add(1), blocks[2].Stamp)
}

// An answer that is too long to be made for several requests is sent as it is made. A long
// listing in it is not read twice.
func TestPartsInALongAnswer(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{"a/x": "1", "b/x": "1", "c/x": "1"})
	for i := range 5000 {
		require.NoError(t, os.Symlink("x", k.path(fmt.Sprint("b/", strings.Repeat("\xff", 240), i))))
	}
	first := k.shows("")
	k.publish("a/x", "b/*", "c/x")
	read := k.cfg.Stats.Listings.Load()
	blocks, _ := k.parts(since("/", first))
	require.Equal(t, []string{"./ part a b c", "a/ part x", "b/ whole", "c/ part x"}, brief(blocks))
	require.EqualValues(t, 1, k.cfg.Stats.Listings.Load()-read)
}
