package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/links"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/serve"
)

// linked names which files below root are one: "a/f=b/g c/h=d/i".
func linked(t testing.TB, root string) string {
	t.Helper()
	return namesBelow(t, root, 2)
}

// namesBelow names the files below root that have that many names there, or more.
func namesBelow(t testing.TB, root string, least int) string {
	t.Helper()
	byNode := map[uint64][]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Name() == mtree.MarkerName {
			return fs.SkipDir
		}
		if e.Type().IsRegular() {
			info, err := e.Info()
			require.NoError(t, err)
			name, err := filepath.Rel(root, path)
			require.NoError(t, err)
			ino := info.Sys().(*syscall.Stat_t).Ino
			byNode[ino] = append(byNode[ino], name)
		}
		return nil
	}))
	var groups []string
	for _, names := range byNode {
		if len(names) >= least {
			slices.Sort(names)
			groups = append(groups, strings.Join(names, "="))
		}
	}
	slices.Sort(groups)
	return strings.Join(groups, " ")
}

// link gives a file of the source other names, and publishes them.
func (s *tree) link(from string, names ...string) {
	s.t.Helper()
	for _, name := range names {
		_ = os.MkdirAll(filepath.Dir(s.path(name)), 0o755)
		_ = os.Remove(s.path(name))
		require.NoError(s.t, os.Link(s.path(from), s.path(name)))
		s.publish(name)
	}
}

// equalLinks runs Once and requires the same files, with the same names.
func (b *bench) equalLinks(s *tree) {
	b.t.Helper()
	b.equal(s)
	require.Equal(b.t, linked(b.t, s.root), linked(b.t, b.config.Dest))
}

// idle requires that another pass does nothing.
func (b *bench) idle() {
	b.t.Helper()
	require.NoError(b.t, b.once())
	require.Contains(b.t, b.out.String(), "listed 0 directories")
}

// eachLinked runs a test for a server and for a directory: a/f, b/g and c/h are one file.
func eachLinked(t *testing.T, test func(t *testing.T, s *tree, b *bench)) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		s.link("a/f", "b/g", "c/h")
		b.config.HardLinks = true
		test(t, s, b)
	}, "a/f = one", "c/solo = x")
}

// What is one file at the source is fetched once, and one file in the copy, in the first pass, in later
// ones and after the names changed.
func TestHardLinks(t *testing.T) {
	eachLinked(t, func(t *testing.T, s *tree, b *bench) {
		b.equalLinks(s)
		require.Contains(t, b.out.String(), "fetched 2 files (4 bytes)")
		b.idle()
		require.NoError(t, os.Rename(s.path("a"), s.path("moved")))
		s.publish("moved")
		b.equalLinks(s)
		require.Contains(t, b.out.String(), "fetched 0 files")
		b.idle()
	})
}

// Without the option, and from a server that says nothing of links, all names are files of their own.
func TestWithoutHardLinks(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	s.link("a/f", "b/g")
	b.equal(s)
	require.Empty(t, linked(t, b.config.Dest))
	b.config.HardLinks = true
	b.server.interfere(nil)
	b.server.alter("/a/?txt", func(body string) string {
		at := strings.Index(body, "\tsame=")
		return body[:at] + body[at+len("\tsame=0123456789abcdef"):]
	})
	b.equal(s)
	require.Empty(t, linked(t, b.config.Dest))
	b.server.interfere(nil)
	s.publish("a")
	b.equalLinks(s)
	b.config.HardLinks = false
	b.equal(s)
	require.Equal(t, "a/f=b/g", linked(t, b.config.Dest), "they have the right bytes")
	require.NoFileExists(t, b.path(".tidemark/links"))
	require.NoError(t, os.Chmod(s.path("a/f"), 0o600))
	s.publish("a/f")
	require.NoError(t, b.once())
	require.Empty(t, linked(t, b.config.Dest))
}

