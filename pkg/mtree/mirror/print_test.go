package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/exit"
)

// prints runs Once and returns what --print told: actions and paths, in order.
func (b *bench) prints() (lines []string) {
	b.t.Helper()
	var out bytes.Buffer
	b.config.Print = &out
	defer func() { b.config.Print = nil }()
	require.NoError(b.t, b.once())
	require.Empty(b.t, b.out.String(), "the summary is in the log")
	root := b.rootStamp()
	for line := range strings.Lines(out.String()) {
		stamp, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		require.Equal(b.t, root, stamp)
		lines = append(lines, strings.ReplaceAll(rest, "\t", " "))
	}
	slices.Sort(lines)
	return lines
}

// everyWay runs a test over HTTP, and from a directory.
func everyWay(t *testing.T, test func(t *testing.T, s *tree, b *bench), lines ...string) {
	t.Run("http", func(t *testing.T) {
		s, b := overHTTP(t, lines...)
		test(t, s, b)
	})
	t.Run("directory", func(t *testing.T) {
		s := watched(t, lines...)
		test(t, s, newBench(t, s.root))
	})
}

func TestPrint(t *testing.T) {
	big := strings.Repeat("x", 100_000)
	everyWay(t, func(t *testing.T, s *tree, b *bench) {
		require.NoError(t, os.WriteFile(s.path("big"), []byte(big), 0o644))
		s.publish("big")
		require.Equal(t, []string{
			"create a/", "create a/b/", "create a/b/f", "create a/f", "create a/g", "create big", "create blank%20name", "create d/", "create d/old/", "create d/old/x",
			"create l", "create m", "skip out",
		}, b.prints())
		require.Empty(t, b.prints(), "an idle pass does nothing")

		require.NoError(t, os.Chmod(s.path("a/b"), 0o700))
		require.NoError(t, os.Chmod(s.path("m"), 0o600))
		require.NoError(t, os.Rename(s.path("big"), s.path("d/big")))
		for _, gone := range []string{"l", "a/f", "d/old", "blank name", "a/g"} {
			require.NoError(t, os.RemoveAll(s.path(gone)))
		}
		s.change("a/b/f = another", "a/g/ ", "l -> m", "a/new = n", "d/old = a file now")
		s.publishAll("a/b", "m", "big", "d/big")
		lines := b.prints()
		require.Equal(t, []string{
			"create a/g/", "create a/new", "create d/old", "delete a/f", "delete a/g", "delete big", "delete blank%20name", "delete d/old/",
			"mode a/b/", "mode m", "rename d/big", "skip out", "update a/b/f", "update l",
		}, lines)
	}, "a/b/f = f", "a/f = f", "a/g = g", `"blank name" = x`, "d/old/x = x", "l -> a", "m = m", "out -> /etc")
}

// What is told is done, and told in an order that can be followed: a name is free before something
// else gets it.
func TestPrintIsInOrder(t *testing.T) {
	s, b := overHTTP(t, "d/x = x", "f = f")
	b.equal(s)
	require.NoError(t, os.RemoveAll(s.path("d")))
	require.NoError(t, os.RemoveAll(s.path("f")))
	s.change("d = file", "f/x = x")
	var out bytes.Buffer
	b.config.Print, b.config.PrintFormat = &out, JSON
	b.equal(s)
	var told []string
	for in := json.NewDecoder(&out); ; {
		var line struct {
			Stamp, Action, Path, From string
			Entries                   int
		}
		err := in.Decode(&line)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.Equal(t, b.rootStamp(), line.Stamp)
		told = append(told, strings.Join([]string{line.Action, line.Path, strconv.Itoa(line.Entries)}, " "))
	}
	require.Equal(t, []string{"delete f 1", "create f/ 0", "create f/x 0", "delete d/ 2", "create d 0"}, told)
}

// Deletions that a guard holds are told once, also if the mirror is started anew; then that they are gone.
func TestAHoldIsToldOnce(t *testing.T) {
	var lines []string
	for i := range 120 {
		lines = append(lines, "d/f"+strconv.Itoa(i)+" = x")
	}
	everyWay(t, func(t *testing.T, s *tree, b *bench) {
		s.change("d/stays = x")
		b.equal(s)
		for i := range 120 {
			require.NoError(t, os.Remove(s.path("d/f"+strconv.Itoa(i))))
		}
		s.publish("d")
		holds := func() []string {
			var out bytes.Buffer
			b.config.Print = &out
			require.Equal(t, exit.Held, exit.Of(b.once()))
			return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		}
		told := holds()
		require.Len(t, told, 120)
		for _, line := range told {
			require.Regexp(t, `\thold\td/f\d+$`, line)
		}
		s.change("e = x")
		told = holds()
		require.Len(t, told, 1)
		require.Regexp(t, `\tcreate\te$`, told[0])
		b.config.MaxDelete = "100%"
		gone := b.prints()
		require.Len(t, gone, 120)
		require.Contains(t, gone, "delete d/f7")
	}, lines...)
}

