package mirror

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"
)

// at sets the clock of the mirrors of b from now on.
func (b *bench) at(later time.Duration) {
	b.config.Now = func() mtree.Stamp { return machine.Now().Add(later) }
}

// replacedFiles is a source that had 300 files in a, which the copy has; now the source has
// 301 other files in zz instead.
func replacedFiles(t *testing.T) (*tree, *bench) {
	s, b := overHTTP(t, many("a", 300)...)
	b.equal(s)
	require.NoError(t, os.RemoveAll(s.path("a")))
	s.change(many("zz", 301)...)
	return s, b
}

// A pass that held deletions made entries, and these raised the base: the next pass deleted.
func TestAHoldDoesNotLapse(t *testing.T) {
	s, b := replacedFiles(t)
	for range 3 {
		b.requireHeld(301, "301 of 301 entries would go, --max-delete is 50%")
	}
	b.start()
	s.change("n = new")
	require.True(t, assertEventually(func() bool { _, err := os.Stat(b.path("n")); return err == nil }))
	require.Contains(t, b.printStatus(), "held: 301\n")
	require.NoError(t, b.release())
	b.eventually(s)
	s.remove("zz/001")
	b.eventually(s)
}

// A hold does not end with time, with a walk, with another option, while the source cannot be
// read, or when the copy is opened anew.
func TestAHoldOutlivesWhatIsNoReason(t *testing.T) {
	for name, meanwhile := range map[string]func(t *testing.T, s *tree, b *bench){
		"an hour":  func(_ *testing.T, _ *tree, b *bench) { b.at(time.Hour) },
		"a walk":   func(_ *testing.T, _ *tree, b *bench) { b.at(30 * 24 * time.Hour) },
		"an epoch": func(_ *testing.T, s *tree, _ *bench) { s.epoch(2) },
		"--no-links": func(t *testing.T, _ *tree, b *bench) {
			b.config.NoLinks = true
			b.requireHeld(301, "--max-delete")
		},
		"--no-delete": func(t *testing.T, _ *tree, b *bench) {
			b.config.NoDelete = true
			b.requireHeld(301, "--max-delete")
			b.config.NoDelete = false
		},
		"--dry-run": func(t *testing.T, _ *tree, b *bench) {
			b.config.DryRun = true
			b.requireHeld(301, "--max-delete")
			b.config.DryRun = false
		},
		"trouble": func(t *testing.T, _ *tree, b *bench) {
			b.server.answer("/zz/?txt", http.StatusBadGateway, "")
			b.at(30 * 24 * time.Hour)
			require.Equal(t, exit.Held, exit.Of(b.once()))
			b.server.interfere(nil)
		},
		"more files": func(t *testing.T, s *tree, b *bench) {
			s.change(many("more", 2000)...)
			require.Equal(t, exit.Held, exit.Of(b.once()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := replacedFiles(t)
			b.requireHeld(301, "--max-delete")
			meanwhile(t, s, b)
			for range 2 {
				require.Equal(t, exit.Held, exit.Of(b.once()))
				require.Equal(t, "7", b.read("a/007"))
				require.Contains(t, b.printStatus(), "held: 301\n")
			}
			require.NoError(t, b.release())
			b.equal(s)
		})
	}
}

// A directory with held deletions could not be listed once, while nothing else was held: that
// ended the hold.
func TestAHoldOutlivesADirectoryInTrouble(t *testing.T) {
	s, b := overHTTP(t, append(many("d/a", 300), "d/n = 1")...)
	b.equal(s)
	require.NoError(t, os.RemoveAll(s.path("d/a")))
	s.change(many("d/zz", 301)...)
	b.requireHeld(301, "--max-delete")
	for _, status := range []int{http.StatusBadGateway, http.StatusForbidden} {
		b.server.answer("/d/?txt", status, "")
		for range 2 {
			b.requireHeld(301, "--max-delete")
		}
		b.server.interfere(nil)
		b.requireHeld(301, "--max-delete")
	}
	b.server.alter("/d/?txt", func(body string) string { return strings.Replace(body, "\t-", "\t-\thot=1", 1) })
	for range 2 {
		b.requireHeld(301, "--max-delete")
	}
}

// Where the directory could not be read any more, and the pass committed in between, all above it
// had its stamp before the pass found that something is held there: the next one forgot it.
func TestAHoldOutlivesADirectoryNobodyMayRead(t *testing.T) {
	s, b := overHTTP(t, append(many("d/a", 300), "d/n = 1")...)
	b.equal(s)
	require.NoError(t, os.RemoveAll(s.path("d/a")))
	s.change(many("d/zz", 301)...)
	b.requireHeld(301, "--max-delete")
	b.config.commitFiles = 1
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if keyOf(r) != "/d/?txt" {
			return false
		}
		w.Header().Set("Tidemark-Version", "1")
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	for range 2 {
		b.requireHeld(301, "--max-delete")
	}
}

// A hold ends when the source has the entries again, or enough of them, or when more may be
// deleted.
func TestAHoldEndsWithItsCause(t *testing.T) {
	s, b := replacedFiles(t)
	b.requireHeld(301, "--max-delete")
	require.NoError(t, os.CopyFS(s.path("a"), os.DirFS(b.path("a"))))
	for i := range 10 {
		require.NoError(t, os.Remove(s.path(fmt.Sprintf("a/%03d", i))))
	}
	s.publish("a/x")
	b.equal(s)
	require.Contains(t, b.out.String(), "deleted 10, held 0,")

	s, b = replacedFiles(t)
	b.requireHeld(301, "--max-delete")
	b.config.MaxDelete = "400"
	b.equal(s)
}

// A full walk held deletions under unchanged stamps. The next pass took the root for complete
// and forgot them.
func TestAHoldOfAWalkStays(t *testing.T) {
	s, b := overHTTP(t, many("a", 100)...)
	b.equal(s)
	testtree.Make(t, b.config.Dest, many("a/mine", 200)...)
	b.at(30 * 24 * time.Hour)
	for range 3 {
		b.requireHeld(201, "201 of 101 entries would go")
	}
	require.Equal(t, "7", b.read("a/mine/007"))
}

// The deletions of an rm -rf of a large tree came in pieces, each less than half of what was
// left, and all of them were carried out.
func TestDeletionsOfTenMinutesCountTogether(t *testing.T) {
	var lines []string
	for i := range 10 {
		lines = append(lines, many(fmt.Sprint("d", i), 39)...)
	}
	s, b := overHTTP(t, lines...)
	b.equal(s)
	for i := range 5 {
		b.at(time.Duration(i) * 2 * time.Minute)
		s.remove(fmt.Sprint("d", i))
		b.equal(s)
	}
	s.remove("d5")
	b.requireHeld(40, "40 of 400 entries would go, 200 went in the last ten minutes, --max-delete is 50%")
	b.at(time.Hour) // a hold does not end with time
	b.requireHeld(40, "200 went in the last ten minutes")

	// A release settles the deletions before it, and does not count itself.
	require.NoError(t, b.release())
	require.Contains(t, b.out.String(), "deleted 40, held 0")
	s.remove("d6")
	b.equal(s)
	s.remove("d7/001")
	b.equal(s)

	// Old deletions do not count either.
	b.at(time.Hour + 12*time.Minute)
	s.remove("d7")
	b.equal(s)
}

// The same with a running mirror.
func TestAReleaseSettlesTheLastTenMinutes(t *testing.T) {
	s, b := overHTTP(t, append(append(many("a", 99), many("b", 99)...), many("c", 19)...)...)
	b.equal(s)
	s.remove("a")
	b.equal(s)
	s.remove("b")
	b.start()
	require.True(t, assertEventually(func() bool { return strings.Contains(b.printStatus(), "held: 100\n") }))
	require.NoError(t, b.release())
	b.eventually(s)
	s.remove("c/001")
	b.eventually(s)
}

// A copy that shrinks has less to lose: the base is the number of its entries ten minutes ago,
// if that is less than what was counted.
func TestTheBaseShrinks(t *testing.T) {
	s, b := overHTTP(t, append(append(many("a", 400), many("b", 300)...), many("c", 120)...)...)
	b.equal(s)
	s.remove("a")
	b.equal(s)
	b.at(time.Hour)
	s.remove("b")
	b.requireHeld(301, "301 of 422 entries would go")
	require.NoError(t, b.release())
	b.at(2 * time.Hour)
	s.remove("c")
	b.server.interfere(nil)
	s.change("n = keeps the root from being empty")
	b.requireHeld(121, "121 of 121 entries would go")
}

// --adopt of a directory with other files held these, and the next pass deleted them: the
// base was the number of the source's entries.
func TestTheBaseIsNotTheSources(t *testing.T) {
	s, b := overHTTP(t, many("a", 18)...)
	testtree.Make(t, filepath.Dir(b.config.Dest), many("copy/documents", 300)...)
	b.config.Adopt = true
	b.requireHeld(301, "301 of 301 entries would go")
	for _, adopt := range []bool{false, true} {
		b.config.Adopt = adopt
		b.requireHeld(301, "301 of 301 entries would go")
	}
	require.Equal(t, "7", b.read("documents/007"))
	b.config.Adopt = false
	require.NoError(t, b.release())
	b.equal(s)
}

// A mirror was killed while it made entries that it later had to delete. The base was what the
// next mirror made, or all that was there before.
func TestMaxDeleteAfterAKill(t *testing.T) {
	for _, limit := range []string{"50%", "100%"} {
		s, b := overHTTP(t, many("a", 200)...)
		b.equal(s)
		s.change(many("b", 1200)...)
		reads := make(chan []byte, 1)
		b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				text, _ := os.ReadFile(b.path(".tidemark/status.json"))
				select {
				case reads <- text:
				default: // several requests are under way at once
				}
			}
			return false
		})
		require.NoError(t, b.once())
		b.server.interfere(nil)
		before := <-reads
		require.Contains(t, string(before), `"unsure":true`)
		require.NoError(t, os.WriteFile(b.path(".tidemark/status.json"), before, 0o644))

		require.NoError(t, os.RemoveAll(s.path("b")))
		for i := range 196 {
			require.NoError(t, os.Remove(s.path(fmt.Sprintf("a/%03d", i))))
		}
		s.publish("a/x")
		b.config.MaxDelete = limit
		if limit == "100%" {
			b.equal(s)
			continue
		}
		b.requireHeld(1201+196, "1397 of 201 entries would go")
		b.requireHeld(1201+196, "1397 of 201 entries would go")
	}
}

