package mounts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// mostMounts is how many a tree has at most.
const mostMounts = 24

// steps are what may happen, and how often.
var steps = []struct {
	name  string
	share int
	do    func(w *world) (what string, err error)
}{
	{"write", 20, func(w *world) (string, error) {
		path := w.file()
		return path, os.WriteFile(w.in(path), w.content(), 0o644)
	}},
	{"rewrite", 10, (*world).rewrite},
	{"remove", 5, func(w *world) (string, error) {
		path := w.file()
		return path, os.Remove(w.in(path))
	}},
	{"mkdir", 17, func(w *world) (string, error) {
		path := w.there() + "/" + w.dir()
		return path, os.MkdirAll(w.in(path), 0o755)
	}},
	{"move a directory", 8, func(w *world) (string, error) {
		from, to := w.there(), w.dir()
		return from + " " + to, os.Rename(w.in(from), w.in(to))
	}},
	{"move a file", 4, func(w *world) (string, error) {
		from, to := w.file(), w.file()
		return from + " " + to, os.Rename(w.in(from), w.in(to))
	}},
	{"remove all", 4, func(w *world) (string, error) {
		path := w.there()
		return path, exec.Command("rm", "-rf", "--one-file-system", w.in(path)).Run()
	}},
	{"mount a file system", 8, func(w *world) (string, error) {
		path := w.there()
		return path, w.mount("tmpfs", path, "tmpfs", 0)
	}},
	{"bind a directory", 12, func(w *world) (string, error) {
		from, to := w.there(), w.there()
		return from + " " + to, w.mount(w.in(from), to, "", syscall.MS_BIND)
	}},
	{"bind a file", 2, func(w *world) (string, error) {
		from, to := w.file(), w.file()
		return from + " " + to, w.mount(w.in(from), to, "", syscall.MS_BIND)
	}},
	{"unmount", 10, (*world).unmount},
	{"kill watch", 1, func(w *world) (string, error) {
		w.restartWatch()
		return "", nil
	}},
}

// step does something. What the system refuses is not done.
func (w *world) step() {
	shares := 0
	for _, s := range steps {
		shares += s.share
	}
	n := w.r.IntN(shares)
	for _, s := range steps {
		if n -= s.share; n < 0 {
			what, err := s.do(w)
			w.say(s.name, what, err)
			return
		}
	}
}

// rewrite gives a file other bytes of the same size, and the same time.
func (w *world) rewrite() (what string, err error) {
	path := w.file()
	info, err := os.Stat(w.in(path))
	if err != nil {
		return path, err
	}
	at := info.ModTime()
	return path, errors.Join(os.WriteFile(w.in(path), w.content(), 0o644), os.Chtimes(w.in(path), at, at))
}

// mount mounts something at a path.
func (w *world) mount(source, at, kind string, flags uintptr) error {
	if len(w.mounts()) > mostMounts {
		return errors.New("enough is mounted")
	}
	return syscall.Mount(source, w.in(at), kind, flags, "")
}

// unmount unmounts something below the root, and what is mounted in it.
func (w *world) unmount() (what string, err error) {
	all := w.mounts()
	if len(all) < 2 {
		return "", errors.New("nothing is mounted")
	}
	m := all[1+w.r.IntN(len(all)-1)]
	return m.at, syscall.Unmount(m.at, syscall.MNT_DETACH)
}

// dir returns the path of a directory, which may not be there.
func (w *world) dir() string {
	path := fmt.Sprintf("d%d", w.r.IntN(3))
	for range w.r.IntN(4) {
		path += fmt.Sprintf("/d%d", w.r.IntN(3))
	}
	return path
}

// there returns that of one that is there. The root is none of them: its marker stays.
func (w *world) there() string {
	for range 40 {
		path := w.dir()
		if info, err := os.Lstat(w.in(path)); err == nil && info.IsDir() {
			return path
		}
	}
	if err := os.MkdirAll(w.in("d0"), 0o755); err != nil {
		w.say("mkdir", err)
	}
	return "d0"
}

// file returns the path of a file, which may not be there, in a directory that is.
func (w *world) file() string { return fmt.Sprintf("%s/f%d", w.there(), w.r.IntN(3)) }
