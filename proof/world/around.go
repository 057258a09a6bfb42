package world

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// treeTransitions are what happens to trees, their markers and their file systems.
var treeTransitions = []transition{
	{"lose-marker", 3, always([]string{"source", "copy"}), func(w *World, a []string) error {
		w.faults.lost = true
		if a[0] == "source" {
			_ = os.RemoveAll(w.src + "/.tidemark") // it stays on a read-only disk
			return nil
		}
		w.permits["adopt"] = true
		_ = os.RemoveAll(w.copies[0] + "/.tidemark")
		return nil
	}},
	{"unread", 3, some(dir), func(w *World, a []string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		n := w.model.find(a[0])
		if n == nil || n.kind != dir || os.Chmod(w.site.path(a[0]), 0) != nil {
			return nil
		}
		w.faults.options = true
		next := w.model.clone()
		next.find(a[0]).mode = 0
		w.become(next)
		return nil
	}},
	{"immutable", 2, some(dir), func(w *World, a []string) error {
		if w.given["source"] == "ext4" && exists(w.site.path(a[0])) {
			w.faults.immutable = run("chattr", "+i", "--", w.site.path(a[0])) == nil || w.faults.immutable
		}
		return nil
	}},
	{"copy-full", 3, always([]string{"0", "4096", "100000"}), func(w *World, a []string) error {
		if w.faults.copyReadOnly {
			return nil
		}
		w.faults.copyTrouble = true
		if w.faults.copyFull = !w.faults.copyFull; w.faults.copyFull {
			return w.disks["copy"].fill(int64(number(a[0])))
		}
		w.disks["copy"].free()
		return nil
	}},
	{"source-full", 2, always([]string{"0", "4096", "100000"}), func(w *World, a []string) error {
		if w.faults.sourceReadOnly {
			return nil
		}
		w.faults.sourceTrouble = true
		w.unsure.Store(true)
		if w.faults.sourceFull = !w.faults.sourceFull; w.faults.sourceFull {
			return w.disks["source"].fill(int64(number(a[0])))
		}
		w.disks["source"].free()
		return nil
	}},
	{"copy-read-only", 2, always(), func(w *World, _ []string) error {
		if w.faults.copyReadOnly {
			w.faults.copyReadOnly = false
			return w.disks["copy"].remount("rw")
		}
		for _, name := range []string{"mirror", "serve2"} {
			if err := w.endBy(name, "term"); err != nil {
				return err
			}
		}
		if w.disks["copy"].remount("ro") == nil {
			w.faults.copyReadOnly, w.faults.copyTrouble = true, true
		}
		return w.startAll()
	}},
	{"source-read-only", 1, always(), func(w *World, _ []string) error { return w.turnReadOnly() }},
	{"mount", 2, always(), func(w *World, _ []string) error {
		if w.faults.mounted {
			return w.unmountInside()
		}
		return w.mountInside()
	}},
	{"save", 3, saved, func(w *World, _ []string) error { return w.save() }},
	{"restore", 3, restored, func(w *World, _ []string) error { return w.restore() }},
	{"replace-root", 1, always(), func(w *World, _ []string) error { return w.replaceRoot() }},
	{"restore-copy", 1, always(), func(w *World, _ []string) error { return w.rollBackCopy() }},
	{"promote", 1, always(), func(w *World, _ []string) error { return w.promoteCopy() }},
	{"inner", 2, always(), func(w *World, _ []string) error { return w.watchInside() }},
}

// some draws a transition of an entry.
func some(kinds ...kind) func(d *drawer) ([]string, bool) {
	return func(d *drawer) ([]string, bool) {
		p := d.some(kinds...)
		return []string{p}, p != ""
	}
}

// saved and restored keep the drawer's model in step.
func saved(d *drawer) ([]string, bool) {
	if d.saved != nil {
		return nil, false
	}
	d.saved = d.m.clone()
	return nil, true
}

func restored(d *drawer) ([]string, bool) {
	if d.saved == nil {
		return nil, false
	}
	d.m, d.saved = d.saved, nil
	return nil, true
}

// turnReadOnly makes the disk of the source read-only, or writable again.
func (w *World) turnReadOnly() error {
	if w.faults.sourceReadOnly {
		w.faults.sourceReadOnly = false
		return w.disks["source"].remount("rw")
	}
	if err := w.stopSource("term"); err != nil {
		return err
	}
	if w.disks["source"].remount("ro") == nil {
		w.faults.sourceReadOnly, w.faults.sourceTrouble = true, true
	}
	return w.startSource()
}

// mountInside mounts a file system in the tree.
func (w *World) mountInside() error {
	at := w.src + "/mnt"
	if err := run("mount", "-t", "tmpfs", "-o", "size=1m", "tidemark-world", at); err != nil {
		return err
	}
	w.faults.mounted = true
	if err := writeWhole(at, "inside", content(7, 40)); err != nil {
		return err
	}
	if w.given["mounts"] != "" {
		w.mu.Lock()
		defer w.mu.Unlock()
		next := w.model.clone()
		w.covered = next.root.kids["mnt"]
		next.root.kids["mnt"] = newDir()
		next.root.kids["mnt"].kids["inside"] = newFile(content(7, 40))
		w.become(next)
	}
	return nil
}

// writeWhole makes a file that nobody sees before all of it is there: somebody watches the new mount.
func writeWhole(dir, name string, text []byte) error {
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, filepath.Join(dir, name), unix.AT_SYMLINK_FOLLOW)
}