// A disk that was mounted within the tree went away: in its place is another directory, which
// is empty.
func TestAMissingDiskDeletesNothing(t *testing.T) {
	s, b := overHTTP(t, append(many("d/disk", 40), "d/f = x", "d/sub/gone = x", "e = x")...)
	b.equal(s)
	require.NoError(t, os.Rename(s.path("d/disk"), filepath.Join(filepath.Dir(s.root), "away")))
	require.NoError(t, os.Mkdir(s.path("d/disk"), 0o755))
	s.publish("d/disk")
	s.remove("d/sub")
	held := func() {
		t.Helper()
		require.Equal(t, exit.Held, exit.Of(b.once()))
		require.Contains(t, b.printStatus(), "held: 40\nheld because: "+replica.WhyEmptied+"\n")
		require.Equal(t, "7", b.read("d/disk/007"))
	}
	held()
	require.NoDirExists(t, b.path("d/sub"), "others go on")
	held()
	s.change("d/disk/stray = written to the mount point", "e = changed")
	held()
	require.Equal(t, "changed", b.read("e"))
	b.config.NoDelete = true
	held()
	b.config.NoDelete = false
	held()
	require.NoError(t, os.RemoveAll(s.path("d/disk")))
	require.NoError(t, os.Rename(filepath.Join(filepath.Dir(s.root), "away"), s.path("d/disk")))
	s.publish("d/disk")
	b.equal(s)
	require.Contains(t, b.printStatus(), "held: 0\n")
}

