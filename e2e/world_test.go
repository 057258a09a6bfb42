package e2e

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tidemark/internal/testtree"
)

// patience is how long a condition may take to come true. Nothing waits that
// long unless it is broken.
const patience = 30 * time.Second

type worldKey struct{}

// world has the programs, counters and proxies of one script.
type world struct {
	programs map[string]*program
	counters map[string]*counter
	far      map[string]*far
}

func newWorld(env *testscript.Env) *world {
	w := &world{programs: map[string]*program{}, counters: map[string]*counter{}, far: map[string]*far{}}
	env.Defer(func() {
		for _, p := range w.programs {
			p.end()
		}
		for _, c := range w.counters {
			c.server.Close()
		}
		for _, f := range w.far {
			_ = f.listener.Close()
		}
	})
	return w
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// program is one running binary.
type program struct {
	cmd  *exec.Cmd
	log  string        // file of its stderr
	done chan struct{} // closed when it has ended
	err  error         // how it ended; read it after done
}

func (p *program) end() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *program) logged() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM [ARGS]")
	}
	name := args[0]
	p, ready := launch(ts, name, args[1:])
	worldOf(ts).programs[name] = p
	select {
	case <-ready:
	case <-p.done:
		ts.Fatalf("%s ended: %v\n%s", name, p.err, p.logged())
	case <-time.After(patience):
		ts.Fatalf("%s is not ready\n%s", name, p.logged())
	}
	if strings.HasSuffix(args[1], "serve") {
		address := regexp.MustCompile(`address="?(https?://[^ "\n]+)`).FindStringSubmatch(p.logged())
		if address == nil {
			ts.Fatalf("%s told no address\n%s", name, p.logged())
		}
		ts.Setenv("URL", address[1])
		ts.Setenv("URL_"+name, address[1])
		at, err := url.Parse(address[1])
		ts.Check(err)
		ts.Setenv("ADDR", at.Host)
	}
}

// launch starts a program with a socket of its own for sd_notify(3); ready is
// closed when it has sent READY=1.
func launch(ts *testscript.TestScript, name string, args []string) (*program, <-chan struct{}) {
	dir, err := os.MkdirTemp("", "tidemark-e2e-") // a socket's path must be short
	ts.Check(err)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	ts.Check(err)
	ts.Check(os.Chmod(dir, 0o755)) // a program may run as another user
	ts.Check(os.Chmod(filepath.Join(dir, "notify"), 0o777))
	p := &program{log: ts.MkAbs(name + ".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	ts.Check(err)
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Stderr = log
	p.cmd.Stdout = log
	p.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket.LocalAddr().String(), "GOTRACEBACK=single")
	ts.Check(p.cmd.Start())
	_ = log.Close()
	go func() {
		p.err = p.cmd.Wait()
		_ = socket.Close()
		_ = os.RemoveAll(dir)
		close(p.done)
	}()
	ready := make(chan struct{})
	go func() {
		buf := make([]byte, 4096)
		for told := false; ; {
			n, err := socket.Read(buf)
			if err != nil {
				return
			}
			if !told && bytes.Contains(buf[:n], []byte("READY=1")) {
				told = true
				close(ready)
			}
		}
	}()
	return p, ready
}

func (w *world) program(ts *testscript.TestScript, args []string) *program {
	if len(args) < 1 || w.programs[args[0]] == nil {
		ts.Fatalf("no such program: %v", args)
	}
	return w.programs[args[0]]
}

func cmdTerm(ts *testscript.TestScript, _ bool, args []string) {
	p := worldOf(ts).program(ts, args)
	ts.Check(p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		ts.Fatalf("%s did not stop within 5 s\n%s", args[0], p.logged())
	}
	if p.err != nil {
		ts.Fatalf("%s: %v\n%s", args[0], p.err, p.logged())
	}
}

func cmdKill9(ts *testscript.TestScript, _ bool, args []string) {
	worldOf(ts).program(ts, args).end()
}

func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	p := worldOf(ts).program(ts, args)
	signals := map[string]os.Signal{"HUP": syscall.SIGHUP, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}
	if len(args) != 2 || signals[args[1]] == nil {
		ts.Fatalf("usage: signal NAME HUP|STOP|CONT")
	}
	ts.Check(p.cmd.Process.Signal(signals[args[1]]))
}

