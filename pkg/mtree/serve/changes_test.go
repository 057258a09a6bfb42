package serve_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/serve"
)

// changed gets the names that changed after a position, and the next position.
func (k *keeper) changed(after string) (names []string, next string) {
	k.Helper()
	target := "/?changes"
	if after != "" {
		target += "&after=" + after
	}
	a := k.get(target)
	require.Equal(k, 200, a.StatusCode, a.body)
	return changedNames(k.T, a)
}

// changedNames reads an answer to ?changes.
func changedNames(t *testing.T, a answer) (names []string, next string) {
	t.Helper()
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	require.NotEmpty(t, a.Header.Get("Tidemark-Options"), "with others, other names are told")
	lines := strings.Split(strings.TrimSuffix(a.body, "\n"), "\n")
	next, ok := strings.CutPrefix(lines[len(lines)-1], "#next ")
	require.True(t, ok, a.body)
	return lines[:len(lines)-1], next
}

func TestChanges(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{"a/b/x y": "1", "a/b/z": "1", "c/x": "1", "d/e/x": "1", "**": "1"})
	names, start := k.changed("")
	require.Empty(t, names, "only where to begin")
	names, next := k.changed(start)
	require.Empty(t, names)
	require.Equal(t, start, next)

	require.NoError(t, os.Remove(k.path("a/b/z")))
	k.publish("a/b/x y", "a/b/z")
	k.publish("a/b/x y", "c/*", "d/**", "**")
	names, next = k.changed(start)
	require.ElementsMatch(t, []string{"a/", "a/b/", "a/b/x%20y", "a/b/z", "c/", "d/", "d/**", "%2A%2A"}, names)
	names, again := k.changed(next)
	require.Empty(t, names)
	require.Equal(t, next, again)

	for _, target := range []string{"/?changes&after=x", "/?changes&after=.1", "/?changes&after=", "/?changes&after=0123456789abcdef", "/a/?changes", "/?changes&after=a.-1"} {
		require.Equal(t, 400, k.get(target).StatusCode, target)
	}
	run, _, _ := strings.Cut(next, ".")
	for _, gone := range []string{"0123456789abcdef.0", run + ".99"} {
		require.Equal(t, 410, k.get("/?changes&after="+gone).StatusCode, gone)
	}
	require.NoError(t, os.RemoveAll(k.path("d")))
	k.publish("d/")
	k.begin()
	require.Equal(t, 410, k.get("/?changes&after="+next).StatusCode, "another run")
}

// What a listing would not show is not told: no hidden or excluded name, no FIFO, nothing of a
// directory that serve, or watch, may not read.
func TestChangesTellNoHiddenName(t *testing.T) {
	k := publishKept(t, serve.Config{Exclude: []string{"*.key", "secret/"}}, map[string]string{
		"a/.dot": "1", ".d/x": "1", "a/x.key": "1", "a/secret/x": "1", "a/x": "1", "closed/in/x": "1", "gone/x": "1", "link/x": "1",
	})
	require.NoError(t, syscall.Mkfifo(k.path("a/fifo"), 0o644))
	_, start := k.changed("")
	k.tell(nil, "closed")
	require.NoError(t, os.Rename(k.path("gone"), k.path(".moved")))
	require.NoError(t, os.Rename(k.path("link"), k.path(".link")))
	changed := []string{
		"a/.dot", ".d/x", "a/x.key", "a/gone.key", "a/.gone", "a/secret/x", "a/secret/*", "a/x", "a/fifo", "closed/in/x", "closed/in/gone",
	}
	k.publish(changed...)
	require.NoError(t, os.Rename(k.path(".moved"), k.path("gone")))
	require.NoError(t, os.Rename(k.path(".link"), k.path("link")))
	k.publish("gone/x", "gone/hidden", "link/x")
	require.NoError(t, os.RemoveAll(k.path("gone")))
	require.NoError(t, os.Rename(k.path("link"), k.path(".link")))
	require.NoError(t, os.Symlink("a", k.path("link")))
	require.Eventually(t, func() bool { return k.get("/closed/").StatusCode == 403 }, longest, time.Millisecond)
	names, _ := k.changed(start)
	require.ElementsMatch(t, []string{"a/", "a/x", "closed/", "gone/", "link"}, names)
}

