// Demo runs watch, serve and mirror on a copy of the Go source tree, changes
// it, and prints how long each change took to arrive. With -once it ends by
// itself, with exit code 0 only if all arrived.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"tidemark/internal/testtree"
)

// patience is how long one change may take to arrive.
const patience = 2 * time.Minute

func main() {
	once := flag.Bool("once", false, "end when everything was shown")
	dir := flag.String("dir", ".demo", "where source, copy and logs go; emptied first")
	from := flag.String("from", "", "the tree that is copied into the source; empty: the Go source tree")
	changes := flag.Int("changes", 100, "how many writes the latency is measured over")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &demo{out: os.Stdout, dir: *dir, source: *dir + "/source", copy: *dir + "/copy"}
	err := d.run(ctx, *from, *changes, *once)
	d.stopAll()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type demo struct {
	out               io.Writer
	dir, source, copy string
	url               string
	programs          []*program
}

func (d *demo) run(ctx context.Context, from string, changes int, once bool) error {
	if err := d.prepare(ctx, from); err != nil {
		return err
	}
	if err := d.startAll(ctx); err != nil {
		return err
	}
	for _, step := range d.steps() {
		if err := d.show(ctx, step); err != nil {
			return err
		}
	}
	if err := d.latency(ctx, changes); err != nil {
		return err
	}
	if err := d.memory(); err != nil {
		return err
	}
	if err := d.same(ctx); err != nil {
		return err
	}
	if once {
		return nil
	}
	fmt.Fprintf(d.out, "\nLook at  %s   (or: curl '%s?txt')\nSource   %s\nCopy     %s\nChange the source and see. Ctrl-C ends the demo.\n", d.url, d.url, d.source, d.copy)
	<-ctx.Done()
	return nil
}

// prepare copies the tree that the demo mirrors.
func (d *demo) prepare(ctx context.Context, from string) error {
	if from == "" {
		goroot, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			return fmt.Errorf("go env GOROOT: %w", err)
		}
		from = strings.TrimSpace(string(goroot)) + "/src"
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	began := time.Now()
	if out, err := exec.CommandContext(ctx, "cp", "-a", from, d.source).CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("copying %s: %w: %s", from, err, out)
	}
	files := 0
	err := filepath.WalkDir(d.source, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files++
		}
		return err
	})
	fmt.Fprintf(d.out, "source: %d files copied from %s in %.1fs\n", files, from, time.Since(began).Seconds())
	return err
}

// startAll starts the three programs and waits for the first copy.
func (d *demo) startAll(ctx context.Context) error {
	watch, err := d.start("watch", d.source)
	if err != nil {
		return err
	}
	if err := watch.waitFor(ctx, `(?m)^.*armed.*$`, d.out); err != nil {
		return err
	}
	serve, err := d.start("serve", "--hidden", "--listen", "127.0.0.1:0", d.source)
	if err != nil {
		return err
	}
	if err := serve.waitFor(ctx, `address=\S+`, nil); err != nil {
		return err
	}
	d.url = strings.Trim(strings.TrimPrefix(regexp.MustCompile(`address=\S+`).FindString(serve.text()), "address="), `"`)
	mirror, err := d.start("mirror", d.url, d.copy)
	if err != nil {
		return err
	}
	return mirror.waitFor(ctx, `listed [0-9]+ directories, fetched .*`, d.out)
}

// step is one change, and a condition that shows that it arrived.
type step struct {
	what    string
	change  func() error
	arrived func() bool
}

func (d *demo) steps() []step {
	src := func(name string) string { return filepath.Join(d.source, name) }
	dst := func(name string) string { return filepath.Join(d.copy, name) }
	has := func(name, text string) func() bool {
		return func() bool {
			got, err := os.ReadFile(dst(name))
			return err == nil && string(got) == text
		}
	}
	gone := func(name string) func() bool {
		return func() bool {
			_, err := os.Lstat(dst(name))
			return errors.Is(err, fs.ErrNotExist)
		}
	}
	there := func(name string) func() bool {
		return func() bool {
			_, err := os.Lstat(dst(name))
			return err == nil
		}
	}
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	return []step{
		{"create net/http/new.txt", func() error { return os.WriteFile(src("net/http/new.txt"), []byte("hello\n"), 0o644) }, has("net/http/new.txt", "hello\n")},
		{"change it, and date it back to 2001", func() error {
			return errors.Join(os.WriteFile(src("net/http/new.txt"), []byte("again\n"), 0o644), os.Chtimes(src("net/http/new.txt"), old, old))
		}, has("net/http/new.txt", "again\n")},
		{"rename it to go/renamed.txt", func() error { return os.Rename(src("net/http/new.txt"), src("go/renamed.txt")) }, has("go/renamed.txt", "again\n")},
		{"delete it", func() error { return os.Remove(src("go/renamed.txt")) }, gone("go/renamed.txt")},
		{"rename the directory crypto to cipher", func() error { return os.Rename(src("crypto"), src("cipher")) }, func() bool { return there("cipher/x509/x509.go")() && gone("crypto")() }},
		{"delete the directory encoding", func() error { return os.RemoveAll(src("encoding")) }, gone("encoding")},
	}
}

