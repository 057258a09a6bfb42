package world

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// scan reads what is at root, without .tidemark and what is mounted in it. What vanishes
// meanwhile is left out.
func scan(root string) (*model, error) {
	info, err := os.Lstat(root)
	if err != nil {
		return nil, err
	}
	m, known := newModel(), map[uint64]*node{}
	at := info.Sys().(*syscall.Stat_t)
	m.root.mtime = info.ModTime()
	return m, m.root.scan(root, at.Dev, known)
}

// scan reads a directory into n. known are files by inode.
func (n *node) scan(name string, dev uint64, known map[uint64]*node) error {
	entries, err := os.ReadDir(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	for _, e := range entries {
		if e.Name() == ".tidemark" {
			continue
		}
		kid, kidErr := scanEntry(name+"/"+e.Name(), dev, known)
		if kid != nil {
			n.kids[e.Name()] = kid
		}
		err = errors.Join(err, kidErr)
	}
	return err
}

// scanEntry reads one entry and all below it; nil if it has vanished.
func scanEntry(name string, dev uint64, known map[uint64]*node) (*node, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, unlessGone(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	n := &node{mode: stat.Mode & 0o777, mtime: info.ModTime()}
	switch info.Mode().Type() {
	case 0:
		if was := known[stat.Ino]; was != nil && stat.Nlink > 1 && was.isOf(info) { // another file may have its number by now
			return was, nil
		}
		n.kind = file
		if n.data, err = readFile(name); err != nil {
			return nil, unlessGone(err)
		}
		n.hash = sha256.Sum256(n.data)
		known[stat.Ino] = n
	case fs.ModeDir:
		n.kind, n.kids = dir, map[string]*node{}
		if stat.Dev != dev {
			return n, nil
		}
		return n, n.scan(name, dev, known)
	case fs.ModeSymlink:
		n.kind = link
		if n.target, err = os.Readlink(name); err != nil {
			return nil, unlessGone(err)
		}
	default:
		n.kind = fifo
	}
	return n, nil
}

// isOf reports whether a file that was read has that size and time.
func (n *node) isOf(info fs.FileInfo) bool {
	return int64(len(n.data)) == info.Size() && n.mtime.Equal(info.ModTime())
}

// readFile reads a file that may be another kind of entry by now.
func readFile(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fs.ErrNotExist)
	}
	return io.ReadAll(f)
}

func unlessGone(err error) error {
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

// differences compares what should be with what is: names, types, bytes, modes, times of
// files and symlinks; those of directories if they are known.
func differences(want, have *model, dirTimes bool) (lines []string) {
	a, b := want.entries(), have.entries()
	a[""], b[""] = want.root, have.root
	for _, p := range slices.Sorted(maps.Keys(a)) {
		if b[p] == nil {
			lines = append(lines, fmt.Sprintf("%q is missing", p))
		} else if what := unlike(a[p], b[p], dirTimes); what != "" {
			lines = append(lines, fmt.Sprintf("%q: %s", p, what))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(b)) {
		if a[p] == nil {
			lines = append(lines, fmt.Sprintf("%q is too much", p))
		}
	}
	return lines
}

// unlike says how two entries differ.
func unlike(want, have *node, dirTimes bool) string {
	switch {
	case want.kind != have.kind:
		return fmt.Sprintf("%c, want %c", have.kind, want.kind)
	case want.hash != have.hash:
		return fmt.Sprintf("%s, want %s", begins(have.data), begins(want.data))
	case want.target != have.target:
		return fmt.Sprintf("-> %q, want %q", have.target, want.target)
	case want.kind != link && want.kind != fifo && want.mode != have.mode:
		return fmt.Sprintf("mode %o, want %o", have.mode, want.mode)
	case (want.kind == file || want.kind == link || want.kind == dir && dirTimes) && !want.mtime.Equal(have.mtime):
		return fmt.Sprintf("time %s, want %s", stamp(have.mtime), stamp(want.mtime))
	}
	return ""
}

func begins(data []byte) string { return fmt.Sprintf("%d bytes %.24q", len(data), data) }

func stamp(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

// copied is the model without what is not copied by rule: FIFOs, and symlinks that lead out.
func (m *model) copyable() *model {
	c := m.clone()
	for p, n := range m.entries() {
		if n.kind == fifo || n.kind == link && leadsOut(p, n.target) {
			_ = c.remove(p)
		}
	}
	return c
}

// brief is the number of lines and the first ones.
func brief(lines []string) string {
	if len(lines) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%d: %s", len(lines), strings.Join(lines[:min(len(lines), 8)], "; "))
}
