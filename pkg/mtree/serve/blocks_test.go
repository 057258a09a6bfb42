package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/wire"
)

// blocksSite publishes a directory; before is called each time that a file is about to be hashed.
type blocksSite struct {
	*Handler
	t      *testing.T
	before func()
}

func newBlocksSite(t *testing.T, c Config) *blocksSite {
	s := &blocksSite{t: t, before: func() {}}
	if c.Root = t.TempDir(); c.Now == nil {
		c.Now = func() mtree.Stamp { s.before(); return machine.Now() }
	}
	h, err := New(c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	s.Handler = h
	return s
}

func (s *blocksSite) path(name string) string { return s.cfg.Root + "/" + name }

// write makes a file of size random bytes, which changed a minute ago by its mtime.
func (s *blocksSite) write(name string, size int) []byte {
	text := make([]byte, size)
	for i := range text {
		text[i] = byte(rand.Uint32())
	}
	require.NoError(s.t, os.WriteFile(s.path(name), text, 0o644))
	return text
}

// ask posts lines, and returns the answer.
func (s *blocksSite) ask(target, lines string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, target, strings.NewReader(lines)))
	return w
}

// blocks asks for the blocks of one file, and reads the answer.
func (s *blocksSite) blocks(query, path string, block int64) wire.Blocks {
	of := wire.BlocksOf{Path: path, Block: block}
	w := s.ask("/?"+query, string(of.AppendLine(nil)))
	require.Equal(s.t, 200, w.Code, w.Body)
	b, err := wire.ReadBlocks(w.Body, of)
	require.NoError(s.t, err)
	return b
}

func sumsOf(text []byte, block int) (sums []wire.BlockSum) {
	for len(text) > 0 {
		n := min(block, len(text))
		sums = append(sums, sha256.Sum256(text[:n]))
		text = text[n:]
	}
	return sums
}

// POST ?blocks: the SHA-256 of each block, of the version that the first line names.
func TestBlocks(t *testing.T) {
	s := newBlocksSite(t, Config{})
	require.NoError(t, os.Mkdir(s.path("d"), 0o755))
	for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 1 << 20, 5<<20 - 1} {
		text := s.write("d/a b", size)
		for _, block := range []int64{64 << 10, 1 << 20, 4 << 20} {
			for _, query := range []string{wire.BlocksQuery, wire.HotBlocksQuery} {
				b := s.blocks(query, "d/a b", block)
				require.Equal(t, sumsOf(text, int(block)), b.Sums)
				require.False(t, b.Changed)
				_, info, err := s.tree.OpenRegular("d/a b")
				require.NoError(t, err)
				require.Equal(t, tagOf(info), b.Tag)
			}
		}
	}
	w := s.ask("/d/?blocks", "a%20b\t4194304\nnone\t65536\na%20b\t2097152\n")
	require.Equal(t, 200, w.Code)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, wire.BlocksType, w.Header().Get("Content-Type"))
	require.Regexp(t, `^\d+\.\d{9} 5242879 \d+\.\d{9} 4194304 a%20b\n([0-9a-f]{64}\n){2}\n\d+\.\d{9} 5242879 \d+\.\d{9} 2097152 a%20b\n([0-9a-f]{64}\n){3}\n$`, w.Body.String())
}

// What a listing does not show has no blocks, nor has what is no file, or is too large for the
// blocks that are asked for.
func TestWhatHasNoBlocks(t *testing.T) {
	s := newBlocksSite(t, Config{Exclude: []string{"/secret"}})
	for _, name := range []string{".hidden", "secret", "shown"} {
		s.write(name, 10)
	}
	require.NoError(t, os.Mkdir(s.path("dir"), 0o755))
	require.NoError(t, os.Symlink("shown", s.path("link")))
	require.NoError(t, os.WriteFile(s.path("vast"), nil, 0o644))
	require.NoError(t, os.Truncate(s.path("vast"), wire.MostBlockSums*wire.LeastBlock+1)) // a hole
	for _, name := range []string{".hidden", "secret", "dir", "link", "none", "dir/none", "vast"} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/?blocks", strings.NewReader(name+"\t65536\n"))
		func() {
			defer func() { require.Nil(t, recover(), name) }()
			s.ServeHTTP(w, r)
		}()
		cancel()
		require.Equal(t, 200, w.Code, name)
		require.Empty(t, w.Body.String(), name)
	}
	require.NotEmpty(t, s.ask("/?blocks", "shown\t65536\n").Body.String())
	for _, bad := range []string{"shown\n", "shown\t\n", "shown\t65535\n", "shown\t32768\n", "shown\t8388608\n", "shown\t-65536\n", "\t65536\n", "../shown\t65536\n", ".tidemark/tree\t65536\n"} {
		require.Equal(t, 400, s.ask("/?blocks", bad).Code, bad)
	}
	require.Equal(t, 413, s.ask("/?blocks", strings.Repeat("shown\t65536\n", wire.MaxPaths+1)).Code)
}

