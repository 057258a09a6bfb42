// Package notifytest is the suite that every source of events must pass. Each
// file in testdata is one test; a new test is a new file.
//
// A script begins with the tree, one path a line, "start", and then lines of
// operations and expectations:
//
//	mkdir P, rmdir P, rm P, rm-r P      make and remove
//	write P, append P, truncate P       a file's contents
//	chmod P, touch P, mtime P           attributes; mtime sets that alone
//	mv A B, exchange A B, link A B, symlink P
//	out P NAME, in NAME P               move out of the tree, and back in
//	walk P                              what a watcher does with an arrival: arm, then list, everything below
//	hear WHAT...                        there is an event of each of these, and perhaps of others
//	only WHAT...                        of each of these, and of nothing else
//
// WHAT is "d/f" for the entry f of d, "d/f/" if a directory arrived there,
// "d/." for d's own attributes, and "./" stands before names in the root;
// "d/f|e/f" is either of two.
package notifytest

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/notify"
)

//go:embed testdata
var scripts embed.FS

// deadline is how long an event may take.
const deadline = 5 * time.Second

// Open makes the Source under test for the tree at root.
type Open func(root *os.File, wake chan<- struct{}) (notify.Source, error)

// Run runs every script.
func Run(t *testing.T, open Open) {
	files, err := scripts.ReadDir("testdata")
	check(t, err)
	for _, f := range files {
		t.Run(strings.TrimSuffix(f.Name(), ".txt"), func(t *testing.T) {
			text, err := scripts.ReadFile("testdata/" + f.Name())
			check(t, err)
			run(t, open, string(text))
		})
	}
}

// world is one script's tree and Source.
type world struct {
	t       *testing.T
	root    string
	outside string
	source  notify.Source
	wake    chan struct{}
	refs    map[string]notify.Ref // of armed directories, by path when they were armed
	heard   map[string]bool
	marks   int
}

// run runs one script.
func run(t *testing.T, open Open, script string) {
	w := &world{t: t, root: t.TempDir(), outside: t.TempDir(), wake: make(chan struct{}, 1),
		refs: map[string]notify.Ref{}, heard: map[string]bool{}}
	for number, line := range strings.Split(script, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if err := w.line(open, fields); err != nil {
			t.Fatalf("line %d: %s: %v", number+1, line, err)
		}
	}
}

// line runs one line of a script.
func (w *world) line(open Open, fields []string) error {
	switch {
	case fields[0] == "start":
		return w.start(open)
	case w.source == nil:
		return w.make(fields[0])
	case fields[0] == "hear":
		return w.hear(fields[1:], false)
	case fields[0] == "only":
		return w.hear(fields[1:], true)
	case fields[0] == "walk":
		return w.walk(fields[1])
	}
	return w.do(fields[0], w.in(fields[1]), fields)
}

func (w *world) in(path string) string { return filepath.Join(w.root, path) }

func (w *world) make(path string) error {
	if strings.HasSuffix(path, "/") {
		return os.MkdirAll(w.in(path), 0o755)
	}
	return errors.Join(os.MkdirAll(filepath.Dir(w.in(path)), 0o755), os.WriteFile(w.in(path), []byte("text"), 0o644))
}

// start opens the Source and arms the tree.
func (w *world) start(open Open) error {
	root, err := os.Open(w.root)
	if err != nil {
		return err
	}
	defer root.Close()
	if w.source, err = open(root, w.wake); err != nil {
		return err
	}
	w.t.Cleanup(func() { check(w.t, w.source.Close()) })
	ref, _, err := w.source.Arm(notify.Ref{}, -1, "", int(root.Fd()))
	if err != nil {
		return err
	}
	w.refs["."] = ref
	return w.below(".", root)
}

// walk arms a directory and all below it, as a watcher does with arrivals.
func (w *world) walk(path string) error {
	parent, err := os.Open(w.in(filepath.Dir(path)))
	if err != nil {
		return err
	}
	defer parent.Close()
	return w.arm(filepath.Dir(path), parent, filepath.Base(path))
}

