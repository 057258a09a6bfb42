package watch

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// cookiePrefix begins the names of the files in .tidemark by which --sync asks. The
// watcher hears of such a file after everything that happened before it. Once all that is
// published, it renames the file to that of an answer. The command that asked removes the
// answer. A missing file is no answer: it may have been removed with all of .tidemark.
const (
	cookiePrefix = "sync-"
	answerPrefix = "synced-"
	answerAge    = time.Minute // an older answer was left by a killed command
)

func answerOf(cookie string) string { return answerPrefix + strings.TrimPrefix(cookie, cookiePrefix) }

// addCookie records a cookie that was heard of, and reports whether it is there and new.
func (w *watcher) addCookie(name string) bool {
	if _, err := w.marker.Dir().Stat(name); errors.Is(err, fs.ErrNotExist) || slices.Contains(w.cookies, name) {
		return false
	}
	w.cookies = append(w.cookies, name)
	return true
}

// collectCookies records all cookies that wait in .tidemark: after a loss their events
// may be among the lost ones. It is called when the audit starts that they wait for. What
// happened before a cookie may still be in the queue, so it waits for the next Take, too.
func (w *watcher) collectCookies() {
	names, err := w.marker.Dir().Names()
	if err != nil {
		return // .tidemark was removed: so were they
	}
	for _, name := range names {
		if strings.HasPrefix(name, cookiePrefix) && !slices.Contains(w.cookies, name) && !slices.Contains(w.found, name) {
			w.found = append(w.found, name)
		}
		if info, err := w.marker.Dir().Stat(name); strings.HasPrefix(name, answerPrefix) && err == nil && w.Now().Sub(info.CTime) > answerAge {
			_ = w.marker.Dir().Unlink(name) // the one who asked was killed
		}
	}
}

// takeFound adds the cookies that were found to those that wait for their batch. It is called
// after a Take that left nothing in the queue, or where nothing is heard.
func (w *watcher) takeFound() {
	w.cookies, w.found = append(w.cookies, w.found...), nil
}

// answerCookies renames the cookies whose batch is published. While an audit makes up for
// a loss, they wait for its end. Where not every directory is heard they wait for the end of an
// audit that began after them: an earlier one may have passed the directories in question already.
func (w *watcher) answerCookies() {
	if len(w.cookies) == 0 || w.audits.owed || !w.hearsAll() && w.audits.running {
		return
	}
	var left []string
	if !w.hearsAll() { // guard: TestSyncWhileDeaf
		left = slices.DeleteFunc(slices.Clone(w.cookies), func(name string) bool { return slices.Contains(w.audits.cookies, name) })
	}
	for _, name := range w.cookies {
		if slices.Contains(left, name) {
			continue
		}
		dir := w.marker.Dir()
		if err := dir.Rename(name, dir, answerOf(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.Log.Warn("cannot answer a --sync: trying again", "error", err, "remedy", makeRoom)
			left = append(left, name) // guard: TestSyncIsAnsweredAgain
			w.statusRetry.Reset(statusPause)
		}
	}
	w.cookies = left
}
