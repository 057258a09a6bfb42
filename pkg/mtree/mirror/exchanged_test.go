package mirror

import (
	"context"
	"iter"
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
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// Twins are directories whose files have equal names, sizes and times, but other bytes.
// When they are exchanged, only their ids and the ctimes of their files show it.

// exchange gives each of two directories the other's name, and publishes nothing.
func (s *tree) exchange(a, b string) {
	s.t.Helper()
	aside := filepath.Join(s.t.TempDir(), "aside")
	require.NoError(s.t, os.Rename(s.path(a), aside))
	require.NoError(s.t, os.Rename(s.path(b), s.path(a)))
	require.NoError(s.t, os.Rename(aside, s.path(b)))
}

// apart gives the files of twins different ctimes: files that are written within one tick
// of the clock may have the same.
func (s *tree) apart(a, b string) {
	s.t.Helper()
	ctime := func(path string) syscall.Timespec {
		var st syscall.Stat_t
		require.NoError(s.t, syscall.Lstat(s.path(path), &st))
		return st.Ctim
	}
	require.Eventually(s.t, func() bool {
		require.NoError(s.t, os.Chmod(s.path(b), 0o644))
		return ctime(a) != ctime(b)
	}, time.Minute, time.Millisecond)
}

// exchanging is a source that exchanges two directories of its tree before it is first
// asked for files or sums, and again after that. Its listings say that it is an hour later,
// so the ctimes of all files are old and the ctime rule finds nothing.
type exchanging struct {
	origin
	swap func() // exchanges them; nil: not, or no longer
}

func (e *exchanging) Root(ctx context.Context, poll source.Poll) (source.Root, error) {
	root, err := e.origin.Root(ctx, poll)
	root.Now = root.Now.Add(time.Hour)
	return root, err
}

func (e *exchanging) List(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	l, err := e.origin.List(ctx, path, least)
	l.Now = l.Now.Add(time.Hour)
	return l, err
}

func (e *exchanging) Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File] {
	return func(yield func(int, source.File) bool) {
		defer e.exchange()()
		e.origin.Fetch(ctx, want)(yield)
	}
}

func (e *exchanging) Sums(ctx context.Context, paths []string) (map[string]source.Sum, error) {
	defer e.exchange()()
	return e.origin.Sums(ctx, paths)
}

func (e *exchanging) exchange() (back func()) {
	swap := e.swap
	if e.swap = nil; swap == nil {
		return func() {}
	}
	swap()
	return swap
}

// passWith runs a pass, one step at a time, from a source that exchanges two directories.
func (b *bench) passWith(s *tree, twins ...string) *pass.Result {
	b.t.Helper()
	return b.passFrom(func(o origin) origin {
		e := &exchanging{origin: o}
		if len(twins) == 2 {
			e.swap = func() { s.exchange(twins[0], twins[1]) }
		}
		return e
	})
}

// passFrom runs a pass, one step at a time, from what wrap makes of the source.
func (b *bench) passFrom(wrap func(origin) origin) *pass.Result {
	b.t.Helper()
	b.config.Jobs = 1
	m, err := open(b.config)
	require.NoError(b.t, err)
	defer m.close()
	m.source = wrap(m.source)
	p, err := m.once(context.Background())
	require.NoError(b.t, err)
	return p
}

// A directory that could not be listed in the first pass got a record without `now` and
// id. The record stayed while the next pass filled the directory, which was incomplete
// again: files that then changed with equal size and mtime were not compared by sums.
func TestFilledAfterItCouldNotBeListed(t *testing.T) {
	s := watched(t, "a/f = one @1000000000", "a/g/h = x")
	s.state(wire.Degraded) // each pass is a full walk
	b := s.benchOverHTTP()
	b.server.answer("/a/?txt", http.StatusInternalServerError, "")
	require.Error(t, b.once())
	b.server.answer("/a/g/?txt", http.StatusInternalServerError, "")
	require.Error(t, b.once())
	require.Equal(t, "one", b.read("a/f"))
	s.forge("a/f", "two")
	s.publish("a/f")
	b.server.interfere(nil)
	b.equal(s)
	require.Equal(t, "two", b.read("a/f"))
}

// Such a record, written by an earlier version, proves nothing about the files.
func TestBegunByAnEarlierVersion(t *testing.T) {
	s, b := overHTTP(t, "a/f = one @1000000000")
	b.equal(s)
	require.NoError(t, syscall.Setxattr(b.path("a"), "user.tidemark", []byte(mtree.MinStamp.String()+" 0.000000000 -"), 0))
	s.forge("a/f", "two")
	s.publish("a/f")
	b.equal(s)
	require.Equal(t, "two", b.read("a/f"))
}

