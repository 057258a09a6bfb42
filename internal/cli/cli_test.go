package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"tidemark/internal/console"
	"tidemark/pkg/mtree/exit"
)

// probe is a command that records its arguments.
type probe struct {
	rules  []string
	listen []string
	size   Size
	wait   time.Duration
	alone  bool
	args   map[string]string
	err    error
}

func (p *probe) command() Command {
	p.listen = []string{"default"}
	return Command{
		Name: "probe",
		Args: []string{"SOURCE", "DEST"},
		Flags: func(f *pflag.FlagSet) {
			f.Var(&Strings{List: &p.rules, Prefix: "+ ", Name: "GLOB"}, "include", "")
			f.Var(&Strings{List: &p.rules, Prefix: "- ", Name: "GLOB"}, "exclude", "")
			f.Var(&Strings{List: &p.listen, Name: "ADDR", Reset: true}, "listen", "")
			f.Var(&p.size, "size", "")
			f.Var(DurationVar(&p.wait, time.Second), "wait", "")
			f.BoolVar(&p.alone, "alone", false, "")
		},
		Alone: func(int) bool { return p.alone },
		Run: func(_ context.Context, env *Env) error {
			p.args = env.Args
			return p.err
		},
	}
}

// The lines of --dry-run, --verify and --status were cut short by a full disk, and the exit code was 0.
func TestResultsThatAreLost(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	for _, asked := range []bool{true, false} {
		var p probe
		c := p.command()
		c.Run = func(_ context.Context, env *Env) error {
			if asked {
				env.Results()
			}
			_, _ = io.WriteString(env.Stdout, "one line")
			return p.err
		}
		var stderr bytes.Buffer
		code := run(c, []string{"src", "dst"}, full, &stderr)
		require.Equal(t, asked, code == exit.Local, "%v %s", code, &stderr)
		require.Equal(t, asked, strings.Contains(stderr.String(), "no space left on device: what was printed is not whole"), &stderr)
		code = run(c, []string{"src", "dst"}, io.Discard, &stderr)
		require.Equal(t, exit.Done, code)
		p.err = exit.With(exit.Failed, errors.New("some"), "")
		code = run(c, []string{"src", "dst"}, full, &stderr)
		require.Equal(t, asked, code == exit.Local, "the highest code counts")
	}
}

// Where stdout was full, --help, --version and what shells complete ended with 1, which stands for paths that failed.
func TestHelpThatIsLost(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	for _, args := range [][]string{{"--help"}, {"--version"}, {"completion", "bash"}} {
		var p probe
		var stderr bytes.Buffer
		require.Equal(t, exit.Local, run(p.command(), args, full, &stderr), args)
		require.Contains(t, stderr.String(), "no space left on device: what was printed is not whole", args)
		require.Equal(t, exit.Done, run(p.command(), args, io.Discard, &stderr), args)
	}
}