// A name that comes later is linked, after a restart, too. If its file has another ctime by then, sums
// decide.
func TestLinksAcrossPasses(t *testing.T) {
	eachLinked(t, func(t *testing.T, s *tree, b *bench) {
		b.equalLinks(s)
		s.link("a/f", "c/new", "d/e/new")
		b.equalLinks(s)
		require.Contains(t, b.out.String(), "fetched 0 files")
		b.idle()

		s.forge("a/f", "two") // and no ctime tells which name it was
		s.link("a/f", "c/newer")
		b.equalLinks(s)
		require.Equal(t, "two", b.read("c/newer"))
		b.idle()

		require.NoError(t, os.WriteFile(b.path(".tidemark/"+links.Name), []byte("nonsense"), 0o644))
		s.link("a/f", "c/last")
		require.NoError(t, b.once())
		require.Equal(t, "two", b.read("c/last"))
		b.config.NoLinks = true // a full walk
		b.equalLinks(s)
		b.idle()
	})
}

// A change through one name reaches the others, although nobody hears it there.
func TestTheOtherNameFollows(t *testing.T) {
	eachLinked(t, func(t *testing.T, s *tree, b *bench) {
		b.equalLinks(s)
		for _, text := range []string{"grown", "again and again"} {
			require.NoError(t, os.WriteFile(s.path("b/g"), []byte(text), 0o644))
			s.publish("b/g")
			b.equalLinks(s)
			require.Contains(t, b.out.String(), "fetched 1 files")
			b.idle()
		}
		s.remove("b/g")
		require.NoError(t, os.WriteFile(s.path("a/f"), []byte("two names"), 0o644))
		s.publish("a/f")
		b.equalLinks(s)
		b.idle()
	})
}

// Names of one file that take the place of directories become one file in the next pass. They stayed files of
// their own until the next full walk.
func TestALinkInThePlaceOfADirectory(t *testing.T) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		b.config.HardLinks = true
		for _, dir := range []string{"", ".tidemark/backup"} {
			b.config.BackupDir = dir
			b.equal(s)
			for _, names := range [][]string{{"x/a", "y/c"}, {"x/d", "x/e"}} {
				require.NoError(t, os.RemoveAll(s.path(names[0])))
				require.NoError(t, os.WriteFile(s.path(names[0]), []byte(names[0]), 0o644))
				s.link(names[0], names[1])
				s.publish(names[0])
			}
			require.NoError(t, b.once())
			b.equalLinks(s)
			b.idle()
			for _, name := range []string{"x/a", "x/d"} {
				s.remove(name)
				require.NoError(t, os.Mkdir(s.path(name), 0o755))
				s.publish(name)
			}
		}
	}, "x/a/f = one", "x/d/f = two", "y/other = x")
}

// So it does in a mirror that runs, from a serve that has the other directory in memory as it was.
func TestTheOtherNameIsListedAnew(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	s.link("a/f", "b/g")
	b.config.HardLinks = true
	b.equalLinks(s)
	before := b.server.recorded("/a/?txt") // as a cache has it
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Cache-Control") == "no-cache" || keyOf(r) != "/a/?txt" {
			return false
		}
		for key, values := range before.Header() {
			w.Header()[key] = values
		}
		_, _ = w.Write(before.Body.Bytes())
		return true
	})
	require.NoError(t, os.WriteFile(s.path("b/g"), []byte("grown"), 0o644))
	s.publish("b/g")
	b.equalLinks(s)
	b.config.Interval = 10 * time.Millisecond
	b.start()
	for i := range 3 {
		require.NoError(t, os.WriteFile(s.path("b/g"), fmt.Appendf(nil, "text %d", i), 0o644))
		s.publish("b/g")
		b.eventually(s)
		require.True(t, assertEventually(func() bool { return linked(t, b.config.Dest) == "a/f=b/g" }))
	}
}

// A link that is taken apart at the source comes apart in the copy, and others come together.
func TestALinkThatIsTakenApart(t *testing.T) {
	eachLinked(t, func(t *testing.T, s *tree, b *bench) {
		s.link("a/f", "d/i")
		b.equalLinks(s)
		apart := func(name string) {
			text, err := os.ReadFile(s.path(name))
			require.NoError(t, err)
			info, err := os.Stat(s.path(name))
			require.NoError(t, err)
			require.NoError(t, os.Remove(s.path(name)))
			require.NoError(t, os.WriteFile(s.path(name), text, info.Mode()))
			require.NoError(t, os.Chtimes(s.path(name), time.Time{}, info.ModTime()))
			s.publish(name)
		}
		apart("a/f")
		b.equalLinks(s)
		require.Equal(t, "b/g=c/h=d/i", linked(t, b.config.Dest))
		require.Contains(t, b.out.String(), "fetched 0 files", "its bytes are here")
		b.idle()
		s.link("a/f", "d/i")
		s.publish("a") // nobody hears there that it is no longer the only name
		b.equalLinks(s)
		require.Equal(t, "a/f=d/i b/g=c/h", linked(t, b.config.Dest))
		b.idle()
		s.link("c/h", "a/f", "d/i")
		b.equalLinks(s)
		b.idle()
		apart("b/g")
		apart("c/h")
		b.ageCTimes("a", "b", "c", "d")
		s.publish("b")
		s.publish("c")
		b.equalLinks(s)
		b.idle()
	})
}