func (w *world) arm(parentPath string, parent *os.File, name string) error {
	path := filepath.Join(parentPath, name)
	dir, err := os.Open(w.in(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	ref, _, err := w.source.Arm(w.refs[parentPath], int(parent.Fd()), name, int(dir.Fd()))
	if err != nil {
		return fmt.Errorf("arm %s: %w", path, err)
	}
	w.refs[path] = ref
	return w.below(path, dir)
}

func (w *world) below(path string, dir *os.File) error {
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := w.arm(path, dir, e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// do carries out an operation.
func (w *world) do(op, path string, fields []string) error {
	past := time.Unix(1_000_000_000, 0)
	switch op {
	case "mkdir":
		return os.MkdirAll(path, 0o755)
	case "rm", "rmdir":
		return os.Remove(path)
	case "rm-r":
		return os.RemoveAll(path)
	case "write":
		return os.WriteFile(path, []byte("other"), 0o644)
	case "append":
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		w.t.Cleanup(func() { _ = f.Close() }) // stays open, as a log does
		_, err = f.WriteString("more")
		return err
	case "truncate":
		return os.Truncate(path, 0)
	case "chmod":
		return os.Chmod(path, 0o700)
	case "touch":
		return os.Chtimes(path, past, past)
	case "mtime":
		return os.Chtimes(path, time.Time{}, past)
	case "mv":
		return unix.Rename(path, w.in(fields[2])) // os.Rename refuses directories
	case "exchange":
		return unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, w.in(fields[2]), unix.RENAME_EXCHANGE)
	case "link":
		return os.Link(path, w.in(fields[2]))
	case "symlink":
		return os.Symlink("target", path)
	case "out":
		return os.Rename(path, filepath.Join(w.outside, fields[2]))
	case "in":
		return os.Rename(filepath.Join(w.outside, fields[1]), w.in(fields[2]))
	}
	return errors.New("no such operation")
}

// hear takes until there was an event of everything in want. With only, it then makes a
// mark, and requires that nothing else came before the mark.
func (w *world) hear(want []string, only bool) error {
	if only {
		w.marks++
		mark := fmt.Sprintf("mark%d", w.marks)
		if err := os.WriteFile(w.in(mark), nil, 0o644); err != nil {
			return err
		}
		want = append(slices.Clone(want), "./"+mark)
	}
	if err := w.until(want); err != nil {
		return err
	}
	for _, what := range want {
		for one := range strings.SplitSeq(what, "|") {
			delete(w.heard, one)
		}
	}
	if only {
		for what := range w.heard {
			return fmt.Errorf("also an event of %q", what)
		}
	}
	clear(w.heard)
	return nil
}

// until takes until there was an event of everything in want.
func (w *world) until(want []string) error {
	timeout := time.After(deadline)
	for {
		events := w.source.Take()
		if events.Lost != "" {
			return fmt.Errorf("lost: %s", events.Lost)
		}
		for _, d := range events.Dirs {
			w.note(d)
		}
		missing := slices.DeleteFunc(slices.Clone(want), w.wasHeard)
		if len(missing) == 0 && events.Drained {
			return nil
		}
		select {
		case <-w.wake:
		case <-timeout:
			return fmt.Errorf("no event of %q", missing)
		}
	}
}

// wasHeard reports whether there was an event of one of the alternatives, "a/f|b/f".
func (w *world) wasHeard(what string) bool {
	for one := range strings.SplitSeq(what, "|") {
		if w.heard[one] {
			return true
		}
	}
	return false
}

// note records what a Take said about one directory.
func (w *world) note(h *notify.DirEvents) {
	dir := h.Path
	if dir == "" {
		dir = "."
	}
	if h.Self > 0 {
		w.heard[dir+"/."] = true
	}
	if h.Dirty {
		w.heard[dir+"/*"] = true
	}
	for _, e := range h.Entries {
		what := dir + "/" + e.Name
		if e.Arrived {
			what += "/"
		}
		w.heard[what] = true
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