// A name that is not published any more, or whose type decides that, is not told, but that a name
// in its directory changed: somebody may have what it was before.
func TestChangesOfWhatIsNotPublished(t *testing.T) {
	k := publishKept(t, serve.Config{Exclude: []string{"build/"}}, map[string]string{"x": "1", "build": "1", "y": "1"})
	_, start := k.changed("")
	require.NoError(t, os.Remove(k.path("x")))
	require.NoError(t, syscall.Mkfifo(k.path("x"), 0o644))
	for _, changed := range []string{"x", "build"} {
		k.publish(changed, "y")
		names, next := k.changed(start)
		require.ElementsMatch(t, []string{"./", "y"}, names, changed)
		start = next
	}
}

// Nothing is told of what is below a directory that this user may not read, though it may be
// open to who knows its name: that stopped at its name before there was a journal.
func TestChangesBelowWhatIsClosed(t *testing.T) {
	if os.Getuid() == 0 {
		asNobody(t, t.Name())
		return
	}
	k := publishKept(t, serve.Config{}, map[string]string{"a/secret/x": "1", "a/secret/in/x": "1"})
	_, start := k.changed("")
	k.publish("a/secret/x", "a/secret/in/x")
	k.close("a/secret/in", 0)
	k.close("a", 0o311)
	names, _ := k.changed(start)
	require.Equal(t, []string{"a/"}, names)
	require.NoError(t, os.Chmod(k.path("a"), 0o755))
	names, _ = k.changed(start)
	require.ElementsMatch(t, []string{"a/", "a/secret/", "a/secret/x", "a/secret/in/"}, names)
	k.close("", 0o311)
	require.Equal(t, 403, k.get("/?changes&after="+start).StatusCode)
}

// Somebody set who may read a directory. A name that came and went before was in no listing,
// and is not told now; nor is one of another directory that was at the same path.
func TestWhatCameAndWentWhileHidden(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{"a/b/x": "1", "a/y": "1", "c/x": "1", "c/in/x": "1"})
	_, start := k.changed("")
	stamp := k.shows("")
	k.publish("a/*")
	k.publish("a/b/x", "a/b/secret", "a/secret", "c/x", "c/gone")
	k.publish("a/*")
	names, next := k.changed(start)
	require.ElementsMatch(t, []string{"a/", "a/b/", "a/b/x", "c/", "c/x", "c/gone"}, names)
	blocks, _ := k.parts(since("/", stamp))
	require.Equal(t, []string{"./ part a c", "a/ whole", "a/b/ whole", "c/ part x -gone"}, brief(blocks))
	k.publish("a/b/x", "a/b/gone")
	names, next = k.changed(next)
	require.ElementsMatch(t, []string{"a/", "a/b/", "a/b/x", "a/b/gone"}, names, "after that")

	k.publish("c/salary", "c/in/plan")
	k.publish("c/**")
	names, _ = k.changed(next)
	require.ElementsMatch(t, []string{"c/", "c/**", "c/in/"}, names)
}

// close takes rights away from a directory until the test ends.
func (k *keeper) close(dir string, mode os.FileMode) {
	k.Helper()
	require.NoError(k, os.Chmod(k.path(dir), mode))
	k.Cleanup(func() { _ = os.Chmod(k.path(dir), 0o755) })
}

// A last batch that is damaged is a gap. That is said once, and not until the next change.
func TestChangesWhereTheLastBatchIsDamaged(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{"x": "1"})
	_, start := k.changed("")
	stamp := k.shows("")
	k.publish("x")
	file, err := os.OpenFile(k.path(".tidemark/journal.0"), os.O_WRONLY, 0) // the same file: its lock stays
	require.NoError(t, err)
	info, err := file.Stat()
	require.NoError(t, err)
	_, err = file.WriteAt([]byte("x"), info.Size()-2) // in the sum
	require.NoError(t, err)
	require.NoError(t, file.Close())
	require.Equal(t, 410, k.get("/?changes&after="+start).StatusCode)
	_, next := k.changed("")
	names, again := k.changed(next)
	require.Empty(t, names)
	require.Equal(t, next, again)
	blocks, _ := k.parts(since("/", stamp))
	require.False(t, blocks[0].IsPart())
	k.publish("x")
	names, _ = k.changed(next)
	require.Equal(t, []string{"x"}, names)
}

