package wire

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tidemark/internal/testtree"
)

// entry is what a scan finds under one name.
type entry struct {
	kind  fs.FileMode // the type bits
	mode  fs.FileMode // the permissions
	mtime time.Time
	bytes string // of a file: size and sum; of a symlink: its target
}

// tree is one scan: entries by path, the root is ".".
type tree map[string]entry

// scan reads what is below root. It leaves out .tidemark, and what vanishes meanwhile.
func scan(root string) (tree, error) {
	found := tree{}
	err := testtree.Each(root, func(name, path string) error {
		e, err := read(path)
		if err == nil {
			found[name] = e
		}
		return err
	})
	return found, err
}

func read(path string) (entry, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return entry{}, err
	}
	e := entry{kind: info.Mode().Type(), mode: info.Mode().Perm(), mtime: info.ModTime()}
	switch {
	case e.kind == fs.ModeSymlink:
		e.bytes, err = os.Readlink(path)
	case e.kind.IsRegular():
		var text []byte
		text, err = os.ReadFile(path)
		e.bytes = fmt.Sprintf("%d bytes, %.6x", len(text), sha256.Sum256(text))
	}
	return e, err
}

// isAbove reports whether path is dir or lies below it.
func isAbove(dir, path string) bool {
	return dir == "." || path == dir || strings.HasPrefix(path, dir+"/")
}

// history has every version of every name that a source ever had.
type history map[string]map[string]bool

// note adds what the source has now.
func (h history) note(t tree) {
	for path, e := range t {
		if h[path] == nil {
			h[path] = map[string]bool{}
		}
		h[path][e.version()] = true
	}
}

// any reports whether some file had this version.
func (h history) any(version string) bool {
	for _, versions := range h {
		if versions[version] {
			return true
		}
	}
	return false
}

func (e *entry) version() string { return e.kind.String() + " " + e.bytes }

// editor changes a tree. It keeps the first error.
type editor struct {
	root  string
	plain bool // without symlinks, which other servers follow
	err   error
}

func (e *editor) path(name string) string { return filepath.Join(e.root, name) }

func (e *editor) do(err error) {
	if e.err == nil {
		e.err = err
	}
}

func (e *editor) write(name, text string) {
	e.do(os.MkdirAll(filepath.Dir(e.path(name)), 0o755))
	e.do(os.WriteFile(e.path(name), []byte(text), 0o644))
}

func (e *editor) mkdir(name string)           { e.do(os.MkdirAll(e.path(name), 0o755)) }
func (e *editor) remove(name string)          { e.do(os.RemoveAll(e.path(name))) }
func (e *editor) rename(from, to string)      { e.do(os.Rename(e.path(from), e.path(to))) }
func (e *editor) link(name, target string)    { e.do(os.Symlink(target, e.path(name))) }
func (e *editor) chmod(name string, m uint32) { e.do(os.Chmod(e.path(name), fs.FileMode(m))) }

// age sets all times of files and directories to a minute of the past that they share with
// no other call, since the listings of some servers have no seconds.
func (e *editor) age(minutes int) {
	at := time.Unix(1_700_000_000-int64(minutes)*60, 0)
	var paths []string
	e.do(filepath.WalkDir(e.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".tidemark" {
			return filepath.SkipDir
		}
		if err == nil && d.Type() != fs.ModeSymlink {
			info, _ := d.Info()
			if time.Since(info.ModTime()) < 24*time.Hour {
				paths = append(paths, path)
			}
		}
		return err
	}))
	for i := len(paths) - 1; i >= 0; i-- {
		e.do(os.Chtimes(paths[i], at, at))
	}
}

// plant makes the first state of a source.
func (e *editor) plant() {
	e.mkdir(".")
	e.write("a/f", "first version of f")
	e.write("a/g", "other text, as long")
	e.write("a/b/c/deep", "deep")
	e.write("a/b/one", "1")
	e.write("a/b/two", "2")
	e.write("a/old", "gone in the second state")
	for i := range 8 {
		e.write(fmt.Sprintf("many/%d", i), strings.Repeat(fmt.Sprintf("line %d\n", i), 5))
	}
	e.write("big", strings.Repeat("0123456789abcdef", 20<<10))
	e.mkdir("empty")
	e.write("gone/x", "x")
	e.write("gone/y/z", "z")
	e.write("gone/y/w", "w")
	e.write("name with blank, % and ä", "named")
	e.write("to rename", "renamed later")
	e.write("kind", "a file, later a directory")
	e.write("mode", "mode")
	if !e.plain {
		e.link("l", "a/f")
	}
}

// grow makes the second state, which the copy has when most sessions begin.
func (e *editor) grow() {
	e.write("a/second", "new in the second state")
	e.write("grown/s", "a directory of the second state")
	e.write("grown/t/u", "and one below it")
	e.write("many/8", "the ninth")
	e.remove("a/old")
	e.write("a/f", "second version of f!")
}

// change makes the third state: a change of each kind.
func (e *editor) change() {
	e.write("a/f", "third, longer version of f")
	e.write("a/third", "new in the third state")
	e.write("fresh/1", "one")
	e.write("fresh/2", "two")
	e.write("fresh/sub/3", "three")
	e.remove("a/b/two")
	e.rename("to rename", "renamed")
	e.chmod("mode", 0o755)
	e.remove("gone")
	for i := range 5 {
		e.write(fmt.Sprintf("many/%d", i), strings.Repeat(fmt.Sprintf("LINE %d\n", i), 5))
	}
	e.write("big", strings.Repeat("fedcba9876543210", 20<<10))
	e.remove("kind")
	e.write("kind/inside", "now a directory")
	if !e.plain {
		e.remove("l")
		e.link("l", "a/g")
	}
}

// moveOn changes a source while a session runs: it has one more state.
func (e *editor) moveOn() {
	e.write("a/f", "the newest version of f, of all")
	e.write("a/newest", "new in the last state")
	e.remove("many/7")
	e.write("fresh/1", "one, and more")
}
