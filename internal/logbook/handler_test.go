package logbook

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pad is a log without times that tests read.
type pad struct {
	*slog.Logger
	book *Handler

	mu   sync.Mutex
	text bytes.Buffer
}

func newPad(least slog.Level) *pad {
	p := &pad{}
	p.book = New(slog.NewTextHandler(p, &slog.HandlerOptions{Level: least, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	p.Logger = slog.New(p.book)
	return p
}

func (p *pad) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

// read returns what was written since the last call.
func (p *pad) read() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.text.Reset()
	return p.text.String()
}

// kept is how many lines and messages are remembered.
func (p *pad) kept() (lines, kinds int) {
	p.book.mu.Lock()
	defer p.book.mu.Unlock()
	return len(p.book.lines), len(p.book.kinds)
}

// advance lets time pass, in a bubble of synctest.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// What comes again is told once a minute, with a count, and no more when it has ended.
func TestTheSameIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPad(slog.LevelInfo)
		for i := range 150 { // a second each: from 0 to 149
			p.Warn("no answer", "path", "a", "error", "refused", "times", int64(1), "limit", i)
			advance(time.Second)
		}
		require.Equal(t, "level=WARN msg=\"no answer\" path=a error=refused times=1 limit=0\n"+
			"level=WARN msg=\"no answer\" path=a error=refused times=59 limit=59 again=59\n"+
			"level=WARN msg=\"no answer\" path=a error=refused times=60 limit=119 again=60\n", p.read())
		advance(Period)
		require.Equal(t, "level=WARN msg=\"no answer\" path=a error=refused times=30 limit=149 again=30\n", p.read())
		advance(10 * Period)
		require.Empty(t, p.read())
		p.Warn("no answer", "path", "a", "error", "refused", "times", int64(1), "limit", 0)
		require.Equal(t, "level=WARN msg=\"no answer\" path=a error=refused times=1 limit=0\n", p.read(), "it is new again")
		lines, _ := p.kept()
		require.Equal(t, 1, lines)
		p.book.Close()
		require.Empty(t, p.read())
	})
}

// What differs in more than numbers is told at once.
func TestWhatIsTheSame(t *testing.T) {
	type args = []any
	for name, c := range map[string]struct {
		level  slog.Level
		before args
		after  args
		same   bool
	}{
		"equal":                   {slog.LevelWarn, args{"path", "a"}, args{"path", "a"}, true},
		"another path":            {slog.LevelWarn, args{"path", "a"}, args{"path", "b"}, false},
		"paths of numbers":        {slog.LevelWarn, args{"path", "1"}, args{"path", "2"}, false},
		"another error":           {slog.LevelWarn, args{"error", errors.New("503")}, args{"error", errors.New("500")}, false},
		"the port of a client":    {slog.LevelError, args{"error", "read 1.2.3.4:41234: reset"}, args{"error", "read 1.2.3.4:41299: reset"}, true},
		"a client comes back":     {slog.LevelWarn, args{"remote", "1.2.3.4:41234"}, args{"remote", "1.2.3.4:5"}, true},
		"another client":          {slog.LevelWarn, args{"remote", "1.2.3.4:41234"}, args{"remote", "1.2.3.5:41234"}, false},
		"numbers":                 {slog.LevelWarn, args{"in", time.Second, "n", 1}, args{"in", time.Minute, "n", 2}, true},
		"numbers in a text":       {slog.LevelWarn, args{"stamp", "12.5"}, args{"stamp", "13.5"}, true},
		"stacks":                  {slog.LevelError, args{"stack", "0x1"}, args{"stack", "0x2"}, true},
		"members":                 {slog.LevelError, args{slog.Group("g", "a", "x")}, args{slog.Group("g", "a", "y")}, false},
		"numbers of a result":     {slog.LevelInfo, args{"files", 1}, args{"files", 2}, false},
		"results that are equal":  {slog.LevelInfo, args{"files", 1}, args{"files", 1}, true},
		"a result of other parts": {slog.LevelInfo, args{"a", "1.0"}, args{"a", "2.0"}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPad(slog.LevelInfo)
			p.Log(t.Context(), c.level, "m", c.before...)
			p.Log(t.Context(), c.level, "m", c.after...)
			require.Equal(t, !c.same, strings.Count(p.read(), "\n") == 2, name)
			p.Log(t.Context(), c.level+4, "m", c.before...)
			require.NotEmpty(t, p.read(), "%s: another level", name)
			p.book.Close()
		})
	}
}

// What was added to a logger counts, and stands in what is told later.
func TestLoggersWithAttributes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPad(slog.LevelInfo)
		a, b := p.With("of", "a"), p.WithGroup("g")
		for range 3 {
			a.Warn("m", "n", "x")
			b.Warn("m", "n", "x")
		}
		require.Equal(t, "level=WARN msg=m of=a n=x\nlevel=WARN msg=m g.n=x\n", p.read())
		p.book.Close()
		require.Equal(t, "level=WARN msg=m of=a n=x again=2\nlevel=WARN msg=m g.n=x g.again=2\n", p.read())
	})
}