// The same if a pass with --no-delete comes first. Nothing was to go then, so nothing was held, and
// the directory counted as that of the mount point from then on: without the option it was emptied.
func TestAMissingDiskIsNoticedAfterNoDelete(t *testing.T) {
	for name, stray := range map[string][]string{"nothing": nil, "a stray file": {"d/disk/stray = x"}} {
		t.Run(name, func(t *testing.T) {
			s, b := overHTTP(t, append(many("d/disk", 40), "d/f = x", "e = x")...)
			b.equal(s)
			away := filepath.Join(filepath.Dir(s.root), "away")
			require.NoError(t, os.Rename(s.path("d/disk"), away))
			require.NoError(t, os.Mkdir(s.path("d/disk"), 0o755))
			s.publish("d/disk")
			b.config.NoDelete = true
			require.NoError(t, b.once())
			b.requireIdle()
			s.change(append(stray, "e = changed")...)
			for range 2 {
				require.NoError(t, b.once())
				require.Equal(t, "changed", b.read("e"))
			}
			b.requireIdle()
			b.config.NoDelete = false
			for range 2 {
				require.Equal(t, exit.Held, exit.Of(b.once()))
				require.Contains(t, b.printStatus(), "held: 40\nheld because: "+replica.WhyEmptied+"\n")
				require.Equal(t, "7", b.read("d/disk/007"))
			}
			require.NoError(t, os.RemoveAll(s.path("d/disk")))
			require.NoError(t, os.Rename(away, s.path("d/disk")))
			s.publish("d/disk")
			b.equal(s)
			require.Contains(t, b.printStatus(), "held: 0\n")
		})
	}
}

