package world

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// transition is a kind of change of the world around the tree.
type transition struct {
	name   string
	weight int
	draw   func(d *drawer) (args []string, ok bool)
	run    func(w *World, a []string) error
}

// always draws a transition with arguments, each from some words.
func always(words ...[]string) func(d *drawer) ([]string, bool) {
	return func(d *drawer) (a []string, ok bool) {
		for _, w := range words {
			a = append(a, pickOf(d.rand, w...))
		}
		return a, true
	}
}

// programTransitions end, stop and start programs.
var programTransitions = []transition{
	{"kill", 6, always(names), func(w *World, a []string) error { w.programs[a[0]].kill(); return nil }},
	{"term", 5, always(names), func(w *World, a []string) error { return w.terminate(a[0]) }},
	{"up", 12, always(), func(w *World, _ []string) error { return w.startAll() }},
	{"restart", 8, always(append([]string{"watch", "watch"}, names...), []string{"kill", "term"}), func(w *World, a []string) error {
		if err := w.endBy(a[0], a[1]); err != nil {
			return err
		}
		return w.start(a[0])
	}},
	{"freeze", 4, always(append([]string{"watch"}, names...)), func(w *World, a []string) error {
		p := w.programs[a[0]]
		p.signal(syscall.SIGSTOP)
		p.frozen = p.alive()
		return nil
	}},
	{"thaw", 6, always(), func(w *World, _ []string) error { w.thaw(); return nil }},
	{"audit", 3, always(), func(w *World, _ []string) error { w.hangUp(); return nil }},
	{"promise", 10, always(), func(w *World, _ []string) error { w.promise(); return nil }},
	// watch is started and ended in its first moments.
	{"shortly", 4, always([]string{"0", "2", "5", "10", "20", "50"}, []string{"kill", "term"}), func(w *World, a []string) error {
		if err := w.endBy("watch", "term"); err != nil {
			return err
		}
		if err := w.start("watch"); err != nil {
			return err
		}
		select {
		case <-w.programs["watch"].process.Ready:
		case <-w.programs["watch"].process.Done:
		case <-time.After(patience):
		}
		time.Sleep(time.Duration(number(a[0])) * time.Millisecond)
		if err := w.endBy("watch", a[1]); err != nil {
			return err
		}
		return nil
	}},
	{"watch-once", 3, always(), func(w *World, _ []string) error {
		if err := w.endBy("watch", "term"); err != nil {
			return err
		}
		args := []string{"watch", "--once", w.src}
		if w.permits["same-tree"] {
			args = append(args, "--same-tree")
		}
		out, code := ask(patience, args...)
		if code < 0 || code > 1 && !(code == 6 && w.faults.sourceTrouble) {
			w.finding("once", "watch --once: code %d: %s", code, tail(out, 600))
		}
		return nil
	}},
	{"mirror-once", 3, always(), func(w *World, _ []string) error {
		if err := w.endBy("mirror", "term"); err != nil {
			return err
		}
		args := w.args(w.programs["mirror"])
		thawed := w.thawSoon()
		out, code := askAs(w.user, patience, append([]string{args[0], "--once"}, args[1:]...)...)
		<-thawed
		w.say("mirror --once: code %d", code)
		if code == 2 || code < 0 || strings.Contains(out, "goroutine ") {
			w.finding("once", "mirror --once: code %d: %s", code, tail(out, 600))
		}
		return nil
	}},
	{"gap", 1, func(d *drawer) ([]string, bool) { return nil, d.long }, func(w *World, _ []string) error { // longer than an audit looks back
		if err := w.endBy("watch", "term"); err != nil {
			return err
		}
		time.Sleep(10500 * time.Millisecond)
		return nil
	}},
	{"flood", 2, always(), func(w *World, _ []string) error { return w.flood() }},
}

