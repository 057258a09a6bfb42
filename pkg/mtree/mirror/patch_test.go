package mirror

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/serve"
)

const blockTest = 64 << 10 // bytes of a block of the files here, which are small

// noise returns random bytes.
func noise(size int) []byte {
	text := make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)})
	_, _ = random.Read(text)
	return text
}

// put writes a file of the source and publishes it.
func (s *tree) put(name string, text []byte) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.path(name), text, 0o644))
	s.publish(name)
}

func (s *tree) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.path(name))
	require.NoError(s.t, err)
	return string(text)
}

// patched is a copy that has the file log, in the version that text says, and a source that has it, too.
func patched(t *testing.T, text []byte) (*tree, *bench) {
	s := watched(t, "small = x")
	s.put("log", text)
	b := s.benchOverHTTP()
	b.equal(s)
	b.server.requests()
	return s, b
}

// fetched returns how many bytes the last pass fetched.
func (b *bench) fetched() (size int) {
	b.t.Helper()
	found := regexp.MustCompile(`fetched \d+ files \((\d+) bytes\)`).FindStringSubmatch(b.out.String())
	require.NotNil(b.t, found, b.out.String())
	size, err := strconv.Atoi(found[1])
	require.NoError(b.t, err)
	return size
}

// asked returns how many requests were sent for blocks, and for the file log.
func (b *bench) asked() (blocks, files int) {
	for _, r := range b.server.requests() {
		switch {
		case strings.HasPrefix(r, "POST /?blocks"):
			blocks++
		case r == "GET /log":
			files++
		}
	}
	return blocks, files
}

func edited(text []byte, edit func(text []byte) []byte) []byte { return edit(bytes.Clone(text)) }

// Of a large file that changed only what differs moves, whatever changed.
func TestPatchOfEveryShape(t *testing.T) {
	old := noise(6<<20 + 1000)
	flip := func(at ...int) func([]byte) []byte {
		return func(text []byte) []byte {
			for _, at := range at {
				text[at] ^= 1
			}
			return text
		}
	}
	grow := func(by int) func([]byte) []byte {
		return func(text []byte) []byte { return append(text, noise(by)...) }
	}
	for name, c := range map[string]struct {
		edit  func(text []byte) []byte
		moves int // bytes
	}{
		"grew by a byte":         {grow(1), 1},
		"grew":                   {grow(200_000), 200_000},
		"grew to a block's end":  {grow(blockTest - 1000), blockTest - 1000},
		"grew by much":           {grow(3 << 20), 3 << 20},
		"grew after a change":    {func(text []byte) []byte { return grow(100)(flip(len(text) - 1)(text)) }, 1100},
		"grew and changed":       {func(text []byte) []byte { return grow(100)(flip(0, 3<<20)(text)) }, 2*blockTest + 100},
		"the first byte":         {flip(0), blockTest},
		"the last byte":          {flip(len(old) - 1), 1000},
		"neighbours":             {flip(blockTest-1, blockTest), 2 * blockTest},
		"many places":            {flip(0, 2*blockTest, 4*blockTest, 7*blockTest, 90*blockTest), 5 * blockTest},
		"nothing but its date":   {flip(), 0},
		"shorter":                {func(text []byte) []byte { return text[:5<<20+1] }, 1},
		"shorter by blocks":      {func(text []byte) []byte { return text[:5<<20] }, 0},
		"shorter and changed":    {func(text []byte) []byte { return flip(0)(text[:5<<20]) }, blockTest},
		"another file":           {func(text []byte) []byte { return noise(5 << 20) }, 5 << 20},
		"zeros in the middle":    {func(text []byte) []byte { clear(text[1<<20 : 2<<20]); return text }, 1 << 20},
		"something put in front": {func(text []byte) []byte { return append([]byte("x"), text...) }, len(old) + 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := patched(t, old)
			s.put("log", edited(old, c.edit))
			b.equal(s)
			require.Equal(t, c.moves, b.fetched())
			b.requireIdle()
		})
	}
}