// The same if the empty directory has a stray file from the beginning, provided that the disk
// had many. Another directory with about as many files is no reason to hold, nor is one in
// which a file stayed.
func TestAnotherDirectoryWithoutAnything(t *testing.T) {
	exchange := func(s *tree, lines ...string) {
		require.NoError(t, os.Rename(s.path("current"), filepath.Join(t.TempDir(), "old")))
		s.change(lines...)
	}
	s, b := overHTTP(t, append(many("current", 120), many("other", 400)...)...)
	b.equal(s)
	exchange(s, "current/stray = x")
	for range 2 {
		require.Equal(t, exit.Held, exit.Of(b.once()))
		require.Contains(t, b.printStatus(), "held: 120\n")
	}
	require.NoError(t, b.release())
	b.equal(s)

	for _, next := range [][]string{many("current/.", 20)[:20], {"current/007 = x"}, {"current/v2/f = x"}} {
		for i := range next {
			next[i] = strings.Replace(next[i], "current/./", "current/next", 1)
		}
		s, b = overHTTP(t, append(many("current", 120), many("other", 400)...)...)
		b.equal(s)
		exchange(s, next...)
		b.equal(s)
	}

	// It was listed while it was empty, and is filled now.
	s, b = overHTTP(t, append(many("current", 50), many("other", 400)...)...)
	b.equal(s)
	exchange(s, "current/")
	require.Equal(t, exit.Held, exit.Of(b.once()))
	s.change("current/next1 = x", "current/next2 = x", "current/next3 = x", "current/next4 = x", "current/next5 = x", "current/next6 = x")
	b.equal(s)
}