// A directory that is gone at the source and stays for what filters exclude in it is not told to be deleted.
func TestPrintOfWhatFiltersKeep(t *testing.T) {
	everyWay(t, func(t *testing.T, s *tree, b *bench) {
		b.config.Filters = []string{"- *.own"}
		require.Equal(t, []string{"create d/", "create d/e/", "create d/e/f", "create x"}, b.prints())
		testtree.Make(t, b.config.Dest, "d/mine.own = x")
		s.remove("d")
		require.Equal(t, []string{"skip d/", "update d/"}, b.prints())
		require.Equal(t, "x", b.read("d/mine.own"))
	}, "d/e/f = f", "x = x")
}

// A dry run says in its own lines what it would do, and does nothing of which --print could tell.
func TestADryRunDoesNothingToTell(t *testing.T) {
	_, b := overHTTP(t, "a = a")
	var out bytes.Buffer
	b.config.Print, b.config.DryRun, b.config.Exec = &out, true, "exit 3"
	require.NoError(t, os.MkdirAll(b.config.Dest, 0o755))
	require.NoError(t, b.once())
	require.Empty(t, out.String())
	require.Contains(t, b.out.String(), `fetch  "a"`)
	require.Contains(t, b.out.String(), "fetched 1 files")
}

func TestPrintFormats(t *testing.T) {
	_, b := overHTTP(t, "a = a")
	b.config.PrintFormat = "xml"
	require.Equal(t, exit.Usage, exit.Of(b.once()))
}

// standing is a reader that takes nothing until it is closed.
type standing struct {
	once  sync.Once
	taken chan struct{} // the first write came
	open  chan struct{} // when closed, writes go on
	mu    sync.Mutex
	out   bytes.Buffer
}

func newStanding() *standing { return &standing{taken: make(chan struct{}), open: make(chan struct{})} }

func (s *standing) Write(text []byte) (int, error) {
	s.once.Do(func() { close(s.taken) })
	<-s.open
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(text)
}

func (s *standing) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// A reader that stands still does not stop a mirror that runs. It gets what was kept for it.
func TestPrintToAReaderThatStandsStill(t *testing.T) {
	everyWay(t, func(t *testing.T, s *tree, b *bench) {
		reader := newStanding()
		b.config.Print, b.config.PrintFormat = reader, Text
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		b.config.Out = io.Discard
		go func() { done <- Run(ctx, b.config) }()
		<-reader.taken
		for i := range 3 {
			s.change("g" + strconv.Itoa(i) + " = x")
			require.Eventually(t, func() bool {
				diff, err := testtree.Differences(s.root, b.config.Dest)
				return err == nil && len(diff) == 0
			}, 20*time.Second, time.Millisecond)
		}
		close(reader.open)
		require.Eventually(t, func() bool { return strings.Contains(reader.text(), "\tcreate\tg2\n") }, 20*time.Second, time.Millisecond)
		cancel()
		require.NoError(t, <-done)
		require.Equal(t, 1, strings.Count(reader.text(), "\tcreate\tf\n"))
		require.Contains(t, reader.text(), "\tcreate\tg0\n")
	}, "f = f")
}

// gone is a reader that went away.
type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, os.ErrClosed }

// A mirror whose reader is gone ends when it next has something to tell, after the pass.
func TestPrintToAReaderThatIsGone(t *testing.T) {
	everyWay(t, func(t *testing.T, s *tree, b *bench) {
		b.config.Print = gone{}
		require.Equal(t, exit.Local, exit.Of(b.once()))
		b.same(s)
		s.change("g = g")
		b.config.Out = io.Discard
		done := make(chan error, 1)
		go func() { done <- Run(t.Context(), b.config) }()
		for { // the first line may be on its way when the pass ends
			select {
			case err := <-done:
				require.Equal(t, exit.Local, exit.Of(err))
				require.ErrorContains(t, err, "--print")
				return
			case <-time.After(10 * time.Millisecond):
				s.change("h = " + strconv.FormatInt(time.Now().UnixNano(), 10))
			}
		}
	}, "f = f")
}

// rootStamp returns the stamp of the copy's root.
func (b *bench) rootStamp() string {
	b.t.Helper()
	r, ok := b.record("")
	require.True(b.t, ok)
	return r.Stamp.String()
}