func (p *probe) run(args ...string) (exit.Code, string) {
	var stdout, stderr bytes.Buffer
	code := run(p.command(), args, &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

func TestOptionsAndArguments(t *testing.T) {
	var p probe
	code, out := p.run("--exclude", "a", "--include", "b", "--exclude=c", "--size", "64M", "--wait", "1d12h", "src", "dst")
	require.Equal(t, exit.Done, code, out)
	require.Equal(t, []string{"- a", "+ b", "- c"}, p.rules, "in the order of the command line")
	require.Equal(t, Size(64<<20), p.size)
	require.Equal(t, 36*time.Hour, p.wait)
	require.Equal(t, map[string]string{"SOURCE": "src", "DEST": "dst"}, p.args)
	require.Equal(t, []string{"default"}, p.listen)
}

func TestFirstValueReplacesTheDefault(t *testing.T) {
	var p probe
	code, _ := p.run("--listen", "a", "--listen", "b", "src", "dst")
	require.Equal(t, exit.Done, code)
	require.Equal(t, []string{"a", "b"}, p.listen)
}

func TestEnvironment(t *testing.T) {
	t.Setenv("TIDEMARK_PROBE_EXCLUDE", "x  y")
	t.Setenv("TIDEMARK_PROBE_SIZE", "1G")
	t.Setenv("TIDEMARK_PROBE_WAIT", "2s")
	t.Setenv("TIDEMARK_PROBE_SOURCE", "from-env")
	t.Setenv("TIDEMARK_PROBE_DEST", "to-env")
	var p probe
	code, out := p.run("--wait", "3s")
	require.Equal(t, exit.Done, code, out)
	require.Equal(t, []string{"- x", "- y"}, p.rules)
	require.Equal(t, Size(1<<30), p.size)
	require.Equal(t, 3*time.Second, p.wait, "the command line wins")
	require.Equal(t, map[string]string{"SOURCE": "from-env", "DEST": "to-env"}, p.args)

	t.Setenv("TIDEMARK_PROBE_VERSION", "1.2.3") // somebody's own
	t.Setenv("TIDEMARK_PROBE_HELP", "x")
	code, out = p.run()
	require.Equal(t, exit.Done, code, out)
	t.Setenv("TIDEMARK_PROBE_METRICS", "")
	code, out = p.run()
	require.Equal(t, exit.Usage, code, "a value that got lost is not none")
	require.Contains(t, out, "TIDEMARK_PROBE_METRICS is empty")

	t.Setenv("TIDEMARK_PROBE_SIZE", "lots")
	code, out = p.run()
	require.Equal(t, exit.Usage, code)
	require.Contains(t, out, "TIDEMARK_PROBE_SIZE")
}

// TIDEMARK_MIRROR_JBOS was ignored silently.
func TestUnknownVariablesAreWarnedOf(t *testing.T) {
	for _, name := range []string{"TIDEMARK_PROBE_SIZ", "TIDEMARK_PROB_WAIT", "TIDEMARK_MIRROR_JOBS", "TIDEMARK_ROOT", "TIDEMARK_PROBE_SIZE"} {
		t.Setenv(name, "1")
	}
	_, out := new(probe).run("a", "b")
	require.Contains(t, out, `names="TIDEMARK_PROBE_SIZ TIDEMARK_PROB_WAIT"`)
}

func TestUsageErrorsAreOneLine(t *testing.T) {
	for _, args := range [][]string{{}, {"only"}, {"a", "b", "c"}, {"--nonsense", "a", "b"}, {"--size", "x", "a", "b"},
		{"--wait", "-1s", "a", "b"}, {"--alone", "a", "b"}, {"--log-level", "loud", "a", "b"}, {"--log-format", "xml", "a", "b"},
		{"--exclude", "", "a", "b"}, {"--metrics", "", "a", "b"}} { // these two were taken for the default
		var p probe
		code, out := p.run(args...)
		require.Equal(t, exit.Usage, code, "%q", args)
		require.Equal(t, 1, strings.Count(out, "\n"), "%q", out)
	}
}

func TestAloneTakesTheLastArgument(t *testing.T) {
	var p probe
	code, _ := p.run("--alone", "dst")
	require.Equal(t, exit.Done, code)
	require.Equal(t, map[string]string{"DEST": "dst"}, p.args)
}

func TestErrorsBecomeExitCodesAndOneLine(t *testing.T) {
	p := probe{err: errors.Join(exit.With(exit.Held, errors.New("5 held"), "run --release"), errors.New("one failed"))}
	code, out := p.run("a", "b")
	require.Equal(t, exit.Held, code)
	require.Equal(t, "tidemark-probe: 5 held: run --release; one failed\n", out)
}

// A server's reason phrase went to the terminal as it came, with what sets titles, moves
// the cursor and hides text: the last line of an error was not quoted, as the log is.
func TestErrorsObeyNobody(t *testing.T) {
	p := probe{err: errors.New("403 \x1b]0;title\a\u009b2J\x9b\r\u202e\xff \u00fc\u4e16 \"x\"")}
	_, out := p.run("a", "b")
	require.Equal(t, `tidemark-probe: 403 \x1b]0;title\a\u009b2J\x9b\r\u202e\xff ü世 "x"`+"\n", out)
}

func TestVersionAndHelp(t *testing.T) {
	var p probe
	code, out := p.run("--version")
	require.Equal(t, exit.Done, code)
	require.Contains(t, out, "tidemark-probe devel")
	code, out = p.run("--help")
	require.Equal(t, exit.Done, code)
	for _, want := range []string{"SOURCE DEST", "--exclude GLOB", "--log-format", "--metrics"} {
		require.Contains(t, out, want)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "10": 10, "64M": 64 << 20, "64MB": 64 << 20, "64MiB": 64 << 20, "1.5k": 1536, "2g": 2 << 30} {
		var s Size
		require.NoError(t, s.Set(text), text)
		require.Equal(t, want, s, text)
	}
	s := Size(64 << 20)
	require.Equal(t, "64M", s.String())
	for _, bad := range []string{"", "-1", "M", "64X", "9999999P"} {
		require.Error(t, s.Set(bad), bad)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "500ms": 500 * time.Millisecond, "7d": 7 * 24 * time.Hour, "1.5d": 36 * time.Hour, "1d1h": 25 * time.Hour} {
		var d Duration
		require.NoError(t, d.Set(text), text)
		require.Equal(t, want, time.Duration(d), text)
	}
	for want, d := range map[string]Duration{"7d": Duration(7 * 24 * time.Hour), "24h": Duration(24 * time.Hour), "5ms": Duration(5e6), "10s": Duration(10e9), "10m": Duration(600e9), "0s": 0} {
		require.Equal(t, want, d.String())
	}
	var d Duration
	for _, bad := range []string{"", "d", "-7d", "never", "5", "7d-1h"} {
		require.Error(t, d.Set(bad), "%q", bad)
	}
}

// freeAddress returns an address where nobody listens.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// got returns the status, the header and the body of an answer.
func got(t *testing.T, url string) (int, http.Header, string) {
	response, err := http.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header, string(text)
}

// Profiles have an address of their own, which is not that of the metrics.
func TestPprof(t *testing.T) {
	metrics, profiles := freeAddress(t), freeAddress(t)
	var p probe
	c := p.command()
	c.Run = func(context.Context, *Env) error {
		status, _, text := got(t, "http://"+profiles+"/debug/pprof/")
		require.Equal(t, 200, status)
		require.Contains(t, text, "goroutine")
		status, _, _ = got(t, "http://"+profiles+"/metrics")
		require.Equal(t, 404, status)
		status, _, _ = got(t, "http://"+metrics+"/metrics")
		require.Equal(t, 200, status)
		return nil
	}
	require.Equal(t, exit.Done, run(c, []string{"--metrics", metrics, "--pprof", profiles, "src", "dst"}, io.Discard, io.Discard))
	code, text := p.run("--metrics", metrics, "--pprof", metrics, "a", "b")
	require.Equal(t, exit.Local, code)
	require.Contains(t, text, "choose another --pprof address")
}

// Messages of net/http's clients stood raw between the lines of the log: clients have no
// ErrorLog.
func TestLinesOfTheHTTPClient(t *testing.T) {
	defer func() { stdlog.SetOutput(os.Stderr); stdlog.SetFlags(stdlog.LstdFlags) }()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	answered, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		<-answered // the connection is idle
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nnobody asked")
		_, _ = io.Copy(io.Discard, conn) // until the client closes it
	}()
	var p probe
	c := p.command()
	c.Run = func(context.Context, *Env) error {
		transport := &http.Transport{}
		response, err := (&http.Client{Transport: transport}).Get("http://" + listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		close(answered)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("the client keeps the connection")
		}
		transport.CloseIdleConnections()
		return nil
	}
	var stderr bytes.Buffer
	require.Equal(t, exit.Done, run(c, []string{"--log-format", "json", "src", "dst"}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), `"level":"WARN","msg":"http","error":"Unsolicited response received on idle HTTP channel`)
}

// A command that has said it on stdout says it once.
func TestWhatIsTold(t *testing.T) {
	p := probe{err: exit.With(exit.Failed, exit.ErrTold, "")}
	code, text := p.run("a", "b")
	require.Equal(t, exit.Failed, code)
	require.NotContains(t, text, "tidemark-") // how an error begins
}

// net/http returns the cause of a context that ended: a path that was being fetched when the signal
// came was counted as failed.
func TestASignalIsACancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(Signalled{os.Interrupt})
	require.ErrorIs(t, context.Cause(ctx), context.Canceled)
	require.NotErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
}