func (d *demo) show(ctx context.Context, s step) error {
	if err := s.change(); err != nil {
		return err
	}
	took, err := await(ctx, s.arrived)
	if err != nil {
		return fmt.Errorf("%s: %w", s.what, err)
	}
	fmt.Fprintf(d.out, "%-40s arrived after %7.1f ms\n", s.what, ms(took))
	return nil
}

// latency measures from a write in the source until it can be read in the copy.
func (d *demo) latency(ctx context.Context, changes int) error {
	var took []time.Duration
	for i := range changes {
		text := fmt.Sprintf("change %d\n", i)
		if err := os.WriteFile(d.source+"/strings/latency.txt", []byte(text), 0o644); err != nil {
			return err
		}
		t, err := await(ctx, func() bool {
			got, err := os.ReadFile(d.copy + "/strings/latency.txt")
			return err == nil && string(got) == text
		})
		if err != nil {
			return fmt.Errorf("change %d: %w", i, err)
		}
		took = append(took, t)
	}
	if len(took) == 0 {
		return nil
	}
	slices.Sort(took)
	at := func(share float64) float64 { return ms(took[int(share*float64(len(took)-1))]) }
	fmt.Fprintf(d.out, "write -> readable in the copy, %d changes: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, most %.1f ms\n",
		changes, at(0.5), at(0.9), at(0.99), at(1))
	return nil
}

func (d *demo) memory() error {
	var line []string
	for _, p := range d.programs {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil {
			return err
		}
		kib := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(string(text))
		if kib == nil {
			return errors.New("no VmHWM")
		}
		n, err := strconv.Atoi(kib[1])
		if err != nil {
			return err
		}
		line = append(line, fmt.Sprintf("%s %.1f MB", p.name, float64(n)/1000))
	}
	fmt.Fprintf(d.out, "most memory used: %s\n", strings.Join(line, ", "))
	return nil
}

// same waits until the copy equals the source in everything that a mirror keeps.
func (d *demo) same(ctx context.Context) error {
	var differences []string
	_, err := await(ctx, func() bool {
		var err error
		differences, err = testtree.Differences(d.source, d.copy)
		return err == nil && len(differences) == 0
	})
	if err != nil {
		return fmt.Errorf("source and copy differ in %d entries: %w\n%s", len(differences), err, strings.Join(differences[:min(10, len(differences))], "\n"))
	}
	fmt.Fprintln(d.out, "source and copy are equal: names, types, bytes, modes, nanosecond times")
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// await tests a condition every half millisecond.
func await(ctx context.Context, condition func() bool) (time.Duration, error) {
	began := time.Now()
	again := time.NewTicker(500 * time.Microsecond)
	defer again.Stop()
	for !condition() {
		if time.Since(began) > patience {
			return 0, fmt.Errorf("not there after %s", patience)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return time.Since(began), nil
}

// program is one running binary with its output.
type program struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // after done

	mu     sync.Mutex // guards output
	output bytes.Buffer
}

func (d *demo) start(name string, args ...string) (*program, error) {
	p := &program{name: name, cmd: exec.Command("bin/"+name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // we pass Ctrl-C on
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	d.programs = append(d.programs, p)
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *program) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(text)
}

func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// waitFor waits until the program has printed a match of pattern, and writes it to
// show if that is not nil.
func (p *program) waitFor(ctx context.Context, pattern string, show io.Writer) error {
	want := regexp.MustCompile(pattern)
	began := time.Now()
	for !want.MatchString(p.text()) {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %w\n%s", p.name, p.err, p.text())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
		if time.Since(began) > 2*patience {
			return fmt.Errorf("%s does not say %q:\n%s", p.name, pattern, p.text())
		}
	}
	if show != nil {
		fmt.Fprintf(show, "%s: %s\n", p.name, want.FindString(p.text()))
	}
	return nil
}

// stopAll ends the programs in the reverse order of their start.
func (d *demo) stopAll() {
	for _, p := range slices.Backward(d.programs) {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
			_ = p.cmd.Process.Kill()
		}
		if p.err != nil {
			fmt.Fprintf(d.out, "%s: %v\n%s", p.name, p.err, p.text())
		}
	}
}