// The list of what is held was lost, and the file that somebody wrote to the bare mount point is here:
// all that is on the disk that was not mounted was deleted.
func TestAMissingDiskIsNoticedWithoutItsHold(t *testing.T) {
	s, b := overHTTP(t, append(many("current", 120), many("other", 400)...)...)
	b.equal(s)
	require.NoError(t, os.Rename(s.path("current"), filepath.Join(t.TempDir(), "old")))
	s.change("current/stray = x")
	require.Equal(t, exit.Held, exit.Of(b.once()))
	require.FileExists(t, b.path("current/stray"))
	require.NoError(t, os.RemoveAll(b.path(".tidemark")))
	for range 2 {
		require.Equal(t, exit.Held, exit.Of(b.once()))
		require.Contains(t, b.printStatus(), "held: 120\n")
		require.FileExists(t, b.path("current/007"))
	}
}

// If the only entry of a source cannot be copied, nothing would be left in the copy's root.
func TestTheLastEntryOfTheRootStays(t *testing.T) {
	s, b := overHTTP(t, "a = x", "b/f = x")
	b.equal(s)
	require.NoError(t, os.Remove(s.path("a")))
	require.NoError(t, os.RemoveAll(s.path("b")))
	s.change("denied = x")
	b.server.answer("/denied", http.StatusForbidden, "")
	b.requireHeld(3, "nothing would be left in the root")
	b.server.interfere(nil)
	b.equal(s)
}

// status.json is written without waiting for the disk. If a power cut loses it, the list of
// held deletions shows that there was a hold.
func TestAHoldOutlivesItsStatus(t *testing.T) {
	s, b := replacedFiles(t)
	b.requireHeld(301, "--max-delete")
	require.NoError(t, os.Remove(b.path(".tidemark/status.json")))
	b.requireHeld(301, "--max-delete")
	b.requireHeld(301, "--max-delete")
	require.NoError(t, b.release())
	b.equal(s)
}

// The same if .tidemark was removed under a running mirror.
func TestAHoldOutlivesItsMarker(t *testing.T) {
	s, b := replacedFiles(t)
	b.start()
	held := func() bool {
		text, err := os.ReadFile(b.path(".tidemark/held"))
		return err == nil && strings.Count(string(text), "\n") == 2
	}
	require.True(t, assertEventually(held))
	b.loseMarker()
	s.change("n = new")
	require.True(t, assertEventually(held))
	require.Equal(t, "7", b.read("a/007"))
}

// A marker was renamed under a running mirror, which still took it for its own: it wrote its
// status there, and nothing in the copy said what is held.
func TestAHoldOutlivesARenamedMarker(t *testing.T) {
	s, b := replacedFiles(t)
	b.start()
	held := func() bool {
		text, err := os.ReadFile(b.path(".tidemark/held"))
		return err == nil && strings.Count(string(text), "\n") == 2
	}
	require.True(t, assertEventually(held))
	require.NoError(t, os.Rename(b.path(".tidemark"), filepath.Join(t.TempDir(), "elsewhere")))
	s.change("n = new")
	require.True(t, assertEventually(held))
	require.Equal(t, "7", b.read("a/007"))
}

// If every pass is a full walk, deletions shortly before the last one count as a share of the
// entries before them.
func TestPassesThatAreFullWalks(t *testing.T) {
	var lines []string
	for i := range 10 {
		lines = append(lines, many(fmt.Sprint("d", i), 39)...)
	}
	s := newTree(t, lines...)
	b := newBench(t, s.root)
	b.equal(s)
	for i := range 5 {
		s.remove(fmt.Sprint("d", i))
		b.equal(s)
	}
	s.remove("d5")
	b.requireHeld(40, "40 of 400 entries would go, 200 went")
}

