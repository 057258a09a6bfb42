package watch

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/dirwatch"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// cookiePrefix begins the names of the files in .tidemark by which --sync asks.
// The watcher hears of such a file behind all that happened before it, and
// gives it the name of an answer once all that is published. Who asked removes that:
// a file that is merely gone may have been removed with all of .tidemark.
const (
	cookiePrefix = "sync-"
	answerPrefix = "synced-"
	answerAge    = time.Minute // then nobody takes it any more
)

func answerOf(cookie string) string { return answerPrefix + strings.TrimPrefix(cookie, cookiePrefix) }

// Sync waits until everything done in the tree at root before the call is
// published, and returns the root's stamp then: a copy whose root has that
// stamp, or a later one, holds it all. A watcher must be running, and go on until
// it has answered (exit.Refused if not, and on a copy, where none ever answers).
func Sync(ctx context.Context, root, stateDir string) (mtree.Stamp, error) {
	dir, err := openRoot(root, stateDir, false)
	if err != nil {
		return mtree.Stamp{}, err
	}
	defer dir.Close()
	m, err := state.OpenMarker(dir, stateDir)
	if err != nil {
		return mtree.Stamp{}, exit.With(exit.Refused, err, "no watch ever ran here: start one first")
	}
	defer m.Close()
	ears, err := dirwatch.New()
	if err != nil {
		return mtree.Stamp{}, exit.With(exit.Local, err, "")
	}
	stop := context.AfterFunc(ctx, func() { _ = ears.Close() })
	defer func() { stop(); _ = ears.Close() }()
	if _, err := ears.Add(m.Dir(), dirwatch.AnyChange); err != nil {
		return mtree.Stamp{}, exit.With(exit.Local, err, "")
	}
	if err := answerable(dir, m); err != nil {
		return mtree.Stamp{}, err
	}
	cookie := cookiePrefix + rand.Text()
	if err := state.WriteFile(m.Dir(), cookie, nil); err != nil {
		return mtree.Stamp{}, exit.With(exit.Local, err, "--sync writes a file in .tidemark: run it as the watcher's user")
	}
	if err := waitAnswer(ctx, dir, m, ears, cookie); err != nil {
		_ = m.Dir().Unlink(cookie)
		return mtree.Stamp{}, err
	}
	info, err := dir.Self()
	return info.MTime, err
}

// syncLook is how often --sync looks whether the watcher still runs: of one that is
// killed, the last file is closed before its lock ends, and then nothing is heard.
const syncLook = time.Second

// waitAnswer returns when the cookie is answered, or nobody is there to do it. One
// that is gone without an answer went with .tidemark.
func waitAnswer(ctx context.Context, dir *disk.Dir, m *state.Marker, ears *dirwatch.Watch, cookie string) error {
	var events []dirwatch.Event
	for {
		_, err := m.Dir().Stat(cookie)
		if errors.Is(err, fs.ErrNotExist) {
			if m.Dir().Unlink(answerOf(cookie)) == nil {
				return nil
			}
			return exit.With(exit.Failed, errors.New("the tree's .tidemark was removed meanwhile"), "sync again")
		}
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
		if err := answerable(dir, m); err != nil {
			return err
		}
		if err := ears.WakeAt(time.Now().Add(syncLook)); err != nil && ctx.Err() == nil {
			return exit.With(exit.Local, err, "")
		}
		if events, err = ears.Next(events[:0]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return exit.With(exit.Local, err, "")
		}
	}
}

// answerable returns why nobody will take a cookie, nil if a watcher will. The lock
// of a copy is a mirror's.
func answerable(dir *disk.Dir, m *state.Marker) error {
	for _, read := range []func() (state.Tree, error){m.ReadTree, func() (state.Tree, error) { return state.OwnTree(dir) }} {
		if tree, err := read(); err == nil && tree.Role == state.Copy {
			return exit.With(exit.Refused, errors.New("this is a copy: a mirror keeps it, and no watch"),
				"sync at the source, and give what that prints to mirror --wait-for STAMP here")
		}
	}
	running, err := m.Locked()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	if !running {
		return exit.With(exit.Refused, errors.New("no watch is running"), "start it, then sync")
	}
	return nil
}

// marks looks after .tidemark: puts it back if it was removed, and notes the
// cookies that came.
func (w *watcher) marks(names []string, b *batch) error {
	ours := slices.ContainsFunc(b.top.entries, func(e notify.Entry) bool { return e.Name == mtree.MarkerName })
	for _, name := range names {
		if !strings.HasPrefix(name, cookiePrefix) {
			ours = ours || !strings.HasPrefix(name, answerPrefix)
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
		if info, err := w.marker.Dir().Stat(name); strings.HasPrefix(name, answerPrefix) && err == nil && w.Now().Sub(info.CTime) > answerAge {
			_ = w.marker.Dir().Unlink(name) // who asked was killed
		}
	}
}

// answer renames the cookies whose batch is published. While an audit makes up
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
		dir := w.marker.Dir()
		if err := dir.Rename(name, dir, answerOf(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.Log.Warn("cannot answer a --sync", "error", err)
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
	p, err := state.ReadPublished(dir, stateDir)
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
	if p.Status.PID != 0 && p.State != wire.Audited && p.State != wire.Unwatched {
		add("pid", fmt.Sprint(p.Status.PID))
	}
	add("trouble", p.Status.Error)
	for _, key := range slices.Sorted(maps.Keys(p.Status.Counters)) {
		add(key, fmt.Sprint(p.Status.Counters[key]))
	}
	_, err = io.WriteString(out, strings.Join(lines, "\n")+"\n")
	return exit.With(exit.Local, err, "")
}
