// Package testtree is a small language for file trees in tests, and a way to
// compare two trees that shows where they differ.
package testtree

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Make creates entries below root, one for each line:
//
//	d/                     a directory
//	d/f = some text        a file
//	l -> d/f               a symlink
//	old = x @1.5 mode=0600 with mtime and mode
//	"a\nb" = x             a name in Go quotes
//
// It makes missing parents. It sets times at the end, in the order of the lines, so
// that times of directories stay.
func Make(t testing.TB, root string, lines ...string) {
	t.Helper()
	var times []func() error
	for _, line := range lines {
		e, err := parse(line)
		if err == nil {
			err = e.create(root)
		}
		if err != nil {
			t.Fatalf("testtree: %q: %v", line, err)
		}
		if e.mtime != nil {
			times = append(times, func() error { return e.setTime(root) })
		}
	}
	for _, set := range times {
		if err := set(); err != nil {
			t.Fatalf("testtree: %v", err)
		}
	}
}

// entry is one line of the language.
type entry struct {
	path, text, target string
	dir                bool
	mode               *os.FileMode
	mtime              *[2]int64 // seconds, nanoseconds
}

// parse reads one line.
func parse(line string) (e entry, err error) {
	rest := line
	if quoted, qerr := strconv.QuotedPrefix(line); qerr == nil {
		rest = line[len(quoted):]
		e.path, err = strconv.Unquote(quoted)
	} else {
		e.path, rest, _ = strings.Cut(line, " ")
	}
	rest = strings.TrimSpace(rest)
	var words []string
	switch {
	case strings.HasPrefix(rest, "-> "):
		words = strings.Fields(rest[3:])
		e.target, words = words[0], words[1:]
	default:
		rest = strings.TrimSpace(strings.TrimPrefix(rest, "="))
		words = strings.Fields(rest)
	}
	var text []string
	for _, w := range words {
		switch {
		case strings.HasPrefix(w, "@"):
			e.mtime, err = parseTime(w[1:])
		case strings.HasPrefix(w, "mode="):
			var n uint64
			n, err = strconv.ParseUint(w[5:], 8, 32)
			mode := os.FileMode(n)
			e.mode = &mode
		default:
			text = append(text, w)
		}
		if err != nil {
			return e, err
		}
	}
	e.text = strings.Join(text, " ")
	e.path, e.dir = strings.CutSuffix(e.path, "/")
	return e, err
}

// parseTime reads SECONDS[.FRACTION].
func parseTime(text string) (*[2]int64, error) {
	whole, frac, _ := strings.Cut(text, ".")
	sec, err1 := strconv.ParseInt(whole, 10, 64)
	nsec, err2 := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
	return &[2]int64{sec, nsec}, errors.Join(err1, err2)
}

// create makes the entry and its parents.
func (e entry) create(root string) error {
	path := filepath.Join(root, e.path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var err error
	switch {
	case e.dir:
		err = os.MkdirAll(path, 0o755)
	case e.target != "":
		err = os.Symlink(e.target, path)
	default:
		err = os.WriteFile(path, []byte(e.text), 0o644)
	}
	if err == nil && e.mode != nil {
		err = os.Chmod(path, *e.mode)
	}
	return err
}

// setTime sets the mtime of the entry.
func (e entry) setTime(root string) error {
	at := time.Unix(e.mtime[0], e.mtime[1])
	return os.Chtimes(filepath.Join(root, e.path), time.Time{}, at)
}

// Snapshot describes every entry below root but .tidemark: path -> type, mode,
// mtime in nanoseconds, size and content. It leaves out an entry that vanishes
// meanwhile.
func Snapshot(root string) (map[string]string, error) {
	tree := map[string]string{}
	err := Each(root, func(name, path string) (err error) {
		text, err := describe(path)
		if err == nil {
			tree[name] = text
		}
		return err
	})
	return tree, err
}

// Each visits every entry below root but .tidemark, and root itself by the name ".". It is
// no error if an entry vanishes meanwhile.
func Each(root string, visit func(name, path string) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := ""
		if err == nil && d.Name() == ".tidemark" {
			return filepath.SkipDir
		}
		if err == nil {
			name, err = filepath.Rel(root, path)
		}
		if err == nil {
			err = visit(name, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// describe returns one entry as Snapshot shows it.
func describe(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	stat := info.Sys().(*syscall.Stat_t)
	text := fmt.Sprintf("%v %d.%09d", info.Mode()&^os.ModeSticky, stat.Mtim.Sec, stat.Mtim.Nsec)
	switch {
	case info.Mode()&os.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return text + " -> " + target, err
	case info.Mode().IsRegular():
		data, err := os.ReadFile(path)
		return fmt.Sprintf("%s %d %.8x", text, len(data), sha256.Sum256(data)), err
	}
	return text, nil
}

// Differences compares two trees in everything that a mirror keeps: names, types,
// bytes, modes and nanosecond mtimes, of files and of directories. It returns a
// line for each difference, sorted.
func Differences(a, b string) ([]string, error) {
	left, err := Snapshot(a)
	if err != nil {
		return nil, err
	}
	right, err := Snapshot(b)
	if err != nil {
		return nil, err
	}
	var lines []string
	for name, text := range left {
		if other, ok := right[name]; !ok {
			lines = append(lines, fmt.Sprintf("%q: %s | missing", name, text))
		} else if other != text {
			lines = append(lines, fmt.Sprintf("%q: %s | %s", name, text, other))
		}
	}
	for name, text := range right {
		if _, ok := left[name]; !ok {
			lines = append(lines, fmt.Sprintf("%q: missing | %s", name, text))
		}
	}
	slices.Sort(lines)
	return lines, nil
}