// A copy of another tree lay in a directory of the copy, and was deleted with the first change.
// What the source lists does not matter, however deep that copy lies.
func TestACopyInACopyIsNotDeleted(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "gone/f = x", "gone/deep/er/f = x", "also = x")
	b.equal(s)
	inner := watched(t, "b/g = y")
	for _, at := range []string{"other", "gone/deep/er/copy"} {
		within := newBench(t, inner.root)
		within.config.Dest = b.path(at)
		within.equal(inner)
	}
	testtree.Make(t, b.config.Dest, "junk/f = x")
	s.remove("gone")
	s.remove("also")
	for range 2 {
		err := b.once()
		require.Equal(t, exit.Held, exit.Of(err), "%v", err)
		require.Contains(t, b.printStatus(), "held: 11\nheld because: "+replica.WhyTree+"\n")
		require.Equal(t, "y", b.read("other/b/g"))
		require.Equal(t, "y", b.read("gone/deep/er/copy/b/g"))
		require.NoFileExists(t, b.path("also"), "others go on")
		require.NoDirExists(t, b.path("junk"))
	}

	// Its entries are just as safe if the source has a directory with that name.
	s.change("other/f = x")
	require.Equal(t, exit.Held, exit.Of(b.once()))
	require.Equal(t, "y", b.read("other/b/g"))
	require.NoError(t, b.release())
	require.NoDirExists(t, b.path("gone"))
	require.NoDirExists(t, b.path("other/b"))
}

// The same if a file takes the place of the directory that it lies in.
func TestACopyInACopyIsNotReplaced(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "c/f = x")
	b.equal(s)
	testtree.Make(t, b.config.Dest, "a/deep/.tidemark/tree = whatever", "c/deep/.tidemark/tree = whatever")
	require.NoError(t, os.RemoveAll(s.path("a")))
	require.NoError(t, os.RemoveAll(s.path("c")))
	s.change("a = a file", "c -> a")
	for range 2 {
		require.Equal(t, exit.Held, exit.Of(b.once()))
		require.FileExists(t, b.path("a/deep/.tidemark/tree"))
		require.FileExists(t, b.path("c/deep/.tidemark/tree"))
	}
	require.NoError(t, b.release())
	b.equal(s)
}

// Deletions that are held for several reasons are all released, with and without a running
// mirror.
func TestAReleaseOfSeveralReasons(t *testing.T) {
	for _, running := range []bool{false, true} {
		s, b := overHTTP(t, append(append(many("a", 150), many("disk", 20)...), "b/f = x", "c = x")...)
		b.equal(s)
		testtree.Make(t, b.config.Dest, "b/inner/.tidemark/tree = another", "b/inner/f = x")
		require.NoError(t, os.RemoveAll(s.path("a")))
		require.NoError(t, os.RemoveAll(s.path("disk")))
		s.change("b/f = changed", "disk/", "n = new")
		require.Equal(t, exit.Held, exit.Of(b.once()))
		status := b.printStatus()
		require.Contains(t, status, "held: 173\n")
		for _, why := range []string{replica.WhyTree, replica.WhyEmptied, "151 of 175 entries would go, --max-delete is 50%"} {
			require.Contains(t, status, "held because: "+why+"\n")
		}
		if running {
			b.start()
		}
		require.NoError(t, b.release())
		require.Contains(t, b.out.String(), "deleted 173, held 0")
		if running {
			b.eventually(s)
		} else {
			b.equal(s)
		}
	}
}

// A release of other deletions does not destroy a tree that was put there since.
func TestAReleaseSparesANewTree(t *testing.T) {
	s, b := overHTTP(t, append(many("a/deep", 150), "c = x")...)
	b.equal(s)
	s.remove("a")
	b.requireHeld(152, "--max-delete")
	testtree.Make(t, b.config.Dest, "a/deep/.tidemark/tree = whatever")
	require.NoError(t, b.release())
	require.Contains(t, b.out.String(), "deleted 0, held 0")
	require.FileExists(t, b.path("a/deep/.tidemark/tree"))
	require.Equal(t, exit.Held, exit.Of(b.once()))
}