// A file that is small, or was, or that the copy does not have, is fetched whole, and so is one that
// took the place of something else.
func TestWhatIsNotPatched(t *testing.T) {
	for name, before := range map[string]string{"small": "log = x", "empty": "log =", "none": "other = x", "a directory": "log/a = x", "a symlink": "log -> other"} {
		t.Run(name, func(t *testing.T) {
			s := watched(t, before)
			b := s.benchOverHTTP()
			b.equal(s)
			b.server.requests()
			s.remove("log")
			s.put("log", noise(5<<20))
			b.equal(s)
			if name != "small" {
				blocks, _ := b.asked()
				require.Zero(t, blocks)
			}
			s.put("log", noise(4<<20-1))
			b.equal(s)
			blocks, _ := b.asked()
			require.LessOrEqual(t, blocks, 1)
		})
	}
}

// appending makes serve append to a file each time that it is about to hash it, as long as busy
// says so.
func appending(t *testing.T, s *tree, b *bench) (busy *atomic.Int64) {
	busy = &atomic.Int64{}
	hashing := &atomic.Bool{}
	b.server.reopen(serve.Config{Root: s.root, Hidden: true, Stats: &b.server.stats, Now: func() mtree.Stamp {
		if hashing.Load() && busy.Load() > 0 {
			f, err := os.OpenFile(s.path("log"), os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString("another line\n")
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
		return machine.Now()
	}})
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.RawQuery, "blocks") {
			return false
		}
		hashing.Store(true)
		b.server.handler.ServeHTTP(w, r)
		hashing.Store(false)
		busy.Add(-1)
		return true
	})
	return busy
}

// A log that is written to all the time is kept as it was read, which is the log as it was a moment
// before; it moves no more than it grew. When it comes to rest the copy is equal.
func TestALogThatNeverStops(t *testing.T) {
	old := noise(5 << 20)
	s, b := patched(t, old)
	busy := appending(t, s, b)
	for range 3 {
		s.put("log", append(bytes.Clone(old), noise(100_000)...))
		busy.Store(1000)
		_ = b.once()
		require.LessOrEqual(t, b.fetched(), 100_000+1000)
		require.True(t, strings.HasPrefix(s.read("log"), b.read("log")))
		require.Greater(t, len(b.read("log")), len(old)+100_000)
		require.NotZero(t, b.stats.Unsettled.Swap(0))
	}
	busy.Store(2) // the third time it holds still
	s.put("log", append(bytes.Clone(old), noise(200_000)...))
	_ = b.once()
	require.Zero(t, b.stats.Unsettled.Load(), "it is one version")
	require.Equal(t, s.read("log"), b.read("log"))
	s.publish("log")
	b.equal(s)
}

// An earlier serve knows no blocks. It is asked once; POSTs of other kinds go on.
func TestAnEarlierServeIsAskedOnce(t *testing.T) {
	for _, status := range []int{400, 403, 404, 405, 501} {
		s := watched(t, "a = x")
		s.put("a", noise(5<<20))
		s.put("b", noise(5<<20))
		s.put("c", noise(5<<20))
		b := s.benchOverHTTP()
		b.config.Jobs = 1
		b.equal(s)
		b.server.requests()
		s.change("small1 = 1", "small2 = 2")
		for _, name := range []string{"a", "b", "c"} {
			s.put(name, append(noise(5<<20), "more"...))
		}
		b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.RawQuery != "blocks" {
				return false
			}
			w.Header().Set("Tidemark-Version", "1")
			http.Error(w, "methods: GET, HEAD; POST for ?tar and ?sums", status)
			return true
		})
		b.equal(s)
		require.GreaterOrEqual(t, b.fetched(), 15<<20)
		var posts []string
		for _, r := range b.server.requests() {
			if strings.HasPrefix(r, "POST") {
				posts = append(posts, r)
			}
		}
		require.ElementsMatch(t, []string{"POST /?blocks", "POST /?tar"}, posts)
	}
}

// blocksAnswer gets what serve answers to ?blocks.
func blocksAnswer(b *bench, r *http.Request) (head string, sums []string) {
	answer := httptest.NewRecorder()
	b.server.handler.ServeHTTP(answer, r)
	head, rest, _ := strings.Cut(answer.Body.String(), "\n")
	return head, strings.Split(strings.TrimSuffix(rest, "\n\n"), "\n")
}