// A copy that had separate files gets links when the option comes, whether its files are compared by
// sums or not.
func TestLinksOfFilesThatAreCompared(t *testing.T) {
	for _, sums := range []bool{true, false} {
		eachLinked(t, func(t *testing.T, s *tree, b *bench) {
			b.config.HardLinks = false
			b.equal(s)
			require.Empty(t, linked(t, b.config.Dest))
			if !sums {
				b.ageCTimes("", "a", "b", "c")
			}
			b.config.HardLinks = true
			b.equalLinks(s)
			require.Contains(t, b.out.String(), "fetched 0 files")
			b.idle()
		})
	}
}

// A mode reaches all names. Another link to the copy's file, in somebody's snapshot, keeps everything.
func TestModeOfLinkedNames(t *testing.T) {
	eachLinked(t, func(t *testing.T, s *tree, b *bench) {
		b.equalLinks(s)
		snapshot := filepath.Join(t.TempDir(), "snapshot")
		require.NoError(t, os.Link(b.path("a/f"), snapshot))
		require.NoError(t, os.Chmod(s.path("b/g"), 0o600))
		s.publish("b/g")
		b.equalLinks(s)
		require.Contains(t, b.out.String(), "fetched 0 files")
		info, err := os.Stat(snapshot)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o644), info.Mode())
		b.idle()
		b.config.Chmod = []string{"F640"}
		require.NoError(t, b.once())
		require.Equal(t, linked(t, s.root), linked(t, b.config.Dest))
		for _, name := range []string{"a/f", "b/g", "c/h"} {
			info, err := os.Stat(b.path(name))
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o640), info.Mode())
		}
		b.idle()
	})
}

// Nothing is linked to what is in another copy that lies in this one, nor to what is excluded.
func TestNothingIsLinkedInANestedCopy(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	s.link("a/f", "b/g", "n/h")
	b.equal(s)
	require.NoError(t, os.Mkdir(b.path("n/.tidemark"), 0o755))
	b.config.HardLinks = true
	require.NoError(t, b.once())
	require.Equal(t, "a/f=b/g", linked(t, b.config.Dest))
	s.link("a/f", "n/new")
	require.NoError(t, b.once())
	require.Equal(t, "one", b.read("n/new"))
	require.Equal(t, "a/f=b/g", linked(t, b.config.Dest))
	s.link("n/h", "c/last")
	require.NoError(t, b.once())
	require.Equal(t, "a/f=b/g=c/last", linked(t, b.config.Dest))
}

func TestNothingIsLinkedToWhatIsExcluded(t *testing.T) {
	eachLinked(t, func(t *testing.T, s *tree, b *bench) {
		b.config.Jobs = 1
		b.equalLinks(s)
		index, err := os.ReadFile(b.path(".tidemark/" + links.Name))
		require.NoError(t, err)
		lines := strings.Split(strings.TrimSpace(string(index)), "\n")
		newest := strings.Fields(lines[len(lines)-1])[7]
		b.config.Filters = []string{"- /" + newest}
		s.link("a/f", "d/new")
		require.NoError(t, b.once())
		require.Equal(t, "one", b.read("d/new"))
		for _, group := range strings.Fields(linked(t, b.config.Dest)) {
			require.False(t, strings.Contains(group, newest) && strings.Contains(group, "d/new"), group)
		}
	})
}