// A tree that could not be deleted lost its name, and the mirror ended at every later start. It
// gets its name back and is a failure.
func TestADeletionThatCannotBeFinished(t *testing.T) {
	for _, filters := range [][]string{nil, {"- *.local"}} {
		s, b := overHTTP(t, "gone/a/f = x", "gone/b/f = x", "gone/c = x", "f = y", "g = z")
		b.config.Filters = filters
		b.equal(s)
		s.remove("gone")
		s.remove("g")
		s.change("f = changed")
		b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/f" {
				testtree.Make(t, b.config.Dest, "gone/b/.tidemark/tree = came in between")
			}
			return false
		})
		require.Equal(t, exit.Local, exit.Of(b.once()))
		require.Contains(t, b.out.String(), "deleted 4, held 0, skipped 0, failed 1,")
		require.Equal(t, "x", b.read("gone/b/f"))
		require.NoFileExists(t, b.path("gone/c"))
		require.NoFileExists(t, b.path("g"))
		require.Equal(t, exit.Held, exit.Of(b.once()))
		require.NoError(t, b.release())
		b.equal(s)
	}
}

// What an older mirror left of such a deletion is reported, and prevents nothing.
func TestWhatCannotBeSweptStays(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "b/f = x")
	b.equal(s)
	testtree.Make(t, b.config.Dest, ".tidemark/tmp/1/b/.tidemark/tree = theirs", ".tidemark/tmp/2/f = ours")
	s.remove("a")
	require.NoError(t, os.RemoveAll(s.path("b")))
	s.change("b = a file")
	b.equal(s)
	require.FileExists(t, b.path(".tidemark/tmp/1/b/.tidemark/tree"))
	require.NoDirExists(t, b.path(".tidemark/tmp/2"))
}

// If a symlink was not copied, what had its name before stayed for ever, and --status and
// --verify said that all was equal.
func TestWhatHadTheNameOfASkippedSymlink(t *testing.T) {
	s, b := overHTTP(t, append(many("d", 20), "f = x", "sub/l -> f", "sub/f = x", "keep = x")...)
	b.equal(s)
	require.NoError(t, os.RemoveAll(s.path("d")))
	require.NoError(t, os.Remove(s.path("f")))
	s.change("d -> /etc", "f -> ../../out")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "deleted 22, held 0, skipped 2,")
	require.NoDirExists(t, b.path("d"))
	require.NoFileExists(t, b.path("f"))
	require.Contains(t, b.printStatus(), "not copied: 2\n")
	b.requireIdle()
	b.config.NoLinks = true
	require.NoError(t, b.once())
	require.Contains(t, b.printStatus(), "not copied: 3\n")
	_, err := os.Lstat(b.path("sub/l"))
	require.ErrorIs(t, err, os.ErrNotExist)
	s.change("keep = changed")
	require.NoError(t, b.once())
	require.Contains(t, b.printStatus(), "not copied: 3\n")
	s.remove("sub")
	require.NoError(t, os.Remove(s.path("f")))
	s.change("f = a file again")
	require.NoError(t, b.once())
	require.Contains(t, b.printStatus(), "not copied: 1\n")
	require.NoDirExists(t, b.path("sub"))

	// The guard holds it: nothing else is here.
	s, b = overHTTP(t, many("d", 120)...)
	b.equal(s)
	require.NoError(t, os.RemoveAll(s.path("d")))
	s.change("d -> /etc")
	b.requireHeld(121, "the source's root is empty")
	require.Contains(t, b.printStatus(), "held: 121\n")
	b.config.NoDelete = true
	b.requireHeld(121, "the source's root is empty")
}

// An entry that a reader does not understand is left alone, whatever has its name.
func TestWhatIsNotUnderstoodIsKept(t *testing.T) {
	s, b := overHTTP(t, "d/f = x", "e/f = x")
	b.equal(s)
	s.change("e/f = changed")
	b.server.alter("/?txt", func(body string) string { return strings.Replace(body, " d/\t-", " d\t1\tX=1", 1) })
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	require.Equal(t, "x", b.read("d/f"))
	require.Equal(t, "changed", b.read("e/f"))
}

