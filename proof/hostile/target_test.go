package hostile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/internal/proof"
)

// What no answer may contain. The first one stands in files outside of the tree, in dotfiles
// and in what is excluded; the second one in a file that only a smuggled request asks for.
const smuggled = "SMUGGLED: a request within a request"

// target is a serve that is attacked.
type target struct {
	t      testing.TB
	top    string // holds all
	root   string // what is published
	log    string
	addr   string
	serve  *proof.Process
	before int // descriptors in use before the attacks
	beat   pulse
}

// newTarget publishes a tree that watch has looked at once.
func newTarget(t testing.TB, options ...string) *target {
	top := temporary(t)
	s := &target{t: t, top: top, root: filepath.Join(top, "tree"), log: filepath.Join(top, "log")}
	s.fill()
	r := run(t, time.Minute, "watch", "--once", s.root)
	require.Equal(t, 0, r.code, r.text)
	var err error
	s.serve, err = proof.Launch(proof.Command{
		Args: slices.Concat([]string{"serve", "--listen", "127.0.0.1:0", "--exclude", "private", "--tar"}, options, []string{s.root}),
		Log:  s.log,
	})
	require.NoError(t, err)
	t.Cleanup(s.serve.Kill)
	require.NoError(t, s.serve.WaitReady(time.Minute))
	url, err := s.serve.URL()
	require.NoError(t, err)
	s.addr = url.Host
	return s
}

// fill makes the tree, and what is around it.
func (s *target) fill() {
	t := s.t
	write := func(path, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(s.top, path)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(s.top, path), []byte(text), 0o644))
	}
	for _, path := range []string{"secret", "outside/secret", "tree/.secret", "tree/d/private", "tree/private", "tree/d/.dir/f"} {
		write(path, canary)
	}
	far := temporary(t) // the target of a link is published, so it must not look like ours
	require.NoError(t, os.WriteFile(filepath.Join(far, "secret"), []byte(canary), 0o644))
	write("tree/f", "hello")
	write("tree/smuggled", smuggled)
	write("tree/d/x", "x")
	write("tree/d/e/y", "y")
	write("tree/swap/secret", "harmless")
	write("tree/shrinks", strings.Repeat("shrinks ", 100_000))
	for i := range 3000 {
		write(fmt.Sprintf("tree/many/%04d-%s", i, strings.Repeat("n", 100)), "")
	}
	require.NoError(t, os.WriteFile(filepath.Join(s.root, "big"), bytes.Repeat([]byte("0123456789abcdef"), 1<<20), 0o644))
	for path, to := range map[string]string{
		"abs": far + "/secret", "out": "../secret", "up": "..", "d/out": "../../secret", "d/up": "../..", "chain": "d/out", "loop": "loop",
		"root": "/", "proc": "/proc/self/environ", "marker": ".tidemark", "hidden": ".secret", "excluded": "private", "inside": "d/x",
	} {
		require.NoError(t, os.Symlink(to, filepath.Join(s.root, path)))
	}
	require.NoError(t, unix.Mkfifo(filepath.Join(s.root, "fifo"), 0o644))
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(s.root, "socket"), Net: "unix"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = socket.Close() })
	if os.Getuid() == 0 {
		_ = unix.Mknod(filepath.Join(s.root, "zero"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))
	}
}

// dial connects. What it reads ends after most.
func (s *target) dial(most time.Duration) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", s.addr, 30*time.Second)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), conn.SetDeadline(time.Now().Add(most))
}

// answered is one answer of a serve.
type answered struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body: it was cut
}

// hear reads answers until the connection ends. methods are those of the requests, as far
// as they are not GET. An answer that is none is an error.
func hear(in io.Reader, methods ...string) (all []answered, err error) {
	source := &ending{Reader: in}
	reader := bufio.NewReader(source)
	for {
		if _, err := reader.Peek(1); err != nil {
			return all, ended(err)
		}
		method := http.MethodGet
		if len(all) < len(methods) {
			method = methods[len(all)]
		}
		resp, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			cut := reader.Buffered() == 0 && source.err != nil && ended(source.err) == nil // net/http calls half a line malformed
			if cut || ended(err) == nil {
				return all, nil
			}
			rest, _ := reader.Peek(reader.Buffered())
			return all, fmt.Errorf("no answer of HTTP: %w: %.200q", err, rest)
		}
		body, err := io.ReadAll(resp.Body)
		all = append(all, answered{resp.StatusCode, resp.Header, string(body), err})
		if err != nil {
			return all, ended(err)
		}
	}
}