// Somebody wrote to a file in the copy, and size and time tell nothing. Its ctime does: sums decide.
func TestAFileThatWasTouchedInTheCopy(t *testing.T) {
	eachLinked(t, func(t *testing.T, s *tree, b *bench) {
		b.equalLinks(s)
		info, err := os.Stat(b.path("a/f"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(b.path("a/f"), []byte("own"), 0o644))
		require.NoError(t, os.Chtimes(b.path("a/f"), time.Time{}, info.ModTime()))
		require.NoError(t, os.Rename(s.path("a"), s.path("moved"))) // the file's ctime stays
		s.publish("moved")
		b.equalLinks(s)
		s.link("b/g", "d/new")
		b.equalLinks(s)
		for _, name := range []string{"moved/f", "b/g", "c/h", "d/new"} {
			require.Equal(t, "one", b.read(name), "the others were linked to the one that was fetched")
		}
	})
}

// A server that gives files of different sizes and times one id.
func TestASameThatLies(t *testing.T) {
	s, b := overHTTP(t, "d/a = one", "d/b = other", "d/c = two", "d/e = one @1000000000")
	b.config.HardLinks = true
	b.server.alter("/d/?txt", func(body string) string {
		listing, err := mtree.ParseListing([]byte(body))
		require.NoError(t, err)
		for i := range listing.Entries {
			listing.Entries[i].Has |= mtree.HasSame
			listing.Entries[i].Same = 7
		}
		return string(mtree.FormatListing(listing))
	})
	for range 3 {
		b.equal(s)
		require.Empty(t, linked(t, b.config.Dest))
	}
	b.config.Filters = []string{"- none"} // a full walk
	b.equal(s)
	b.server.alter("/d/?txt", func(body string) string { return strings.Replace(body, "\tctime=", "\tsame=../x\tctime=", 1) })
	s.publish("d")
	require.ErrorContains(t, b.once(), "is not 16 hex digits")
}

// After the source's clock was set back, a later version has an earlier ctime.
func TestLinksAfterAnotherEpoch(t *testing.T) {
	eachLinked(t, func(t *testing.T, s *tree, b *bench) {
		b.equalLinks(s)
		index := b.path(".tidemark/" + links.Name)
		text, err := os.ReadFile(index)
		require.NoError(t, err)
		s.epoch(2)
		s.publish("a")
		b.equalLinks(s)
		now, err := os.ReadFile(index)
		require.NoError(t, err)
		require.NotContains(t, string(now), string(text))
		b.idle()
	})
}

// After a flush that failed nothing of what came with it is linked to.
func TestAFailedFlushForgetsLinks(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	s.link("a/f", "b/g")
	b.config.HardLinks = true
	b.equalLinks(s)
	s.link("a/f", "c/h")
	c := b.config
	c.Log = testLog(t)
	m, err := open(c)
	require.NoError(t, err)
	defer m.close()
	m.replica.Flush = func() error { return errors.New("no") }
	root, err := m.source.Root(context.Background(), source.Poll{})
	require.NoError(t, err)
	for i := range 30 {
		s.change(fmt.Sprintf("c/many%d = x", i))
	}
	_, err = m.pass(context.Background(), root, false)
	require.ErrorContains(t, err, "flush")
	index, err := os.ReadFile(b.path(".tidemark/" + links.Name))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(index), "\n"))
}

// --verify --repair keeps the links of a copy.
func TestHardLinksAreRecalled(t *testing.T) {
	for range 5 {
		hardLinksAreRecalled(t)
	}
}

func hardLinksAreRecalled(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	s.link("a/f", "b/g", "c/h")
	b.config.HardLinks = true
	b.equalLinks(s)
	require.NoError(t, os.Remove(b.path("b/g")))
	require.NoError(t, Verify(t.Context(), Config{Dest: b.config.Dest, Log: b.config.Log, Out: &b.out}, true))
	require.Equal(t, "a/f=b/g=c/h", linked(t, b.config.Dest))
	b.idle()
}

// A copy of a copy has the links, and gets what was changed under one name.
func TestLinksInACopyOfACopy(t *testing.T) {
	s, b := overHTTP(t, "a/f = one", "c/solo = x")
	s.link("a/f", "b/g", "c/h")
	b.config.HardLinks = true
	b.equalLinks(s)
	second := newBench(t, b.config.Dest)
	second.config.HardLinks = true
	second.equalLinks(s)
	require.Contains(t, second.out.String(), "fetched 2 files")
	require.NoError(t, os.WriteFile(s.path("b/g"), []byte("grown"), 0o644))
	s.publish("b/g")
	b.equalLinks(s)
	second.equalLinks(s)
	second.idle()
}