// A file was mounted over a name in the copy, so the name could not be made: that stopped all
// deletions beside it.
func TestALocalFailureStopsNoDeletions(t *testing.T) {
	s, b := overHTTP(t, "d/f = x", "d/gone = x", "d/sub/f = x")
	b.equal(s)
	theirs := filepath.Join(t.TempDir(), "theirs")
	require.NoError(t, os.WriteFile(theirs, nil, 0o644))
	for _, name := range []string{"d/f", "d/sub/f"} {
		require.NoError(t, syscall.Mount(theirs, b.path(name), "", syscall.MS_BIND, ""))
		t.Cleanup(func() { _ = syscall.Unmount(b.path(name), syscall.MNT_DETACH) })
	}
	s.change("d/f = changed", "d/sub/f = changed")
	s.remove("d/gone")
	require.Equal(t, exit.Local, exit.Of(b.once()))
	require.NoFileExists(t, b.path("d/gone"))
}

// A copy on a full disk never mended itself: deletions that would make room waited until
// everything was fetched. Small changes waited, too.
func TestAFullDiskIsMended(t *testing.T) {
	large := func(name string) string { return name + " = " + strings.Repeat(name, 3<<20) }
	s, b := overHTTP(t, large("a"), "d/f = x")
	at := t.TempDir()
	require.NoError(t, syscall.Mount("tidemark", at, "tmpfs", 0, "size=5m"))
	t.Cleanup(func() { _ = syscall.Unmount(at, syscall.MNT_DETACH) })
	b.config.Dest, b.config.Log = filepath.Join(at, "copy"), nil
	b.equal(s)
	s.remove("d")
	b.equal(s)
	require.NoError(t, os.Remove(s.path("a")))
	s.change(large("b")) // nothing else is in the root
	b.equal(s)
	s.change("d/f = x")
	b.equal(s)

	b.start()
	s.change(large("c")) // beside b, which stays
	require.True(t, assertEventually(func() bool { return strings.Contains(b.printStatus(), "no space left on device") }))
	for i := range 5 {
		text := fmt.Sprint("change ", i)
		s.change("d/f = " + text)
		require.True(t, assertEventually(func() bool { return b.read("d/f") == text }))
	}
	require.NoError(t, os.Remove(s.path("b")))
	s.publish("b")
	require.True(t, assertEventually(func() bool { // nothing else has b open: else it would keep its blocks
		_, err := os.Stat(b.path("c"))
		return err == nil
	}))
	b.eventually(s)
}

// The copy's .tidemark was removed, and then a walk fell due, here for other options of serve:
// every pass failed with ENOENT.
func TestTheMarkerIsGoneWhenAWalkIsDue(t *testing.T) {
	s, b := overHTTP(t, append(many("d", 120), "f = x")...)
	b.config.Filters = []string{"- *.local"}
	b.equal(s)
	testtree.Make(t, b.config.Dest, "d/mine.local = precious")
	b.start()
	require.True(t, assertEventually(func() bool { return b.stats.Passes.Load() > 1 }))
	b.loseMarker()
	s.epoch(2)
	s.change("f = changed")
	require.True(t, assertEventually(func() bool { return b.read("f") == "changed" }))
	require.True(t, assertEventually(func() bool { return b.status().State == wire.Mirrored }))

	// The new one obeys the filters, and remembers what was counted.
	require.NoError(t, os.Rename(s.path("d"), filepath.Join(t.TempDir(), "d"))) // at once: the walk may be under way
	s.change("g = new")
	require.True(t, assertEventually(func() bool { return strings.Contains(b.printStatus(), "held: 120\n") }))
	require.NoError(t, b.release())
	require.Equal(t, "precious", b.read("d/mine.local"))
	require.NoFileExists(t, b.path("d/007"))
}