// Whatever an answer to ?blocks says, the copy gets the bytes of the source. An answer that makes no
// sense is logged, and the whole file is fetched.
func TestBlocksThatLie(t *testing.T) {
	other := strings.Repeat("0123456789abcdef", 4)
	old := noise(5<<20 + 1000)
	for name, lie := range map[string]func(head string, sums []string) string{
		"too few": func(head string, sums []string) string { return head + "\n" + strings.Join(sums[1:], "\n") + "\n\n" },
		"too many": func(head string, sums []string) string {
			return head + "\n" + strings.Join(append(sums, other), "\n") + "\n\n"
		},
		"no end":  func(head string, sums []string) string { return head + "\n" + strings.Join(sums, "\n") + "\n" },
		"cut":     func(head string, sums []string) string { return head + "\n" + strings.Join(sums[:9], "\n") + "\nabc" },
		"nothing": func(head string, sums []string) string { return "" },
		"a page":  func(head string, sums []string) string { return "<html>\n" },
		"a second file": func(head string, sums []string) string {
			return head + "\n" + strings.Join(sums, "\n") + "\n\n" + head + "\n"
		},
		"no sum": func(head string, sums []string) string {
			return head + "\n" + strings.Join(append(sums[1:], "zz"+other[2:]), "\n") + "\n\n"
		},
		"a short sum": func(head string, sums []string) string {
			return head + "\n" + strings.Join(append(sums[1:], other[2:]), "\n") + "\n\n"
		},
		"another path": func(head string, sums []string) string { return head + "x\n" + strings.Join(sums, "\n") + "\n\n" },
		"other blocks": func(head string, sums []string) string {
			return strings.Replace(head, " 65536 ", " 131072 ", 1) + "\n" + strings.Join(sums, "\n") + "\n\n"
		},
		"a vast file": func(head string, sums []string) string {
			return regexp.MustCompile(`^(\S+) \S+`).ReplaceAllString(head, "$1 9223372036854775807") + "\n" + strings.Join(sums, "\n") + "\n\n"
		},
		"an endless line": func(head string, sums []string) string { return strings.Repeat("x", 1<<20) },
		"other sums": func(head string, sums []string) string {
			return head + "\n" + strings.Repeat(other+"\n", len(sums)) + "\n"
		},
		"a sum of less": func(head string, sums []string) string { // that of the end of the old file, for a whole block
			sums[80] = fmt.Sprintf("%x", sha256.Sum256(old[80*blockTest:]))
			return head + "\n" + strings.Join(sums, "\n") + "\n\n"
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := patched(t, old)
			now := edited(old, func(text []byte) []byte { text[5] ^= 1; return append(text, noise(100_000)...) })
			s.put("log", now)
			b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.RawQuery, "blocks") {
					return false
				}
				w.Header().Set("Tidemark-Version", "1")
				_, _ = io.WriteString(w, lie(blocksAnswer(b, r)))
				return true
			})
			b.equal(s)
			require.GreaterOrEqual(t, b.fetched(), len(now), "it was fetched whole")
			b.requireIdle()
		})
	}
}

// Sums without an end are left after as many as the file has blocks.
func TestEndlessBlocks(t *testing.T) {
	old := noise(5 << 20)
	s, b := patched(t, old)
	s.put("log", append(old, "more"...))
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.RawQuery, "blocks") {
			return false
		}
		w.Header().Set("Tidemark-Version", "1")
		head, sums := blocksAnswer(b, r)
		_, err := fmt.Fprintln(w, head)
		for err == nil {
			_, err = fmt.Fprintln(w, sums[0])
		}
		return true
	})
	b.equal(s)
}

// Sums of a file that changed meanwhile are of no version: they count only if it never holds still.
func TestBlocksThatChanged(t *testing.T) {
	old := noise(5 << 20)
	for name, c := range map[string]struct {
		keep   int // sums of the answer
		blocks int // requests
		whole  bool
	}{"all sums": {80, 3, false}, "some sums": {40, 3, true}} {
		t.Run(name, func(t *testing.T) {
			s, b := patched(t, old)
			s.put("log", edited(old, func(text []byte) []byte { text[9] ^= 1; return text }))
			b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.RawQuery, "blocks") {
					return false
				}
				w.Header().Set("Tidemark-Version", "1")
				head, sums := blocksAnswer(b, r)
				_, _ = io.WriteString(w, head+"\n"+strings.Join(sums[:c.keep], "\n")+"\nchanged\n")
				return true
			})
			_ = b.once()
			b.same(s)
			require.Equal(t, c.whole, b.fetched() >= len(old))
			blocks, _ := b.asked()
			require.Equal(t, c.blocks, blocks)
			require.Equal(t, int64(1), b.stats.Unsettled.Load())
		})
	}
}

