package world

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sync waits until watch has published everything, and returns the root's stamp.
func (w *World) sync() (string, bool) {
	var out string
	ok := w.until(func() (ok bool) {
		var code int
		out, code = ask(10*time.Second, "watch", "--sync", w.src)
		return code == 0
	})
	return strings.TrimSpace(out), ok
}

// softRest lets everything run, waits for what mirror promises, and compares as far as
// nothing excuses a difference.
func (w *World) softRest() {
	w.thaw()
	if err := w.startAll(); err != nil {
		w.finding("rig", "%v", err)
		return
	}
	w.attend()
	if !w.pure() || w.linked {
		return
	}
	at, ok := w.sync()
	if !ok {
		w.finding("sync", "watch --sync gives no answer: %s; %s", at, w.states())
		return
	}
	seq := w.history.now()
	out, code := ask(patience, "mirror", "--wait-for", at, w.copies[0])
	if code != 0 {
		if s := statusOf("mirror", w.copies[0]); !s.excuses() {
			w.finding("late", "--wait-for %s: code %d %s, and --status names no reason; %s", at, code, out, w.states())
		}
		return
	}
	m, err := scan(w.copies[0])
	if err != nil {
		w.finding("rig", "%v", err)
		return
	}
	if lines := w.behind(m, seq); len(lines) > 0 {
		w.finding("wait-for", "mirror --wait-for %s has succeeded, and the copy lacks what was published: %s; %s", at, brief(lines), w.states())
	}
}

// excuses reports whether a status names why something is missing.
func (s status) excuses() bool {
	for _, name := range []string{"incomplete", "failed", "held", "skipped", "unsettled"} {
		if s.number(name) > 0 {
			return true
		}
	}
	return s["state"] == "filling" || s["source unreachable since"] != ""
}

// states is what all --status say.
func (w *World) states() string {
	return fmt.Sprintf("watch: %s; copy 1: %s; copy 2: %s", statusOf("watch", w.src).brief(), statusOf("mirror", w.copies[0]).brief(), statusOf("mirror", w.copies[1]).brief())
}

// mend puts everything right.
func (w *World) mend() error {
	w.thaw()
	if w.faults.copyReadOnly {
		if err := w.disks["copy"].remount("rw"); err != nil {
			return err
		}
	}
	if w.faults.sourceReadOnly {
		if err := w.disks["source"].remount("rw"); err != nil {
			return err
		}
	}
	for _, d := range w.disks {
		d.free()
	}
	w.unfree()
	if w.faults.mounted {
		if err := w.unmountInside(); err != nil {
			return err
		}
	}
	if w.user != 0 {
		if err := w.giveBack(); err != nil {
			return err
		}
	}
	for name, base := range map[string][]string{"watch": nil, "serve": {"--hidden"}, "mirror": nil} {
		p := w.programs[name]
		options := p.options
		if i := slices.Index(options, "--backend"); i >= 0 && (options[i+1] == "inotify" || options[i+1] == "fanotify" && w.user == 0) {
			base = options[i : i+2]
		}
		if strings.Join(options, " ") != strings.Join(base, " ") || p.user != w.user || p.limit != 0 || name == "mirror" && w.faults.from != "" {
			if err := w.endBy(name, "term"); err != nil {
				return err
			}
			p.options, p.user, p.limit = base, w.user, 0
		}
	}
	w.programs["other"].kill()
	w.faults = faults{sourceTrouble: w.faults.sourceTrouble, copyTrouble: w.faults.copyTrouble}
	return w.startAll()
}

// hardRest puts everything right and waits until the copies are equal.
func (w *World) hardRest() {
	if len(w.faults.limits) > 0 {
		w.softRest() // as long as something is left out
	}
	if err := w.mend(); err != nil {
		w.finding("rig", "%v", err)
		return
	}
	w.attend()
	if !w.settled() {
		return
	}
	at, ok := w.sync()
	if !ok {
		w.finding("sync", "watch --sync gives no answer: %s; %s", at, w.states())
		return
	}
	var lines [3][]string
	releases, walked := 0, false
	begun := time.Now()
	equal := w.untilFor(90*time.Second, func() bool {
		lines = w.compare()
		for i, c := range w.copies {
			if len(lines[1+i]) > 0 && releases < 20 && time.Since(begun) > time.Second && statusOf("mirror", c).number("held") > 0 {
				releases++
				out, code := askAs(w.user, patience, "mirror", "--release", c)
				w.say("release of copy %d: code %d %s", i+1, code, tail(out, 100))
			}
		}
		if !walked && time.Since(begun) > unlinkedTime && onlyUnlinked(slices.Concat(lines[1], lines[2])) {
			walked = true
			w.walk()
		}
		return len(lines[0]) == 0 && len(lines[1]) == 0 && len(lines[2]) == 0 || len(lines[0]) > 0
	})
	switch {
	case len(lines[0]) > 0:
		w.finding("model", "the source is not what was done to it: %s", brief(lines[0]))
	case !equal:
		w.finding("differs", "%s; copy 1: %s; copy 2: %s; %s", w.worst(), brief(lines[1]), brief(lines[2]), w.states())
	default:
		w.keeps()
		w.say("equal after %v, %d releases, %d looks", time.Since(begun).Round(time.Millisecond), releases, w.eye.looks.Load())
		w.permits, w.faults = map[string]bool{}, faults{}
		w.unsure.Store(false)
		w.linkless.Store(false)
	}
}

