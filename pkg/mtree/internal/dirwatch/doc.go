// Package dirwatch hears changes of single directories by inotify(7), for long polls:
// watch touches a directory for every change below it, so serve and a local mirror need
// to hear only the directories that somebody waits for.
//
// It is no recursive watcher, which is package notify, and forgets a directory that is
// removed.
//
//	w, err := dirwatch.New()
//	...
//	id, err := w.Add(dir, dirwatch.OwnTimes)
//	...
//	events, err := w.Next(nil) // waits
package dirwatch
