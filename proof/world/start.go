package world

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// begin makes the file systems and the first tree, and starts the programs.
func (w *World) begin(given []string) error {
	for _, g := range given {
		key, value, _ := strings.Cut(g, "=")
		w.given[key] = value
	}
	for name, size := range map[string]string{"source": "160M", "copy": "100M"} {
		switch w.given[name] {
		case "xfs":
			size = "320M" // at least
		case "btrfs":
			size = "120M"
		}
		d, err := newDisk(filepath.Join(w.top, name), w.given[name], size)
		if err != nil {
			return err
		}
		w.disks[name] = d
	}
	w.src = filepath.Join(w.disks["source"].dir, "tree")
	w.site = site{root: w.src, aside: filepath.Join(w.disks["source"].dir, "aside")}
	w.copies = [2]string{filepath.Join(w.disks["copy"].dir, "copy"), filepath.Join(w.top, "copy2")}
	err := errors.Join(os.Mkdir(w.src, 0o755), os.Mkdir(w.site.aside, 0o777), os.Chmod(w.site.aside, 0o777))
	if w.given["rights"] == "user" {
		w.user = user
		for _, c := range slices.Concat(w.copies[:], w.backups()) {
			err = errors.Join(err, os.Mkdir(c, 0o755), os.Chown(c, user, user))
		}
	}
	for _, p := range w.programs {
		p.user = w.user
	}
	for _, b := range w.backups() {
		err = errors.Join(err, os.MkdirAll(b, 0o755))
	}
	if err == nil {
		err = w.plant()
	}
	if err != nil {
		return err
	}
	first := []string{"watch", "serve", "mirror"}
	if w.given["first"] == "mirror" {
		first = []string{"serve", "mirror", "watch"}
	}
	for _, name := range append(first, "serve2", "mirror2") {
		if name == "serve2" {
			w.until(func() bool { return exists(w.copies[0] + "/.tidemark/tree") })
		}
		if err := w.start(name); err != nil {
			return err
		}
	}
	w.open()
	return nil
}

