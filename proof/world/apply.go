package world

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// change makes a change and applies it to the model. A change that the model does not allow
// is left out; so is one that the rights of its user do not allow.
func (w *World) change(c *change, s Step) error {
	w.mu.Lock()
	next := w.model.clone()
	err := c.model(next, s.Args)
	if err == nil {
		var moments map[string][][]byte
		if c.moments != nil {
			moments = c.moments(w.model, s.Args)
		}
		if c.grows != nil {
			w.history.grow(c.grows(w.model, s.Args))
		}
		w.history.coming(w.model, next, moments)
	}
	var away []string
	if c.away != nil {
		away = c.away(s.Args)
	}
	end := w.history.begin(w.model, next, away)
	defer func() { end() }()
	w.mu.Unlock()
	if err != nil {
		w.say("%s: left out, %v", s, err)
		return nil
	}
	err = as(s.User, func() error { return c.disk(w.site, s.Args) })
	w.say("%s%s", s, because(err))
	w.count(c.name)
	w.count(w.last + pairMark + c.name)
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.name == "nest" {
		w.faults.border = time.Now()
	}
	if err != nil {
		if c.rough || !plain(err) {
			w.stale = true
			w.halves, end = append(w.halves, end), func() {} // until it is known what it did
			w.linked = w.linked || c.name == "truncate"      // on a full btrfs it moves the time, and makes no event
		}
		w.history.coming(w.model, w.model, nil) // it stays as it was
		return nil
	}
	before := w.model.clone()
	if err := c.model(w.model, s.Args); err != nil {
		return fmt.Errorf("%s: the model changed its mind: %w", s, err)
	}
	w.unheard(c, s, before)
	w.readTimes(before, s.Args)
	w.history.done(before, w.model, away)
	w.history.coming(w.model, w.model, nil) // others that happen at once did not know of it
	return nil
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return " -> " + strings.TrimSpace(err.Error())
}

// unheard notes a write that is not heard: through one of several names, or through mmap.
func (w *World) unheard(c *change, s Step, before *model) {
	if c.name == "mmap" {
		w.linked = true
		w.unsure.Store(true) // nothing tells a reader that the bytes change
	}
	for _, p := range s.Args {
		if n := w.model.find(p); n != nil && n.kind == file && len(w.model.namesOf(n)) > 1 {
			w.linked = true
		} else if n := before.find(p); n != nil && n.kind == file && len(before.namesOf(n)) > 1 {
			w.linked = true
		}
	}
}

// as calls f as an ordinary user, in a thread of its own.
func as(user int, f func() error) error {
	if user == 0 {
		return f()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this function
		done <- func() error {
			for _, call := range [][4]uintptr{
				{unix.SYS_SETGROUPS, 0, 0, 0},
				{unix.SYS_SETRESGID, uintptr(user), uintptr(user), uintptr(user)},
				{unix.SYS_SETRESUID, uintptr(user), uintptr(user), uintptr(user)},
			} {
				if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
					return errno
				}
			}
			return f()
		}()
	}()
	return <-done
}

// readTimes takes over the times of what a change made or named; what they are is the
// kernel's business.
func (w *World) readTimes(before *model, args []string) {
	was := before.entries()
	for p, n := range w.model.entries() {
		named := slices.ContainsFunc(args, func(a string) bool { return a != "" && within(p, a) })
		if old := was[p]; old != nil && old.hash == n.hash && old.kind == n.kind && !named {
			continue
		}
		if info, err := os.Lstat(w.site.path(p)); err == nil {
			n.mtime = info.ModTime()
		}
	}
}

// readAnew makes the model from the source after a change that failed half way.
func (w *World) readAnew() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stale {
		return nil
	}
	w.stale = false
	m, err := scan(w.src)
	if err != nil {
		return err
	}
	if w.faults.mounted {
		m.root.kids["mnt"] = w.model.root.kids["mnt"] // covered
	}
	w.become(m)
	for _, end := range w.halves {
		end()
	}
	w.halves = nil
	return nil
}

// become replaces the model. It must be locked.
func (w *World) become(m *model) {
	w.history.coming(w.model, m, nil)
	before := w.model
	w.model = m
	w.history.done(before, m, nil)
}

// unmountInside takes away what is mounted in the source.
func (w *World) unmountInside() error {
	w.faults.mounted = false
	err := unmount(w.src + "/mnt")
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.covered != nil {
		next := w.model.clone()
		next.root.kids["mnt"], w.covered = w.covered, nil
		w.become(next)
	}
	return err
}

// giveBack makes the ordinary user the owner of everything, with the right to read it.
func (w *World) giveBack() error {
	err := giveAll(w.src, w.user)
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.model.clone()
	for p, n := range next.entries() {
		if n.kind == dir && n.mode&0o500 != 0o500 {
			n.mode = 0o755
			err = errors.Join(err, os.Chmod(w.site.path(p), 0o755))
		}
	}
	w.become(next)
	return err
}