// within tests a condition again and again until it holds or patience ends.
func within(condition func() bool) bool {
	deadline := time.After(patience)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !condition() {
		select {
		case <-again.C:
		case <-deadline:
			return false
		}
	}
	return true
}

func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same A B")
	}
	var differences []string
	same := within(func() bool {
		var err error
		differences, err = testtree.Differences(ts.MkAbs(args[0]), ts.MkAbs(args[1]))
		return err == nil && len(differences) == 0
	})
	if same {
		return
	}
	text := strings.Join(differences[:min(len(differences), 20)], "\n")
	for name, p := range worldOf(ts).programs {
		text += "\n--- log of " + name + "\n" + p.logged()
	}
	ts.Fatalf("%s and %s differ in %d entries:\n%s", args[0], args[1], len(differences), text)
}

func cmdUnlike(ts *testscript.TestScript, _ bool, args []string) {
	differences, err := testtree.Differences(ts.MkAbs(args[0]), ts.MkAbs(args[1]))
	ts.Check(err)
	if len(differences) == 0 {
		ts.Fatalf("%s and %s are equal", args[0], args[1])
	}
}

func cmdState(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: state DIR STATE")
	}
	var out []byte
	ok := within(func() bool {
		out, _ = exec.Command("watch", "--status", ts.MkAbs(args[0])).CombinedOutput()
		return regexp.MustCompile(`(?m)^state:?\s+` + args[1] + `\b`).Match(out)
	})
	if !ok {
		ts.Fatalf("%s is not %s:\n%s", args[0], args[1], out)
	}
}

func cmdLog(ts *testscript.TestScript, _ bool, args []string) {
	p := worldOf(ts).program(ts, args)
	want := regexp.MustCompile(args[1])
	if !within(func() bool { return want.MatchString(p.logged()) }) {
		ts.Fatalf("%s did not log %q:\n%s", args[0], args[1], p.logged())
	}
}

// counter is a reverse proxy that counts the requests it passes on.
type counter struct {
	server *httptest.Server
	seen   atomic.Int64
}

func cmdCounter(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: counter NAME TARGET")
	}
	target, err := url.Parse(args[1])
	ts.Check(err)
	c := &counter{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.seen.Add(1)
		proxy.ServeHTTP(w, r)
	}))
	worldOf(ts).counters[args[0]] = c
	ts.Setenv(args[0], c.server.URL+"/")
}

func cmdRequests(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 || worldOf(ts).counters[args[0]] == nil {
		ts.Fatalf("usage: requests NAME N|any")
	}
	got := worldOf(ts).counters[args[0]].seen.Swap(0)
	if args[1] == "any" {
		return
	}
	want, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	if got != want {
		ts.Fatalf("%d requests, want %d", got, want)
	}
}

func cmdSh(ts *testscript.TestScript, neg bool, args []string) {
	cmd := exec.Command("sh", "-euc", strings.Join(args, " "))
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "URL="+ts.Getenv("URL"), "ADDR="+ts.Getenv("ADDR"), "WORK="+ts.Getenv("WORK"), "FREE="+ts.Getenv("FREE"), "EXAMPLES="+ts.Getenv("EXAMPLES"))
	for name := range worldOf(ts).programs {
		if at := ts.Getenv("URL_" + name); at != "" {
			cmd.Env = append(cmd.Env, "URL_"+name+"="+at)
		}
	}
	out, err := cmd.CombinedOutput()
	if (err != nil) != neg {
		ts.Fatalf("sh %q: %v\n%s", args, err, out)
	}
	ts.Logf("%s", out)
}