// The twin of a directory came and went between passes that did not complete it: the
// record kept the id of the first directory, and the files were those of the second.
func TestATwinThatCameAndWent(t *testing.T) {
	s, b := overHTTP(t, "a/f = one @1000000000", "a/g/h = x", "b/f = two @1000000000", "b/g/h = x")
	require.True(t, b.passWith(s).Complete)
	s.exchange("a", "b")
	s.publish("a/f")
	b.server.answer("/a/g/?txt", http.StatusInternalServerError, "")
	require.False(t, b.passWith(s).Complete)
	require.Equal(t, "two", b.read("a/f"))
	b.server.interfere(nil)
	s.exchange("a", "b")
	s.publish("a/f")
	s.publish("b/f")
	require.True(t, b.passWith(s).Complete)
	b.same(s)
	require.Equal(t, "one", b.read("a/f"))
}

// A twin had the name between listing and fetch. Its files were stored with their own
// times, which equal those that were listed: the next pass took them for the files of the
// directory that had the name again.
func TestExchangedWhileFilesAreFetched(t *testing.T) {
	for name, files := range map[string][]string{"one": {"f"}, "several": {"f", "g"}} {
		t.Run(name, func(t *testing.T) {
			eachSource(t, func(t *testing.T, s *tree, b *bench) {
				for _, f := range files {
					testtree.Make(t, s.root, "a/"+f+" = one @1000000000", "b/"+f+" = two @1000000000")
					s.apart("a/"+f, "b/"+f)
				}
				s.publish("a/f")
				s.publish("b/f")
				require.False(t, b.passWith(s, "a", "b").Complete)
				require.True(t, b.passWith(s).Complete)
				b.same(s)
			})
		})
	}
}

// The copy has the files of a twin, and the twin has the name again while sums are made:
// the sums agreed, and the directory was completed as the one that was listed.
func TestExchangedWhileSumsAreMade(t *testing.T) {
	test := func(t *testing.T, s *tree, b *bench) {
		s.apart("a/f", "b/f")
		require.True(t, b.passWith(s).Complete)
		s.exchange("a", "b")
		s.publish("a/f")
		s.publish("b/f")
		b.passWith(s, "a", "b")
		require.True(t, b.passWith(s).Complete)
		b.same(s)
	}
	lines := []string{"a/f = one @1000000000", "b/f = two @1000000000"}
	eachSource(t, test, lines...)
	t.Run("no POST", func(t *testing.T) {
		s, b := overHTTP(t, lines...)
		b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
			return r.Method == http.MethodPost
		})
		test(t, s, b)
	})
}

// A large file was taken over because the twin of its directory has those bytes.
func TestExchangedWhileAFileIsTakenOver(t *testing.T) {
	one, two := strings.Repeat("1", 100_000), strings.Repeat("2", 100_000)
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		require.True(t, b.passWith(s).Complete)
		testtree.Make(t, s.root, "a/big = "+one+" @1000000000", "b/big = "+two+" @1000000000")
		s.apart("a/big", "b/big")
		s.publish("a/big")
		s.publish("b/big")
		s.remove("had")
		b.passWith(s, "a", "b")
		require.True(t, b.passWith(s).Complete)
		b.same(s)
	}, "had/one = "+one+" @1000000000", "had/two = "+two+" @1000000000", "a/x = x", "b/x = x")
}

// A server that does not know &tags sends sums without tags: these count, too.
func TestSumsOfAnEarlierServer(t *testing.T) {
	s, b := overHTTP(t, "a/f = one @1000000000", "a/g = x")
	b.equal(s)
	s.forge("a/f", "two")
	require.NoError(t, os.Chmod(s.path("a/g"), 0o640))
	s.publish("a/f")
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		r.URL.RawQuery = strings.TrimSuffix(r.URL.RawQuery, "&tags")
		return false
	})
	b.equal(s)
	require.Contains(t, b.out.String(), "fetched 1 files")
}

// A source without ids was copied, two of its directories were exchanged, and then watch
// gave it ids. The records had none, so the twins were taken for what had been copied.
func TestExchangedBeforeThereWereIDs(t *testing.T) {
	s := newTree(t, "a/f = one @1000000000", "b/f = two @1000000000", "a/ @1000000000", "b/ @1000000000")
	benches := []*bench{newBench(t, s.root), s.benchOverHTTP()}
	for _, b := range benches {
		require.True(t, b.passWith(s).Complete)
	}
	s.exchange("a", "b")
	s.watch()
	benches[1].server.reopen(serve.Config{Root: s.root, Hidden: true})
	for _, b := range benches {
		require.True(t, b.passWith(s).Complete)
		b.same(s)
	}
}