// With wait, the answer comes with the next batch.
func TestChangesWait(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{"a/x": "1"})
	_, start := k.changed("")
	came := make(chan answer)
	go func() { came <- k.get("/?changes&wait=45&after=" + start) }()
	k.waiting(1)
	k.publish("a/x")
	names, next := changedNames(t, <-came)
	require.ElementsMatch(t, []string{"a/", "a/x"}, names)
	names, again := changedNames(t, k.get("/?changes&wait=0.01&after="+next))
	require.Empty(t, names)
	require.Equal(t, next, again)
	go func() { came <- k.get("/?changes&wait=45&after=" + next) }()
	k.waiting(1)
	k.begin()
	k.publish("a/x")
	require.Equal(t, 410, (<-came).StatusCode)
}

// An answer is cut between two batches, and the next one goes on.
func TestChangesAreCut(t *testing.T) {
	k := publishKept(t, serve.Config{}, map[string]string{"x": "1"})
	_, next := k.changed("")
	want := 0
	for b := range 130 {
		var names []string
		for i := range 900 {
			names = append(names, fmt.Sprintf("b%03d-%03d", b, i))
		}
		k.publish(names...)
		want += len(names)
	}
	rounds := 0
	for got := 0; got < want; rounds++ {
		names, after := k.changed(next)
		require.NotEqual(t, next, after)
		got, next = got+len(names), after
	}
	require.Equal(t, 2, rounds)
}

// Each name stands behind a path that may have 4 KiB: a hundred thousand took gigabytes. What
// has no room is told as names of its directory that are not known.
func TestChangesAreCutByBytes(t *testing.T) {
	const few, dirs, each = 200, 40, 900
	part := "/" + strings.Repeat("d", 255)
	deep := strings.Repeat(part, 15)[1:]
	files := map[string]string{deep + "/x": "1"}
	long := make([]string, dirs) // their names have less than 1 MiB each
	for i := range long {
		long[i] = fmt.Sprintf("%02d%s", i, strings.Repeat(part, 4))
		files[long[i]+"/x"] = "1"
	}
	k := publishKept(t, serve.Config{}, files)
	k.ticks = false
	_, start := k.changed("")
	want := map[string]string{} // the directories of the names
	publish := func(n int, dirs ...string) {
		var all []string
		for _, dir := range dirs {
			for i := range n {
				name := fmt.Sprintf("%s/%03d", dir, i)
				all, want[name] = append(all, name), dir+"/"
			}
		}
		k.publish(all...)
	}
	told := map[string]bool{}
	bring := func() (rounds int) {
		clear(told)
		for end := ""; ; rounds++ {
			a := k.get("/?changes&after=" + start)
			require.Equal(t, 200, a.StatusCode)
			require.Less(t, len(a.body), 10<<20)
			names, next := changedNames(t, a)
			for _, name := range names {
				told[name] = true
			}
			if end, start = start, next; end == next {
				break
			}
		}
		for name, dir := range want {
			require.True(t, told[name] || told[dir], name[:10])
		}
		clear(want)
		return rounds
	}
	publish(each, deep)
	publish(few, deep)
	require.Equal(t, 1, bring())
	require.False(t, told[deep+"/000"])
	publish(few, deep)
	require.Equal(t, 1, bring())
	require.True(t, told[deep+"/000"])

	for _, dir := range long[:20] {
		publish(each, dir)
	}
	require.Greater(t, bring(), 1)
	require.True(t, told[long[0]+"/000"] && told[long[19]+"/899"])

	publish(each, long...) // in one batch
	require.Equal(t, 1, bring())
	require.True(t, told[long[0]+"/000"])
	require.False(t, told[long[dirs-1]+"/000"])
}