// A copy of a copy looked at the first one while that had changed a file under one name and not linked the
// others to it yet: that name came apart from the others for good, and they kept the old bytes.
func TestTheOtherNameInACopyOfACopy(t *testing.T) {
	for name, during := range map[string]string{"before it looks at the others": "/last", "when it begins to": "/?txt"} {
		t.Run(name, func(t *testing.T) {
			s, b := overHTTP(t, "a/f = one", "c/solo = x", "last = 1")
			s.link("a/f", "b/g", "c/h")
			b.config.HardLinks, b.config.Last = true, []string{"/last"}
			b.equalLinks(s)
			second := copyOf(t, b)
			second.config.HardLinks = true
			second.equalLinks(s)
			s.change("c/more = x")
			b.equalLinks(s)

			s.change("last = 2")
			require.NoError(t, os.WriteFile(s.path("b/g"), []byte("grown"), 0o644))
			s.publish("b/g")
			looked := false
			b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
				if !looked && keyOf(r) == during && b.read("b/g") == "grown" {
					looked = true
					for range 2 {
						_ = second.once()
					}
					require.Equal(t, "grown", second.read("b/g"))
				}
				return false
			})
			b.equalLinks(s)
			require.True(t, looked)
			second.equalLinks(s)
			second.idle()
			require.NoError(t, os.WriteFile(s.path("a/f"), []byte("and again"), 0o644))
			s.publish("a/f")
			b.equalLinks(s)
			second.equalLinks(s)
		})
	}
}

// What a link takes the place of goes to the backup directory, as what is fetched does; a name that has the
// right bytes and is only linked anew does not.
func TestBackupOfLinkedNames(t *testing.T) {
	eachLinked(t, func(t *testing.T, s *tree, b *bench) {
		b.config.BackupDir = ".tidemark/backup"
		b.equalLinks(s)
		before := b.snapshot()
		name, others := "", []string(nil)
		for _, group := range strings.Fields(linked(t, s.root)) {
			others = strings.Split(group, "=")
			name = others[0]
		}
		require.NoError(t, os.WriteFile(s.path(name), []byte("written through one of its names"), 0o644))
		s.publish(name)
		b.equalLinks(s)
		b.keeps(before)
		b.kept(others...)
		require.NoError(t, os.Chmod(s.path(name), 0o600))
		s.publish(name)
		b.equalLinks(s)
		b.kept(others...)
	})
}

// A name gets another version and another mode than the name that it would be linked to: a copy of that takes its
// place, and what it had is in the backup.
func TestBackupOfLinkedModes(t *testing.T) {
	s, b := overHTTP(t, "a/f = one", "b/g = another")
	s.link("a/f", "c/h")
	b.config.HardLinks = true
	b.config.BackupDir = ".tidemark/backup"
	b.equalLinks(s)
	before := b.snapshot()
	s.link("a/f", "b/g")
	require.NoError(t, os.Chmod(s.path("b/g"), 0o600))
	s.publish("b/g")
	require.NoError(t, b.once())
	require.NoError(t, b.once())
	b.equalLinks(s)
	require.Contains(t, b.backups()["b/g"], before["b/g"])
}

// Names that are linked are told as names that are fetched, and their modes as other modes.
func TestPrintOfLinkedNames(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	s.link("a/f", "b/g")
	b.config.HardLinks = true
	require.Equal(t, []string{"create a/", "create a/f", "create b/", "create b/g"}, b.prints())
	require.NoError(t, os.WriteFile(s.path("a/f"), []byte("two two"), 0o644))
	s.publish("a/f")
	require.Equal(t, []string{"update a/f", "update b/g"}, b.prints())
	require.NoError(t, os.Chmod(s.path("b/g"), 0o600))
	s.publish("b/g")
	require.Equal(t, []string{"mode a/f", "mode b/g"}, b.prints())
}

// Another one of several sources has the tree on another disk, with other numbers for each file. Names in
// directories that change then may come apart from the others; the next full walk brings them together.
func TestLinksOfAnotherSource(t *testing.T) {
	s := watched(t, "a/f = one")
	s.link("a/f", "b/g", "c/h")
	one, two := newBench(t, serveTree(t, s.root).URL+"/"), newBench(t, serveTree(t, s.root).URL+"/")
	for _, b := range []*bench{one, two} {
		b.config.HardLinks = true
		b.equalLinks(s)
		b.startKept(s)
	}
	b := ofServed(t, one.config.Dest, two.config.Dest)
	b.config.HardLinks = true
	b.equalLinks(s)
	b.servers[0].away()
	s.link("a/f", "b/i")
	two.isKept(s)
	b.equal(s)
	b.at(30 * 24 * time.Hour)
	b.equal(s)
	b.equalLinks(s)
}