// A change is told at once, and what was counted before it.
func TestWhatChangesIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPad(slog.LevelInfo)
		down := func(error string) { p.Warn("trying again", "error", error, About("source", "down")) }
		up := func() { p.Info("it answers", About("source", "up")) }
		down("EOF")
		down("reset")
		down("EOF")
		require.Equal(t, "level=WARN msg=\"trying again\" error=EOF\n", p.read())
		up()
		require.Equal(t, "level=WARN msg=\"trying again\" error=EOF again=2\nlevel=INFO msg=\"it answers\"\n", p.read())
		down("EOF")
		require.Equal(t, "level=WARN msg=\"trying again\" error=EOF\n", p.read())
		p.Info("else", About("other", "down"))
		require.Equal(t, "level=INFO msg=else\n", p.read())
		advance(Period)
		down("EOF")
		require.Equal(t, "level=WARN msg=\"trying again\" error=EOF\n", p.read(), "the same, a minute later")
		p.book.Close()
		require.Empty(t, p.read())
	})
}

// For other handlers an attribute of About is nothing.
func TestAboutIsNotWritten(t *testing.T) {
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "a", 1, About("x", "y"))
	require.True(t, strings.HasSuffix(out.String(), " level=INFO msg=m a=1\n"), &out)
}

// What changes all the time is told ten times a minute, and then how it stands.
func TestWhatChangesAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPad(slog.LevelInfo)
		for i := range 40 {
			p.Info("flip", "n", i, About("x", fmt.Sprint(i%2)))
		}
		require.Equal(t, mostChanges, strings.Count(p.read(), "\n"))
		advance(Period)
		require.Equal(t, "level=INFO msg=flip n=39 again=30\n", p.read())
		p.Info("flip", "n", 40, About("x", "0"))
		require.Equal(t, "level=INFO msg=flip n=40\n", p.read())
		p.book.Close()
	})
}

// A flood of different paths is cut, and what was not told is counted.
func TestAFloodOfPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPad(slog.LevelInfo)
		for i := range 10_000 {
			p.Warn("cannot read", "path", fmt.Sprint("p", i), "error", "denied", "remedy", "chmod it")
		}
		p.Warn("another thing", "path", "p")
		text := p.read()
		require.Equal(t, mostLines+1, strings.Count(text, "\n"))
		require.Contains(t, text, "another thing")
		lines, _ := p.kept()
		require.LessOrEqual(t, lines, mostLines+1, "memory")
		advance(Period)
		require.Equal(t, "level=WARN msg=\"cannot read\" remedy=\"chmod it\" more=9900\n", p.read())
		p.Warn("cannot read", "path", "p0", "error", "denied", "remedy", "chmod it")
		require.Equal(t, "level=WARN msg=\"cannot read\" path=p0 error=denied remedy=\"chmod it\"\n", p.read())
		advance(Period + sweepPause)
		p.Info("look")
		lines, kinds := p.kept()
		require.Equal(t, []int{1, 1}, []int{lines, kinds}, "what is old is forgotten")
		p.book.Close()
	})
}

// What is due together is told in the order in which it came.
func TestTheOrderOfWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPad(slog.LevelInfo)
		for range 2 {
			for _, path := range []string{"d", "b", "a", "c"} {
				p.Warn("m", "path", path)
				advance(time.Millisecond)
			}
		}
		p.read()
		advance(time.Hour)
		require.Equal(t, []string{"path=d", "path=b", "path=a", "path=c"}, regexp.MustCompile(`path=.`).FindAllString(p.read(), -1))
		for _, path := range []string{"z", "y", "z", "y"} {
			p.Warn("m", "path", path)
		}
		p.read()
		p.book.Close()
		require.Equal(t, []string{"path=z", "path=y"}, regexp.MustCompile(`path=.`).FindAllString(p.read(), -1), "at the end, too")
	})
}

// Who asks for debug lines gets everything.
func TestDebugTellsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPad(slog.LevelDebug)
		for range 3 {
			p.Warn("m", About("x", "y"))
			p.Debug("d")
		}
		require.Equal(t, strings.Repeat("level=WARN msg=m\nlevel=DEBUG msg=d\n", 3), p.read())
		p.book.Close()
		require.Empty(t, p.read())
	})
}

// Many goroutines may log while the timer tells.
func TestManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPad(slog.LevelInfo)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for j := range 200 {
					p.Warn("m", "path", fmt.Sprint(j%5))
					p.Info("s", About("x", fmt.Sprint(i%2)))
					<-time.After(time.Second)
				}
			})
		}
		all.Wait()
		p.book.Close()
		told := 0
		for _, path := range regexp.MustCompile(`msg=m path=\d(?: again=(\d+))?\n`).FindAllStringSubmatch(p.read(), -1) {
			n := 1
			if path[1] != "" {
				_, err := fmt.Sscan(path[1], &n)
				require.NoError(t, err)
			}
			told += n
		}
		require.Equal(t, 8*200, told, "each is told or counted")
	})
}