// If a file changes while it is hashed, its last line says so, and it ends there; with &hot it is
// hashed to its end.
func TestBlocksOfAFileThatChanges(t *testing.T) {
	s := newBlocksSite(t, Config{})
	text := s.write("log", 40<<20)
	opened := false
	s.before = func() {
		if !opened {
			return
		}
		f, err := os.OpenFile(s.path("log"), os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteString("more")
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	opened = true
	of := wire.BlocksOf{Path: "log", Block: 4 << 20}
	f, _, err := s.tree.OpenRegular("log")
	require.NoError(t, err)
	defer f.Close()
	strict := s.answer(false)
	_, changed := strict.hash(f, of.Block)
	require.True(t, changed)
	require.Equal(t, 1, bytes.Count(strict.body, []byte("\n")), "the rest is not hashed")
	hot := s.answer(true)
	f, _, err = s.tree.OpenRegular("log")
	require.NoError(t, err)
	defer f.Close()
	_, changed = hot.hash(f, of.Block)
	require.True(t, changed)
	var want []byte
	for _, sum := range sumsOf(text, 4<<20) {
		want = wire.AppendBlockSum(want, sum)
	}
	require.True(t, bytes.HasPrefix(hot.body, want))
	require.Empty(t, s.Handler.blocks.known, "these sums are of no version")
	opened = false
	require.NoError(t, os.Truncate(s.path("log"), 5<<20)) // f is the longer file as yet
	_, changed = s.answer(true).hash(f, of.Block)
	require.True(t, changed)
}

// answer returns an answer to nobody.
func (s *blocksSite) answer(hot bool) *blocksAnswer {
	w := httptest.NewRecorder()
	return &blocksAnswer{h: s.Handler, w: w, ctx: s.t.Context(), out: s.newSink(w, &reply{}), hot: hot, flushed: time.Now()}
}

// The sums of a version are kept, and are those of no other version.
func TestBlocksOfEachVersion(t *testing.T) {
	s := newBlocksSite(t, Config{})
	var now mtree.Stamp
	s.cfg.Now = func() mtree.Stamp { return now }
	text := s.write("f", 1<<20)
	at := time.Unix(1_000_000_000, 0)
	require.NoError(t, os.Chtimes(s.path("f"), at, at))
	_, info, err := s.tree.OpenRegular("f")
	require.NoError(t, err)

	now = info.CTime.Add(wire.ClockLag)
	require.Equal(t, sumsOf(text, 64<<10), s.blocks("blocks", "f", 64<<10).Sums)
	require.Zero(t, s.Handler.blocks.held, "a write that follows may have the same ctime")
	now = info.CTime.Add(time.Second)
	for range 2 {
		hashed := s.cfg.Stats.Sums.Load()
		require.Equal(t, sumsOf(text, 64<<10), s.blocks("blocks", "f", 64<<10).Sums)
		require.Equal(t, 16, s.Handler.blocks.held)
		require.LessOrEqual(t, s.cfg.Stats.Sums.Load(), hashed+1)
	}
	require.Equal(t, int64(2), s.cfg.Stats.Sums.Load())
	require.Equal(t, sumsOf(text, 1<<20), s.blocks("blocks", "f", 1<<20).Sums)

	require.Eventually(t, func() bool { // the ctime moves on by ticks
		text = s.write("f", 1<<20)
		require.NoError(t, os.Chtimes(s.path("f"), at, at))
		_, again, err := s.tree.OpenRegular("f")
		return err == nil && again.CTime != info.CTime
	}, 5*time.Second, time.Millisecond)
	require.Equal(t, sumsOf(text, 64<<10), s.blocks("blocks", "f", 64<<10).Sums, "another version of equal size and mtime")
}

// The sums in memory are bounded: the oldest go first.
func TestBlockCacheIsBounded(t *testing.T) {
	var c blockCache
	key := func(i int) blocksKey { return blocksKey{disk.Node{Ino: uint64(i)}, 1 << 16} }
	for i := range 10 {
		c.put(key(i), wire.FileTag{Size: 1}, make([]wire.BlockSum, mostBlocksKept))
		require.LessOrEqual(t, c.held, mostBlocksHeld)
	}
	require.Len(t, c.known, 4)
	require.Len(t, c.order, 4)
	require.Nil(t, c.get(key(5), wire.FileTag{Size: 1}))
	require.NotNil(t, c.get(key(6), wire.FileTag{Size: 1}))
	c.put(key(6), wire.FileTag{Size: 2}, make([]wire.BlockSum, 1))
	require.Nil(t, c.get(key(6), wire.FileTag{Size: 1}))
	require.Equal(t, 3*mostBlocksKept+1, c.held)
}

// slotWriter looks at each write whether a slot for hashing is taken.
type slotWriter struct {
	*httptest.ResponseRecorder
	h      *Handler
	writes int
	taken  int
}

func (w *slotWriter) Write(p []byte) (int, error) {
	w.writes++
	w.taken += len(w.h.hashing)
	return len(p), nil
}

// While the client reads, or does not, others can have their files hashed.
func TestASlowReaderOfBlocksKeepsNoSlot(t *testing.T) {
	s := newBlocksSite(t, Config{})
	require.NoError(t, os.WriteFile(s.path("hole"), nil, 0o644))
	require.NoError(t, os.Truncate(s.path("hole"), 256<<20))
	for range 2 { // hashed, then kept
		w := &slotWriter{ResponseRecorder: httptest.NewRecorder(), h: s.Handler}
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/?blocks", strings.NewReader("hole\t65536\n")))
		require.GreaterOrEqual(t, w.writes, 2)
		require.Zero(t, w.taken)
		require.Empty(t, s.hashing)
	}
}