// unlinkedTime is how long names of one file may be files of their own before the mirrors are made to walk: only
// that finds the first name of a file that got a second one (docs/cli.md, hard links).
const unlinkedTime = 5 * time.Second

// walk makes each mirror compare everything.
func (w *World) walk() {
	for _, name := range []string{"mirror", "mirror2"} {
		if err := w.terminate(name); err != nil {
			w.finding("rig", "%v", err)
			return
		}
		args := w.args(w.programs[name])
		args = append([]string{args[0], "--once", "--full-interval", "1ms"}, args[1:]...)
		out, code := askAs(w.programs[name].user, patience, args...)
		w.say("walk of %s: code %d %s", name, code, tail(out, 200))
		if err := w.start(name); err != nil {
			w.finding("rig", "%v", err)
		}
	}
}

// settled waits until watch vouches for everything, with an audit if something was written
// that it does not hear, or refused its time.
func (w *World) settled() bool {
	w.until(func() bool { s := statusOf("watch", w.src)["state"]; return s == "watched" || s == "degraded" })
	if s := statusOf("watch", w.src); w.linked || s["state"] != "watched" || s.number("refusing_directories") > 0 {
		w.say("an audit, for it is %s, %s refuse their time", s["state"], s["refusing_directories"])
		w.hangUp()
		before := s.number("audits_total")
		w.until(func() bool { return statusOf("watch", w.src).number("audits_total") > before })
	}
	w.linked = false
	s := status{}
	if !w.until(func() bool { s = statusOf("watch", w.src); return s["state"] == "watched" }) {
		w.finding("not-watched", "everything is right, and watch says: %s", s.brief())
		return false
	}
	return true
}

// worst says whether the programs claim that everything is equal.
func (w *World) worst() string {
	source, one := statusOf("watch", w.src), statusOf("mirror", w.copies[0])
	if source["state"] == "watched" && source["root"] == one["root"] && !one.excuses() {
		return "WATCHED, AND EQUAL STAMPS"
	}
	return "not equal"
}

// compare compares the source with the model, and the copies with the source.
func (w *World) compare() (lines [3][]string) {
	w.mu.Lock()
	model := w.model.clone()
	w.mu.Unlock()
	source, err := scan(w.src)
	if err != nil {
		return [3][]string{{err.Error()}}
	}
	lines[0] = differences(model, source, false)
	want := source.copyable()
	for i, c := range w.copies {
		m, err := scan(c)
		if err != nil {
			lines[1+i] = []string{err.Error()}
			continue
		}
		lines[1+i] = append(differences(want, m, true), w.unlikeLinks(want, m)...)
	}
	return lines
}

// idle requires that the next pass of an idle mirror asks exactly once.
func (w *World) idle() {
	if w.broken() || w.terminate("mirror") != nil {
		return
	}
	args := w.args(w.programs["mirror"])
	args = append([]string{args[0], "--once"}, args[1:]...)
	for range 2 { // the first one may have to confirm what was left open
		if out, code := askAs(w.user, patience, args...); code != 0 {
			w.finding("idle", "mirror --once of an equal copy: code %d: %s", code, tail(out, 600))
		}
	}
	for try := 1; ; try++ { // an audit of watch may stamp again what was too young to be judged
		before := w.requests()
		out, code := askAs(w.user, patience, args...)
		n := w.requests() - before
		if n == 1 && code == 0 {
			break
		}
		if try == 3 || code != 0 {
			w.finding("idle", "an idle pass made %d requests, code %d: %s; %s", n, code, tail(out, 600), w.states())
			break
		}
	}
	if err := w.start("mirror"); err != nil {
		w.finding("rig", "%v", err)
	}
}

// requests is how many requests serve has answered.
func (w *World) requests() (sum int) {
	resp, err := http.Get("http://" + w.address["metrics"] + "/metrics")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	for _, m := range regexp.MustCompile(`(?m)^tidemark_serve_requests_total\S* (\d+)$`).FindAllStringSubmatch(string(text), -1) {
		n, _ := strconv.Atoi(m[1])
		sum += n
	}
	return sum
}