// optionTransitions start programs with other options and rights.
var optionTransitions = []transition{
	{"watch-options", 5, always([]string{"", "", "--backend inotify", "--backend fanotify", "--backend none", "--exclude k3/", "--exclude *1 --backend inotify", "--settle 50ms"},
		[]string{"0", "0", "0", "4321"}, []string{"0", "0", "0", "8", "20"}, []string{"kill", "term"}),
		func(w *World, a []string) error {
			if err := w.endBy("watch", a[3]); err != nil {
				return err
			}
			p := w.programs["watch"]
			p.options, p.user, p.limit = strings.Fields(a[0]), number(a[1]), number(a[2])
			if p.limit != 0 {
				p.user, p.options = 0, []string{"--backend", "inotify"}
				if err := w.giveAway(0); err != nil && !w.faults.sourceTrouble {
					return err
				}
			}
			if p.user != 0 && strings.Contains(a[0], "fanotify") {
				p.options = nil
			}
			w.faults.options = true
			return w.start("watch")
		}},
	{"raise", 3, always(), func(w *World, _ []string) error { // the limit of inotify watches
		p := w.programs["watch"]
		if p.limit == 0 || !p.alive() || p.frozen {
			return nil
		}
		if !p.entered() {
			return nil
		}
		p.limit = 100000
		err := run("nsenter", "-U", "-t", fmt.Sprint(p.process.Cmd.Process.Pid), "--preserve-credentials", "sh", "-c", "echo 100000 >/proc/sys/user/max_inotify_watches")
		if err != nil && p.ends(time.Second) {
			return nil // it ended by itself meanwhile
		}
		w.hangUp()
		return err
	}},
	{"serve-options", 4, always([]string{"--hidden", "", "--hidden --exclude k2/", "--hidden --exclude *2", "--hidden --http std", "--hidden --owner"}, []string{"0", "0", "4321"}),
		func(w *World, a []string) error {
			if err := w.endBy("serve", "term"); err != nil {
				return err
			}
			p := w.programs["serve"]
			p.options, p.user, w.faults.options = strings.Fields(a[0]), number(a[1]), true
			return w.start("serve")
		}},
	{"mirror-options", 4, always([]string{"", "--exclude k1/", "--exclude *3", "--include /s0/** --include /s0/ --exclude *4", "--durability none", "--durability file", "--no-links", "--jobs 1", "--owner", "--no-delete", "--full-interval 1s"}, []string{"kill", "term"}),
		func(w *World, a []string) error {
			if err := w.endBy("mirror", a[1]); err != nil {
				return err
			}
			w.programs["mirror"].options, w.faults.options = strings.Fields(a[0]), true
			if a[0] == "--no-links" {
				w.linkless.Store(true)
			}
			return w.start("mirror")
		}},
	{"mirror-limits", 6, always([]string{"--max-size 300", "--min-size 60", "--min-size 25 --max-size 4000", "--max-age 1h", "--max-size 1000000"}, []string{"kill", "term"}), func(w *World, a []string) error {
		if err := w.endBy("mirror", a[1]); err != nil {
			return err
		}
		w.mu.Lock()
		w.programs["mirror"].options = strings.Fields(a[0])
		w.faults.limits = append(w.faults.limits, limitOf(a[0]))
		w.history.coming(w.model, w.model, nil)
		w.mu.Unlock()
		return w.start("mirror")
	}},
	{"from", 3, always([]string{"", "other", "local", "several"}), func(w *World, a []string) error {
		if err := w.endBy("mirror", "term"); err != nil {
			return err
		}
		w.faults.from = a[0]
		w.permits["adopt"] = true // if the copy was made before the source had an id
		if a[0] == "other" || a[0] == "several" {
			if err := w.start("other"); err != nil {
				return err
			}
		}
		w.faults.options = true
		return w.start("mirror")
	}},
	{"release", 2, always(), func(w *World, _ []string) error {
		out, code := askAs(w.user, patience, "mirror", "--release", w.copies[0])
		w.say("release: code %d %s", code, tail(out, 200))
		return nil
	}},
}

// promise asks what is published, for the eye.
func (w *World) promise() {
	p := w.programs["watch"]
	if !w.pure() || w.linked || w.stale || p.frozen || !p.alive() {
		return
	}
	seq := w.history.now()
	out, code := ask(5*time.Second, "watch", "--sync", w.src)
	at, ok := parseStamp(strings.TrimSpace(out))
	if code == 0 && ok {
		w.eye.take(promise{at, seq})
	}
}

// parseStamp reads SECONDS.NNNNNNNNN.
func parseStamp(text string) (time.Time, bool) {
	var s, n int64
	if _, err := fmt.Sscanf(text, "%d.%09d", &s, &n); err != nil {
		return time.Time{}, false
	}
	return time.Unix(s, n), true
}

// flood makes more events than watch's queue holds, of changes that leave the tree as it is.
func (w *World) flood() error {
	p := w.programs["watch"]
	select {
	case <-p.ready():
	case <-p.done():
		return nil
	}
	p.signal(syscall.SIGSTOP)
	p.frozen = p.alive()
	names, err := filepath.Glob(filepath.Join(w.src, "s[0-4]", "stable", "*"))
	if err != nil || len(names) == 0 {
		return err
	}
	for i := range 20000 {
		_ = os.Chmod(names[i%len(names)], 0o644)
	}
	return nil
}