// plant makes the first tree on disk.
func (w *World) plant() error {
	m := newModel()
	plant(m)
	for p, n := range m.entries() {
		name := w.site.path(p)
		var err error
		if n.kind == dir {
			err = os.MkdirAll(name, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(name), 0o755); err == nil {
			err = os.WriteFile(name, n.data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	owned := []string{w.src + "/s0", w.src + "/s1"}
	if w.user != 0 {
		owned = []string{w.src}
	}
	if err := run("chown", append([]string{"-R", fmt.Sprintf("%d:%d", user, user)}, owned...)...); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	m, err := scan(w.src)
	if err == nil {
		w.become(m)
	}
	return err
}

// args is the command of a program.
func (w *World) args(p *program) []string {
	args := w.argsOf(p)
	if m := w.given["mounts"]; m != "" {
		args = slices.Insert(args, 1, m)
	}
	return args
}

func (w *World) argsOf(p *program) []string {
	switch p.name {
	case "watch":
		return append(append([]string{"watch"}, p.options...), w.src)
	case "serve":
		return append(append([]string{"serve", "--listen", w.address["serve"], "--metrics", w.address["metrics"]}, p.options...), w.src)
	case "other":
		return []string{"serve", "--listen", w.address["other"], "--hidden", w.src}
	case "serve2":
		return append(append([]string{"serve", "--listen", w.address["serve2"], "--hidden"}, p.options...), w.copies[0])
	}
	from, to := "http://"+w.address["serve"]+"/", w.copies[0]
	switch {
	case p.name == "mirror2":
		from, to = "http://"+w.address["serve2"]+"/", w.copies[1]
	case w.faults.from == "other":
		from = "http://" + w.address["other"] + "/"
	case w.faults.from == "local":
		from = w.src
	}
	options := []string{"mirror", "--interval", "300ms", "--max-delete", w.given["max-delete"]}
	for _, option := range []string{w.given["links"], w.given["sparse"]} {
		if option != "" {
			options = append(options, option)
		}
	}
	if backups := w.backups(); backups != nil {
		options = append(options, "--backup-dir", backups[slices.Index(w.copies[:], to)])
	}
	if p.name == "mirror" && w.faults.from == "several" {
		from += " http://" + w.address["other"] + "/"
	}
	return slices.Concat(options, p.options, strings.Fields(from), []string{to})
}

// backups are the backup directories of the two copies, if they have any.
func (w *World) backups() []string {
	if w.given["backup"] == "" {
		return nil
	}
	return []string{w.copies[0] + "-backup", w.copies[1] + "-backup"}
}

// start starts a program, unless it runs.
func (w *World) start(name string, more ...string) error {
	p := w.programs[name]
	if p.alive() {
		return nil
	}
	if name == "serve" && p.options == nil {
		p.options = []string{"--hidden"}
	}
	args := w.args(p)
	args = append(append(slices.Clone(args[:1]), more...), args[1:]...)
	if name == "watch" && (p.user != 0 || p.limited()) {
		if err := w.giveAway(p.runsAs()); err != nil && !w.faults.sourceTrouble {
			return err
		}
	}
	w.say("start %s, user %d, inotify watches %d", strings.Join(args, " "), p.user, p.limit)
	return p.launch(args)
}

// giveAway gives the root and the state of the source to a user.
func (w *World) giveAway(user int) error {
	return errors.Join(os.Chown(w.src, user, user), giveAll(w.src+"/.tidemark", user))
}

// attend looks at what ended by itself. What the state of the world explains is started
// again, as a supervisor does; the rest is a finding.
func (w *World) attend() {
	for _, name := range append([]string{"other"}, names...) {
		p := w.programs[name]
		if p.down || time.Now().Before(p.retry) {
			continue
		}
		if p.alive() {
			w.insist(p)
			continue
		}
		said, code := p.said(), p.code()
		w.say("%s ended by itself, code %d", name, code)
		more, ok := w.remedy(p, said, code)
		if !ok {
			w.finding("ended", "%s ended by itself, code %d: %s", name, code, said)
		}
		if err := w.start(name, more...); err != nil {
			w.finding("rig", "%v", err)
		}
		p.retry = time.Now().Add(300 * time.Millisecond)
	}
}

// insist starts a mirror anew with --adopt if it runs and waits for the right source, as its
// status says, and the world permits that.
func (w *World) insist(p *program) {
	if !(p.name == "mirror" && w.permits["adopt"] || p.name == "mirror2" && w.permits["adopt2"]) {
		return
	}
	p.retry = time.Now().Add(time.Second)
	said := p.said()
	if asked := strings.LastIndex(said, "or --adopt to make the copy equal"); asked < 0 || asked < strings.LastIndex(said, "listed ") {
		return
	}
	w.say("%s is refused: --adopt", p.name)
	p.kill()
	if err := w.start(p.name, "--adopt"); err != nil {
		w.finding("rig", "%v", err)
	}
	p.retry = time.Now().Add(5 * time.Second)
}

// remedy is what the log asks for, if the world permits it.
func (w *World) remedy(p *program, said string, code int) (more []string, ok bool) {
	last := tail(said, 600)
	is := func(permit, option string) bool {
		return code == 4 && w.permits[permit] && strings.Contains(last, option)
	}
	switch {
	case strings.Contains(said, "goroutine "):
		return nil, false
	case p.name == "watch" && is("same-tree", "--same-tree"):
		return []string{"--same-tree"}, true
	case p.name == "mirror" && is("adopt", "--adopt"), p.name == "mirror2" && is("adopt2", "--adopt"):
		return []string{"--adopt"}, true
	case p.name == "watch" && p.user != w.user:
		p.user = w.user
		return nil, true
	case code == 6 && p.name == "watch" && (w.faults.sourceTrouble || w.permits["same-tree"]):
		return nil, true
	case code == 6 && p.name == "mirror" && w.faults.copyTrouble:
		return nil, true
	}
	return nil, false
}

// until waits for a condition for a while, and reports whether it came true.
func (w *World) until(ok func() bool) bool { return w.untilFor(patience, ok) }

func (w *World) untilFor(limit time.Duration, ok func() bool) bool {
	for end := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if w.attend(); time.Now().After(end) || w.broken() {
			return false
		}
	}
	return true
}