// stopSource ends what has the source open.
func (w *World) stopSource(how string) error {
	for _, name := range []string{"watch", "serve", "other"} {
		if err := w.endBy(name, how); err != nil {
			return err
		}
	}
	if w.faults.from == "local" {
		return w.endBy("mirror", how)
	}
	return nil
}

// startSource starts it again.
func (w *World) startSource() error {
	for _, name := range []string{"watch", "serve"} {
		if err := w.start(name); err != nil {
			return err
		}
	}
	switch w.faults.from {
	case "other", "several":
		return w.start("other")
	case "local":
		return w.start("mirror")
	}
	return nil
}

// save keeps the source as it is now: its image, or a copy by cp -a.
func (w *World) save() error {
	if w.faults.mounted || w.faults.sourceReadOnly || w.stale {
		return nil
	}
	if err := w.stopSource("term"); err != nil {
		return err
	}
	d := w.disks["source"]
	var err error
	if d.image != "" {
		err = run("umount", d.dir)
		if err != nil {
			return w.startSource()
		}
		err = run("cp", "--sparse=always", d.image, d.image+".saved")
		if mountErr := d.mount(); err == nil {
			err = mountErr
		}
	} else {
		saved := filepath.Join(w.top, "saved")
		_ = os.RemoveAll(saved)
		err = run("cp", "-a", w.src, saved)
	}
	w.mu.Lock()
	w.saved = w.model.clone()
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return w.startSource()
}

// restore puts back what save kept.
func (w *World) restore() error {
	if w.saved == nil || w.faults.mounted || w.faults.sourceFull || w.faults.sourceReadOnly {
		return nil
	}
	if err := w.stopSource("kill"); err != nil {
		return err
	}
	d := w.disks["source"]
	if d.image != "" {
		if run("umount", d.dir) != nil {
			return w.startSource()
		}
		if err := run("cp", "--sparse=always", d.image+".saved", d.image); err != nil {
			return err
		}
		if err := d.mount(); err != nil {
			return err
		}
	} else {
		w.unfree()
		w.permits["same-tree"] = true // the root may be another directory than when it was saved
		if err := run("sh", "-c", `find "$1" -mindepth 1 -maxdepth 1 -exec rm -rf {} + && cp -a "$2/." "$1/"`, "sh", w.src, filepath.Join(w.top, "saved")); err != nil {
			return err
		}
	}
	w.faults.lost, w.faults.options = true, true
	err := w.eye.closed(func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		m, err := scan(w.src)
		if err == nil {
			if lines := differences(w.saved, m, false); len(lines) > 0 {
				return fmt.Errorf("what was put back is not what was saved: %s", brief(lines))
			}
			w.become(m)
		}
		return err
	})
	w.saved = nil
	if err != nil {
		return err
	}
	return w.startSource()
}

// replaceRoot puts a copy of the source, with its marker, in the place of the source.
func (w *World) replaceRoot() error {
	if w.faults.mounted || w.faults.sourceFull || w.faults.sourceReadOnly || w.stale {
		return nil
	}
	if err := w.stopSource("term"); err != nil {
		return err
	}
	w.unfree()
	w.permits["same-tree"], w.faults.lost = true, true
	if err := run("sh", "-c", `mv "$1" "$1.old" && cp -a "$1.old" "$1" && rm -rf "$1.old"`, "sh", w.src); err != nil {
		return err
	}
	return w.startSource()
}

// rollBackCopy puts back a copy of the copy, as a restored backup.
func (w *World) rollBackCopy() error {
	kept := filepath.Join(w.top, "kept")
	if w.faults.copyFull || w.faults.copyReadOnly {
		return nil
	}
	if !exists(kept) {
		if err := w.endBy("mirror", "term"); err != nil {
			return err
		}
		if err := run("cp", "-a", w.copies[0], kept); err != nil {
			return err
		}
		return w.start("mirror")
	}
	for _, name := range []string{"mirror", "serve2"} {
		if err := w.endBy(name, "term"); err != nil {
			return err
		}
	}
	w.permits["adopt"], w.permits["adopt2"], w.faults.lost = true, true, true
	w.kept[0] = nil // what it had since is lost, and not by mirror
	err := w.eye.closed(func() error {
		return run("sh", "-c", `rm -rf "$1" && mv "$2" "$1"`, "sh", w.copies[0], kept)
	})
	if err != nil {
		return err
	}
	if err := w.start("mirror"); err != nil {
		return err
	}
	return w.start("serve2")
}

// watchInside lets another watch run in a directory of the tree for a moment: a border.
func (w *World) watchInside() error {
	at := w.src + "/s4/k0"
	var s unix.Stat_t
	if unix.Lstat(at, &s) != nil || s.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	out, code := ask(10*time.Second, "watch", "--once", at)
	w.faults.border = time.Now()
	w.say("watch --once inside: code %d %s", code, strings.TrimSpace(tail(out, 200)))
	return nil
}

// promoteCopy makes the copy a source, which something happens to, and a copy again.
func (w *World) promoteCopy() error {
	if w.faults.copyFull || w.faults.copyReadOnly || w.faults.from == "local" {
		return nil
	}
	if err := w.endBy("mirror", "term"); err != nil {
		return err
	}
	out, code := ask(patience, "watch", "--once", "--promote", w.copies[0])
	w.say("promote: code %d %s", code, strings.TrimSpace(tail(out, 200)))
	if err := os.RemoveAll(w.copies[0] + "/.tidemark"); err != nil {
		return err
	}
	w.permits["adopt"], w.permits["adopt2"], w.faults.lost = true, true, true
	if w.user != 0 {
		if err := giveAll(w.copies[0], w.user); err != nil {
			return err
		}
	}
	return w.start("mirror", "--adopt")
}