// A file whose bytes are doubted is fetched whole: what is made of it would be those bytes.
func TestADoubtfulFileIsNotPatched(t *testing.T) {
	old := noise(5 << 20)
	s, b := patched(t, old)
	require.NoError(t, os.Chtimes(b.path("log"), time.Time{}, replica.Doubtful.Time()))
	s.put("log", edited(old, func(text []byte) []byte { text[9] ^= 1; return text }))
	b.equal(s)
	require.Equal(t, len(old), b.fetched())
	blocks, _ := b.asked()
	require.Zero(t, blocks)
}

// An answer for ranges that does not end is not read for ever.
func TestRangesWithoutEnd(t *testing.T) {
	const endless = 64 << 20 // bytes: far more than what waits between the two ends
	old := noise(5 << 20)
	s, b := patched(t, old)
	s.put("log", edited(old, func(text []byte) []byte { text[5] ^= 1; text[2*blockTest] ^= 1; return text }))
	var most atomic.Int64
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/log" || r.Header.Get("Range") == "" {
			return false
		}
		w.Header().Set("Content-Type", "multipart/byteranges; boundary=x")
		w.WriteHeader(http.StatusPartialContent)
		junk, sent := bytes.Repeat([]byte("junk\r\n"), 10_000), int64(0)
		for sent < endless {
			n, err := w.Write(junk)
			if sent += int64(n); err != nil {
				break
			}
		}
		most.Store(max(most.Load(), sent))
		return true
	})
	b.equal(s)
	require.Equal(t, len(old), b.fetched())
	b.server.Close() // after its answers
	require.Less(t, most.Load(), int64(endless))
}

// Ranges that never come, or are others than were asked for, end with the whole file.
func TestRangesThatNeverCome(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request, honest http.Handler){
		"the whole": func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
			r.Header.Del("Range")
			honest.ServeHTTP(w, r)
		},
		"another range": func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
			r.Header.Set("Range", "bytes=1-65536,131073-196608")
			honest.ServeHTTP(w, r)
		},
		"one range": func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
			r.Header.Set("Range", "bytes=0-65535")
			honest.ServeHTTP(w, r)
		},
		"other bytes": func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
			w.Header().Set("Content-Range", "bytes 0-65535/5242880")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(make([]byte, 65536))
		},
		"no bytes": func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
			w.Header().Set("Content-Type", "multipart/byteranges; boundary=x")
			w.WriteHeader(http.StatusPartialContent)
		},
		"a head and no bytes": func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
			w.Header().Set("Content-Type", "multipart/byteranges; boundary=x")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "--x\r\nContent-Range: bytes 0-65535/5242880\r\n\r\n")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"no boundary": func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
			w.Header().Set("Content-Type", "multipart/byteranges")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "--\r\n\r\n")
		},
		"none": func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		},
		"a cut": func(w http.ResponseWriter, r *http.Request, honest http.Handler) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			old := noise(5 << 20)
			s, b := patched(t, old)
			s.put("log", edited(old, func(text []byte) []byte { text[5] ^= 1; text[2*blockTest] ^= 1; return text }))
			b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/log" || r.Header.Get("Range") == "" {
					return false
				}
				answer(w, r, b.server.handler)
				return true
			})
			b.equal(s)
			require.Equal(t, len(old), b.fetched())
		})
	}
}

// The rest of a file after ranges that were not its bytes was asked for by a range, too, and believed: a
// proxy that alters ranges made a wrong file of it. It is fetched from its beginning.
func TestRangesOfOtherBytes(t *testing.T) {
	for name, places := range map[string][]int{"one range": {9 << 20}, "several": {9 << 20, 11 << 20}} {
		t.Run(name, func(t *testing.T) {
			old := noise(12 << 20)
			s, b := patched(t, old)
			s.put("log", edited(old, func(text []byte) []byte {
				for _, at := range places {
					text[at] ^= 1
				}
				return text
			}))
			b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/log" || r.Header.Get("Range") == "" {
					return false
				}
				b.server.handler.ServeHTTP(&flippingWriter{w}, r)
				return true
			})
			b.equal(s)
			require.GreaterOrEqual(t, b.fetched(), len(old))
			b.requireIdle()
		})
	}
}