// The first argument may be given several times, the last is another one. In the environment white space
// separates them, if none is a path in which it may stand.
func TestManyArguments(t *testing.T) {
	t.Setenv("TIDEMARK_PROBE_SOURCE", "")
	for _, c := range []struct {
		args   []string
		env    string
		source string
		more   []string
	}{
		{args: []string{"a", "z"}, source: "a"},
		{args: []string{"a", "b", "c", "z"}, source: "a", more: []string{"b", "c"}},
		{args: []string{"a", "b", "z"}, env: "http://x/ http://y/", source: "a", more: []string{"b"}},
		{env: "http://x/", source: "http://x/"},
		{env: " http://x/  unix:/s\t/dir\n", source: "http://x/", more: []string{"unix:/s", "/dir"}},
		{env: "/srv/my tree", source: "/srv/my tree"},
		{env: "/srv/my /tree", source: "/srv/my", more: []string{"/tree"}},
		{env: "a b", source: "a b"},
	} {
		t.Setenv("TIDEMARK_PROBE_SOURCE", c.env)
		t.Setenv("TIDEMARK_PROBE_DEST", "z")
		var p probe
		var env *Env
		command := p.command()
		command.Many = true
		command.Run = func(_ context.Context, e *Env) error { env = e; return nil }
		var out bytes.Buffer
		args := append([]string{}, c.args...) // cobra takes nil for the arguments of the test
		require.Equal(t, exit.Done, run(command, args, &out, &out), "%s", &out)
		require.Equal(t, map[string]string{"SOURCE": c.source, "DEST": "z"}, env.Args)
		require.Equal(t, c.more, env.More)
	}
	var p probe
	command := p.command()
	command.Many = true
	var out bytes.Buffer
	require.Equal(t, exit.Usage, run(command, []string{"--alone", "a", "b", "z"}, &out, &out))
	out.Reset()
	require.Equal(t, exit.Done, run(command, []string{"--help"}, &out, &out))
	require.Contains(t, out.String(), "tidemark-probe [options] SOURCE... DEST")
}

