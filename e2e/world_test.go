package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tidemark/internal/proof"
	"tidemark/internal/testtree"
)

// patience is how long a condition may take to come true. Nothing waits that
// long unless it is broken.
const patience = 30 * time.Second

type worldKey struct{}

// world has the programs, counters and proxies of one script.
type world struct {
	programs map[string]*proof.Process
	counters map[string]*counter
	far      map[string]*far
}

func newWorld(env *testscript.Env) *world {
	w := &world{programs: map[string]*proof.Process{}, counters: map[string]*counter{}, far: map[string]*far{}}
	env.Defer(func() {
		for _, p := range w.programs {
			p.Kill()
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

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM [ARGS]")
	}
	name := args[0]
	p, err := proof.Launch(proof.Command{Args: args[1:], Dir: ts.MkAbs("."), Log: ts.MkAbs(name + ".log")})
	ts.Check(err)
	worldOf(ts).programs[name] = p
	ts.Check(p.WaitReady(patience))
	if strings.HasSuffix(args[1], "serve") {
		at, err := p.URL()
		ts.Check(err)
		ts.Setenv("URL", at.String())
		ts.Setenv("URL_"+name, at.String())
		ts.Setenv("ADDR", at.Host)
	}
}

func (w *world) program(ts *testscript.TestScript, args []string) *proof.Process {
	if len(args) < 1 || w.programs[args[0]] == nil {
		ts.Fatalf("no such program: %v", args)
	}
	return w.programs[args[0]]
}

func cmdTerm(ts *testscript.TestScript, _ bool, args []string) {
	p := worldOf(ts).program(ts, args)
	err := p.Terminate(patience)
	if err != nil && strings.Contains(p.Logged(), "did not stop in time") { // a flush that waits for others' writes
		ts.Logf("the disk is busy: %v", err)
		return
	}
	ts.Check(err)
}

func cmdKill9(ts *testscript.TestScript, _ bool, args []string) {
	worldOf(ts).program(ts, args).Kill()
}

func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	p := worldOf(ts).program(ts, args)
	signals := map[string]os.Signal{"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}
	if len(args) != 2 || signals[args[1]] == nil {
		ts.Fatalf("usage: signal NAME HUP|USR1|STOP|CONT")
	}
	ts.Check(p.Cmd.Process.Signal(signals[args[1]]))
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
		text += "\n--- log of " + name + "\n" + p.Logged()
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
	for name, p := range worldOf(ts).programs {
		if p.Alive() && len(p.Cmd.Args) > 1 && strings.HasSuffix(p.Cmd.Args[0], "serve") && ts.MkAbs(p.Cmd.Args[len(p.Cmd.Args)-1]) == ts.MkAbs(args[0]) &&
			!within(func() bool { return says(p, args[1]) }) {
			ts.Fatalf("%s does not say that %s is %s", name, args[0], args[1])
		}
	}
}

// says reports whether a serve, which reads the status now and then, says the same state, or cannot be asked.
func says(serve *proof.Process, state string) bool {
	at, err := serve.URL()
	if err != nil {
		return true
	}
	client := http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Head(at.String())
	if err != nil {
		return true
	}
	_ = response.Body.Close()
	told := response.Header.Get("Tidemark-State")
	return told == "" || regexp.MustCompile(`^(`+state+`)\b`).MatchString(told)
}

func cmdLog(ts *testscript.TestScript, _ bool, args []string) {
	p := worldOf(ts).program(ts, args)
	want := regexp.MustCompile(args[1])
	if !within(func() bool { return want.MatchString(p.Logged()) }) {
		ts.Fatalf("%s did not log %q:\n%s", args[0], args[1], p.Logged())
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

// shPatience is how long a line of shell may take. Many of them wait for something.
const shPatience = 5 * time.Minute

func cmdSh(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), shPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", strings.Join(args, " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = patience
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