// flippingWriter alters each byte of a body.
type flippingWriter struct{ http.ResponseWriter }

func (w *flippingWriter) Write(text []byte) (int, error) {
	text = bytes.Clone(text)
	for i := range text {
		text[i] ^= 1
	}
	return w.ResponseWriter.Write(text)
}

// A refusal of ranges was taken for one of the file, as if the source might not read it, and each pass
// asked for ranges again: firewalls refuse requests for many ranges.
func TestRangesThatAreRefused(t *testing.T) {
	for _, status := range []int{400, 403, 404, 405, 410, 416} {
		for _, byServe := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d by serve %v", status, byServe), func(t *testing.T) {
				old := noise(12 << 20)
				s, b := patched(t, old)
				s.put("log", edited(old, func(text []byte) []byte { text[9<<20] ^= 1; return append(text, noise(1000)...) }))
				b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != "/log" || r.Header.Get("Range") == "" {
						return false
					}
					if byServe {
						w.Header().Set("Tidemark-Version", "1")
					}
					http.Error(w, "no ranges", status)
					return true
				})
				b.equal(s)
				b.requireIdle()
			})
		}
	}
}

// An answer to ?blocks that something had kept, of the version before, made that version of the file
// again, in each pass. It says nothing, and the whole file is fetched.
func TestBlocksOfAnEarlierVersion(t *testing.T) {
	old := noise(5 << 20)
	s, b := patched(t, old)
	s.put("log", edited(old, func(text []byte) []byte { text[9] ^= 1; return text }))
	kept := ""
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.RawQuery, "blocks") {
			return false
		}
		if kept == "" {
			head, sums := blocksAnswer(b, r)
			kept = head + "\n" + strings.Join(sums, "\n") + "\n\n"
		}
		w.Header().Set("Tidemark-Version", "1")
		_, _ = io.WriteString(w, kept)
		return true
	})
	b.equal(s)
	s.put("log", edited(old, func(text []byte) []byte { text[3<<20] ^= 1; return text }))
	b.equal(s)
	require.GreaterOrEqual(t, b.fetched(), len(old))
	b.requireIdle()
}

// Ranges that break off are asked for from there on.
func TestRangesThatBreakOff(t *testing.T) {
	old := noise(6 << 20)
	s, b := patched(t, old)
	s.put("log", edited(old, func(text []byte) []byte {
		for i := range 300 {
			if at := i * 3 * blockTest; at < len(text) {
				text[at] ^= 1
			}
		}
		copy(text[4<<20:], noise(1<<20))
		return text
	}))
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/log" || r.Method != http.MethodGet {
			return false
		}
		b.server.handler.ServeHTTP(&cutWriter{w, 300_000}, r)
		return true
	})
	b.equal(s)
	require.Less(t, b.fetched(), 4<<20)
}

// The first part of a version that broke off is continued by blocks; that of another version is not.
func TestAPartOfAnotherVersionIsNotContinued(t *testing.T) {
	for _, another := range []bool{false, true} {
		t.Run(fmt.Sprint(another), func(t *testing.T) {
			s, b := patched(t, noise(9<<20))
			s.put("log", noise(9<<20+1))
			b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.Method == http.MethodPost:
					w.WriteHeader(http.StatusMethodNotAllowed)
				case r.URL.Path != "/log" || r.Method != http.MethodGet:
					return false
				case r.Header.Get("Range") != "":
					w.WriteHeader(http.StatusInternalServerError)
				default:
					b.server.handler.ServeHTTP(&cutWriter{w, 1 << 20}, r)
				}
				return true
			})
			require.Error(t, b.once())
			left, err := os.ReadDir(b.path(".tidemark/tmp"))
			require.NoError(t, err)
			require.Len(t, left, 1)
			b.server.interfere(nil)
			if another { // nobody has listed it yet
				require.NoError(t, os.WriteFile(s.path("log"), noise(9<<20+2), 0o644))
			}
			_ = b.once()
			require.Equal(t, s.read("log"), b.read("log"))
			if another {
				require.Equal(t, 9<<20+2, b.fetched())
				return
			}
			require.LessOrEqual(t, b.fetched(), 8<<20+1)
			b.requireIdle()
		})
	}
}