// A quiet program logs warnings and errors, unless another level is asked for by itself.
func TestQuiet(t *testing.T) {
	for _, c := range []struct {
		quiet bool
		args  []string
		env   string
		want  string
	}{
		{false, nil, "", "info warning"},
		{true, nil, "", "warning"},
		{true, []string{"--log-level", "info"}, "", "info warning"},
		{true, []string{"--log-level", "error"}, "", ""},
		{true, nil, "info", "info warning"},
	} {
		if c.env != "" {
			t.Setenv("TIDEMARK_PROBE_LOG_LEVEL", c.env)
		}
		var p probe
		command := p.command()
		command.Quiet = func() bool { return c.quiet }
		command.Run = func(_ context.Context, env *Env) error {
			env.Log.Info("info")
			env.Log.Warn("warning")
			return nil
		}
		var stdout, stderr bytes.Buffer
		require.Zero(t, run(command, append(c.args, "a", "b"), &stdout, &stderr))
		var got []string
		for line := range strings.Lines(stderr.String()) {
			_, text, _ := strings.Cut(line, "msg=")
			if text = strings.TrimSpace(text); text == "info" || text == "warning" { // and not of the environment
				got = append(got, text)
			}
		}
		require.Equal(t, c.want, strings.Join(got, " "), "%+v", c)
	}
}

// The line that says why a program ended had no priority: "journalctl -p err" did not show it.
func TestWhyAProgramEndsIsAnErrorInTheJournal(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"auto", "<3>tidemark-probe: gone\n"},
		{"text", "tidemark-probe: gone\n"},
	} {
		file, err := os.Create(t.TempDir() + "/log")
		require.NoError(t, err)
		defer file.Close()
		info, err := file.Stat()
		require.NoError(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino))
		p := probe{err: exit.With(exit.Local, errors.New("gone"), "")}
		require.Equal(t, exit.Local, run(p.command(), []string{"--log-format", c.format, "src", "dst"}, io.Discard, file))
		text, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		require.Equal(t, c.want, lastLine(string(text)))
	}
}

// lastLine returns the last line, with its newline. Before it may stand a warning about a variable of the environment.
func lastLine(text string) string {
	return text[strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n")+1:]
}

// With --log-format json, every line but the last was an object.
func TestWhyAProgramEndsInJSON(t *testing.T) {
	p := probe{err: exit.With(exit.Local, errors.New("\"gone\""), "look")}
	var stderr bytes.Buffer
	require.Equal(t, exit.Local, run(p.command(), []string{"--log-format", "json", "src", "dst"}, io.Discard, &stderr))
	line := struct{ Level, Msg, Program string }{}
	require.NoError(t, json.Unmarshal([]byte(lastLine(stderr.String())), &line), stderr.String())
	require.Equal(t, "ERROR", line.Level)
	require.Equal(t, "tidemark-probe", line.Program)
	require.Contains(t, line.Msg, `"gone"`)
	require.Contains(t, line.Msg, "look")
}

// What a program says again and again is told once, and counted at its end; what a signal asks for is told each time.
func TestNothingIsToldTwice(t *testing.T) {
	var p probe
	c := p.command()
	c.Run = func(_ context.Context, env *Env) error {
		for range 5 {
			env.Log.Warn("no answer", "remedy", "wait")
			env.logStatus(&c)
		}
		return nil
	}
	var stderr bytes.Buffer
	require.Zero(t, run(c, []string{"src", "dst"}, io.Discard, &stderr))
	require.Equal(t, 2, strings.Count(stderr.String(), "no answer"), &stderr)
	require.Contains(t, stderr.String(), "remedy=wait again=4\n")
	require.Equal(t, 5, strings.Count(stderr.String(), "SIGUSR1: there is no status"))
}

// Progress is shown on a terminal only.
func TestProgressNeedsATerminal(t *testing.T) {
	e := &Env{}
	e.Progress("unseen")
	require.False(t, e.HasTerminal())
	require.Zero(t, e.Columns())
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	defer terminal.Close()
	t.Setenv("TERM", "xterm")
	out, end := console.NewErrorOutput(terminal, nil)
	defer end()
	e.line = console.NewStatusLine(out)
	require.True(t, e.HasTerminal())
	require.Equal(t, 79, e.Columns())
}