// Names that are linked count as files that are fetched do.
func TestProgressOfLinks(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	s.link("a/f", "b/g", "c/h", "c/i")
	b.config.HardLinks = true
	var last Progress
	b.config.Progress = func(p Progress) { last = p }
	b.equalLinks(s)
	require.Equal(t, last.Total, last.Finished)
	require.EqualValues(t, 4, last.Total.Files)
	require.EqualValues(t, 1000, last.Permill)
}

// The name of a file that was noted last had been deleted in the copy. It was fetched, though there were others.
func TestTheNewestNameIsGone(t *testing.T) {
	for _, gone := range []string{"a/f", "b/g", "c/h"} {
		s, b := overHTTP(t, "a/f = one")
		s.link("a/f", "b/g", "c/h")
		b.config.HardLinks = true
		b.equalLinks(s)
		require.NoError(t, os.Remove(b.path(gone)))
		s.change(filepath.Dir(gone) + "/new = x")
		b.equalLinks(s)
		require.Contains(t, b.out.String(), "fetched 1 files")
	}
}

// Bytes of the copy had changed under equal size and times. The names of the file were linked to each other, and
// --verify --repair said that it was mended.
func TestLinkedNamesWithWrongBytes(t *testing.T) {
	eachLinked(t, func(t *testing.T, s *tree, b *bench) {
		b.equalLinks(s)
		info, err := os.Stat(b.path("a/f"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(b.path("a/f"), []byte("own"), 0o644))
		require.NoError(t, os.Chtimes(b.path("a/f"), time.Time{}, info.ModTime()))
		r, err := replica.Open((&b.config).replicaOptions())
		require.NoError(t, err)
		f, ok := r.Links.Of("a/f")
		require.True(t, ok)
		dir, err := r.Dir("a")
		require.NoError(t, err)
		is, err := dir.Stat("f")
		require.NoError(t, err)
		require.NoError(t, dir.Close())
		f.Path, f.Kept = "a/f", is.CTime // as if no write had told of it
		r.Links.Note(f)
		r.Links.Commit(false)
		r.Close()
		require.NoError(t, Verify(t.Context(), Config{Dest: b.config.Dest, Log: b.config.Log, Out: &b.out}, true))
		require.Equal(t, "one", b.read("a/f"))
	})
}

// A release without a mirror removed the index of links, and what was written under one name did not reach the
// others.
func TestAReleaseKeepsTheIndexOfLinks(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "z/1 = x", "z/2 = x", "z/3 = x")
	s.link("a/f", "b/g")
	b.config.HardLinks = true
	b.config.MaxDelete = "1"
	b.equalLinks(s)
	s.remove("z")
	require.Error(t, b.once())
	require.NoError(t, b.release())
	require.FileExists(t, b.path(".tidemark/links"))
	s.link("a/f", "d/new")
	b.config.MaxDelete = "100%"
	b.equalLinks(s)
}

// The owners that a source lists, and that are not copied, took linked names apart when their bytes were compared.
func TestOwnersThatAreNotCopied(t *testing.T) {
	s, b := served(t, serve.Config{Owner: true}, "a/f = one")
	s.link("a/f", "b/g")
	require.NoError(t, os.Chown(s.path("a/f"), 1234, 1234))
	b.config.HardLinks = true
	require.NoError(t, b.once())
	s.change("a/x = x")
	require.NoError(t, b.once())
	require.Equal(t, "a/f=b/g", linked(t, b.config.Dest))
}

// The index of links was removed. A change through one name did not reach the others until the next full walk, which
// was not due for a week.
func TestALostIndexOfLinksIsMadeByAWalk(t *testing.T) {
	eachLinked(t, func(t *testing.T, s *tree, b *bench) {
		b.equalLinks(s)
		require.NoError(t, os.Remove(b.path(".tidemark/links")))
		require.NoError(t, b.once())
		require.Contains(t, b.out.String(), "listed 4 directories, fetched 0 files")
		require.NoError(t, os.WriteFile(s.path("b/g"), []byte("grown"), 0o644))
		s.publish("b/g")
		b.equalLinks(s)
		b.idle()
	})
}
