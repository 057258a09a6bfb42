package watch

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
)

// cookiePrefix begins the names of the files in .tidemark by which --sync asks.
// The watcher hears of such a file behind all that happened before it, and
// removes it once all that is published.
const cookiePrefix = "sync-"

// Sync waits until everything done in the tree at root before the call is
// published, and returns the root's stamp then: a copy whose root has that
// stamp, or a later one, holds it all. A watcher must be running (exit.Refused
// if not).
func Sync(ctx context.Context, root, stateDir string) (mtree.Stamp, error) {
	dir, err := openRoot(root, stateDir, false)
	if err != nil {
		return mtree.Stamp{}, err
	}
	defer dir.Close()
	m, err := disk.OpenMarker(dir, stateDir)
	if err != nil {
		return mtree.Stamp{}, exit.With(exit.Refused, err, "no watch ever ran here: start one first")
	}
	defer m.Close()
	ears, err := disk.NewDirWatch()
	if err != nil {
		return mtree.Stamp{}, exit.With(exit.Local, err, "")
	}
	stop := context.AfterFunc(ctx, func() { _ = ears.Close() })
	defer func() { stop(); _ = ears.Close() }()
	if _, err := ears.Add(m.Dir(), disk.AnyChange); err != nil {
		return mtree.Stamp{}, exit.With(exit.Local, err, "")
	}
	cookie := cookiePrefix + rand.Text()
	if err := m.Dir().WriteSmall(cookie, nil); err != nil {
		return mtree.Stamp{}, exit.With(exit.Local, err, "--sync writes a file in .tidemark: run it as the watcher's user")
	}
	if err := waitAnswer(ctx, m, ears, cookie); err != nil {
		_ = m.Dir().Unlink(cookie)
		return mtree.Stamp{}, err
	}
	info, err := dir.Self()
	return info.MTime, err
}

// waitAnswer returns when the cookie is gone, or nobody is there to take it.
func waitAnswer(ctx context.Context, m *disk.Marker, ears *disk.DirWatch, cookie string) error {
	var events []disk.DirEvent
	for {
		_, err := m.Dir().Stat(cookie)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
		running, err := m.Locked()
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
		if !running {
			return exit.With(exit.Refused, errors.New("no watch is running"), "start it, then sync")
		}
		if events, err = ears.Next(events[:0]); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return exit.With(exit.Local, err, "")
		}
	}
}

// marks looks after .tidemark: puts it back if it was removed, and notes the
// cookies that came.
func (w *watcher) marks(names []string, b *batch) error {
	ours := slices.ContainsFunc(b.top.entries, func(e notify.Entry) bool { return e.Name == mtree.MarkerName })
	for _, name := range names {
		if !strings.HasPrefix(name, cookiePrefix) {
			ours = true
			continue
		}
		if _, err := w.marker.Dir().Stat(name); err == nil && !slices.Contains(w.sync, name) {
			w.sync = append(w.sync, name)
			if w.backend == "none" {
				w.audits.ask(w, w.ground("sync"))
			}
		}
	}
	if !ours {
		return nil
	}
	if err := w.remark(); err != nil {
		return cmp.Or(w.replaced(), err) // the root went with it
	}
	return nil
}

// cookies notes all that wait in .tidemark: after a loss their events may be
// among what was lost. It is called when an audit starts, which they wait for.
func (w *watcher) cookies() {
	names, err := w.marker.Dir().Names()
	if err != nil {
		return // .tidemark was removed: so were they
	}
	for _, name := range names {
		if strings.HasPrefix(name, cookiePrefix) && !slices.Contains(w.sync, name) {
			w.sync = append(w.sync, name)
		}
	}
}

// answer removes the cookies whose batch is published. While an audit makes up
// for a loss they wait for its end; without events for that of one that began behind
// them: another has passed by then some of what they ask about.
func (w *watcher) answer() {
	if len(w.sync) == 0 || w.audits.owed || w.backend == "none" && w.audits.running {
		return
	}
	var early []string
	if w.backend == "none" {
		early = slices.DeleteFunc(slices.Clone(w.sync), func(name string) bool { return slices.Contains(w.audits.asked, name) })
	}
	for _, name := range w.sync {
		if slices.Contains(early, name) {
			continue
		}
		if err := w.marker.Dir().Unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.Log.Warn("cannot answer a --sync", "err", err)
		}
	}
	w.sync = early
}

// PrintStatus writes what the tree at root tells of its watcher, one "key:
// value" a line: state first.
func PrintStatus(out io.Writer, root, stateDir string) error {
	dir, err := openRoot(root, stateDir, false)
	if err != nil {
		return err
	}
	defer dir.Close()
	p, err := dir.Published(stateDir)
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	lines := []string{"state: " + string(p.State)}
	add := func(key, value string) {
		if value != "" {
			lines = append(lines, key+": "+value)
		}
	}
	stamp := func(key string, s *mtree.Stamp) {
		if s != nil {
			add(key, s.String())
		}
	}
	if p.Tree.ID != "" {
		add("tree", p.Tree.ID)
		add("epoch", fmt.Sprint(p.Tree.Epoch))
	}
	if info, err := dir.Self(); err == nil {
		add("root", info.MTime.String())
	}
	stamp("checkpoint", p.Status.Checkpoint)
	stamp("floor", p.Status.Floor)
	stamp("updated", p.Status.Updated)
	add("backend", p.Status.Backend)
	if p.Status.PID != 0 && p.State != disk.Audited && p.State != disk.Unwatched {
		add("pid", fmt.Sprint(p.Status.PID))
	}
	add("trouble", p.Status.Error)
	for _, key := range sortedKeys(p.Status.Counters) {
		add(key, fmt.Sprint(p.Status.Counters[key]))
	}
	_, err = io.WriteString(out, strings.Join(lines, "\n")+"\n")
	return exit.With(exit.Local, err, "")
}