// ending is a reader that remembers how it ended.
type ending struct {
	io.Reader
	err error
}

func (e *ending) Read(b []byte) (n int, err error) {
	n, err = e.Reader.Read(b)
	e.err = err
	return n, err
}

// A connection that ended within a header was reported as an answer that is none.
func TestHearACutAnswer(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for end := range len(answer) + 1 {
		_, err := hear(strings.NewReader(answer + answer[:end]))
		require.NoError(t, err, answer[:end])
	}
	_, err := hear(strings.NewReader("HTTP/1.1 200 OK\r\nContent\r\n\r\n"))
	require.ErrorContains(t, err, "no answer of HTTP")
}

// ended returns nil for the errors of a connection that was closed.
func ended(err error) error {
	if err == io.EOF || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// leaks returns what an answer tells that it must not.
func (s *target) leaks(text string) (faults []string) {
	for _, what := range []string{canary, s.top, filepath.Base(s.top), "goroutine ", "/proc/self/fd/", "root:x:0"} {
		if at := strings.Index(text, what); at >= 0 {
			faults = append(faults, fmt.Sprintf("the answer tells %q: %.200q", what, text[max(0, at-100):]))
		}
	}
	return faults
}

// descriptors is how many the serve has open.
func (s *target) descriptors() int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.serve.Cmd.Process.Pid))
	return len(entries)
}

// begin remembers what is in use, and begins to ask as other clients do.
func (s *target) begin() {
	s.before = s.descriptors()
	s.beat.begin(s)
}

// faults returns what must not be after all attacks.
func (s *target) faults() (faults []string) {
	faults = s.beat.end()
	if !s.serve.Alive() {
		faults = append(faults, "serve has ended")
	}
	for late := time.Now().Add(time.Minute); s.descriptors() > s.before+8; <-time.After(100 * time.Millisecond) {
		if time.Now().After(late) {
			faults = append(faults, fmt.Sprintf("%d descriptors are open, before it were %d", s.descriptors(), s.before))
			break
		}
	}
	if peak := peakOf(s.serve.Cmd.Process.Pid); peak > 512<<20 {
		faults = append(faults, fmt.Sprintf("it took %d MiB of memory", peak>>20))
	}
	if err := s.serve.Terminate(time.Minute); err != nil {
		faults = append(faults, err.Error())
	}
	log := s.serve.Logged()
	faults = append(faults, unclean(log)...)
	if strings.Contains(log, secret) {
		faults = append(faults, "the log tells a token")
	}
	return faults
}

// pulse is a client that does nothing wrong: it asks by a new connection, again and again.
type pulse struct {
	stop  chan struct{}
	ended sync.WaitGroup
	took  []time.Duration
	wrong []string
}

func (p *pulse) begin(s *target) {
	p.stop = make(chan struct{})
	p.ended.Go(func() {
		for {
			select {
			case <-p.stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			begun := time.Now()
			if text := s.ask("GET /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(text, "\r\n\r\nhello") {
				p.wrong = append(p.wrong, fmt.Sprintf("an honest client got %.300q after %v", text, time.Since(begun)))
			}
			p.took = append(p.took, time.Since(begun))
		}
	})
}

// end returns what the honest client has to complain of.
func (p *pulse) end() []string {
	close(p.stop)
	p.ended.Wait()
	slices.Sort(p.took)
	if n := len(p.took); n >= 100 && p.took[n*99/100] > 30*time.Second {
		p.wrong = append(p.wrong, fmt.Sprintf("one of a hundred honest clients waited for %v", p.took[n*99/100]))
	}
	return p.wrong[:min(len(p.wrong), 5)]
}

// ask sends a request and returns everything that comes back.
func (s *target) ask(text string) string {
	conn, err := s.dial(time.Minute)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if _, err = io.WriteString(conn, text); err != nil {
		return err.Error()
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		return string(all) + err.Error()
	}
	return string(all)
}

func mkfifo(path string) error { return unix.Mkfifo(path, 0o644) }