// If somebody writes to the copy's file while it is copied from, nothing gets the name. The next pass
// makes it right.
func TestACopysFileThatChangesMeanwhile(t *testing.T) {
	old := noise(5 << 20)
	s, b := patched(t, old)
	s.put("log", append(bytes.Clone(old), "more"...))
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/log" && r.Header.Get("Range") != "" {
			f, err := os.OpenFile(b.path("log"), os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte("vandal"), 1<<20)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
		return false
	})
	require.Error(t, b.once())
	require.Contains(t, b.read("log"), "vandal")
	b.server.interfere(nil)
	b.equal(s)
}

// The copy's file cannot be read: it is gone by then, an ordinary user may not read it (mode 0200), or its disk has
// a bad sector. The file comes whole. The error was taken for one of the network, and each pass failed.
func TestACopysFileThatCannotBeRead(t *testing.T) {
	old := noise(5 << 20)
	s, b := patched(t, old)
	s.put("log", append(bytes.Clone(old), "more"...))
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.RawQuery, "blocks") {
			_ = os.Remove(b.path("log"))
		}
		return false
	})
	b.equal(s)
	require.Equal(t, len(old)+4, b.fetched())
}

// A log that is cut off and begun anew (copytruncate), or that shrinks while it is fetched.
func TestALogThatIsCutOff(t *testing.T) {
	old := noise(6 << 20)
	s, b := patched(t, old)
	s.put("log", append(bytes.Clone(old), noise(1<<20)...))
	cut := false
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/log" && !cut {
			cut = true
			require.NoError(t, os.Truncate(s.path("log"), 100))
		}
		return false
	})
	_ = b.once()
	s.publish("log")
	b.equal(s)
}

// Zeros that come with the blocks of a file that changed become holes, too, before and after what is
// copied from the old file.
func TestAPatchWithHoles(t *testing.T) {
	text := noise(8 << 20)
	s, b := patched(t, text)
	b.config.Sparse = true
	for _, part := range [][]byte{text[2<<20 : 4<<20], text[6<<20:], text[:1<<20]} {
		clear(part)
		s.put("log", text)
		b.equal(s)
		_, files := b.asked()
		require.Positive(t, files)
		require.Less(t, b.fetched(), 3<<20)
	}
	require.Less(t, room(t, b.path("log")), int64(8<<20-4<<20))
}

// Somebody wrote into the copy's file after its sums were made, and the transfer broke off. The part that was kept had
// those bytes, and was continued.
func TestAPartOfAPatchThatIsNotTrue(t *testing.T) {
	old := noise(12 << 20)
	s, b := patched(t, old)
	s.put("log", edited(old, func(text []byte) []byte { text[9] ^= 1; text[11<<20] ^= 1; return text }))
	first := true
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/log" {
			return false
		}
		if !first {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		first = false
		f, err := os.OpenFile(b.path("log"), os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("vandal"), 1<<20)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		rec := httptest.NewRecorder()
		b.server.handler.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes()[:70<<10])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	require.Error(t, b.once())
	b.server.interfere(nil)
	require.NoError(t, b.once())
	require.NotContains(t, b.read("log"), "vandal")
	b.same(s)
}

// A new name of the old file, as cp -al makes it, is no change of its bytes.
func TestANameOfAFileThatIsPatched(t *testing.T) {
	old := noise(12 << 20)
	s, b := patched(t, old)
	s.put("log", edited(old, func(text []byte) []byte { text[9] ^= 1; return text }))
	snapshot := filepath.Join(filepath.Dir(b.config.Dest), "snapshot")
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/log" {
			require.NoError(t, os.Link(b.path("log"), snapshot))
		}
		return false
	})
	b.equal(s)
	require.FileExists(t, snapshot)
	text, err := os.ReadFile(snapshot)
	require.NoError(t, err)
	require.Equal(t, old, text)
}

// Versions of very different sizes are not compared block by block.
func TestSizesThatAreFarApart(t *testing.T) {
	s, b := patched(t, noise(100))
	s.put("log", noise(8<<20))
	b.equal(s)
	blocks, files := b.asked()
	require.Zero(t, blocks)
	require.Equal(t, 1, files)
}
