// Package notify hears changes in a tree from the kernel: which directories changed since
// the last call, and which names in them.
//
// A Source is one way to hear. It never says what was done, only "look at this name now":
// the kernel merges, reorders and delays events. For every change made below an armed
// directory after Arm returned, it promises one of three:
//
//   - a later Take names the directory and the entry;
//   - or it says that only the directory is known (DirEvents.Dirty);
//   - or it says that something was lost (Events.Lost). Then nothing is known until the
//     tree was scanned anew.
//
// Changes are kept by directory, not by path, because paths move. If a directory is
// renamed while its change waits, Take reports it under the path that it has then. If
// that path leads nowhere, a rename or a removal has its own event, which is still to
// come.
//
// There are three sources: Fanotify (one mark on the file system), Inotify (a watch on
// each directory) and None (the marker directory only). All pass the suite in notifytest.
// Files hears single files, which no Source does.
// Package handles finds the paths of fanotify's file handles.
//
//	source, err := notify.Inotify(wake)
//	ref, _, err := source.Arm(notify.Ref{}, -1, "", root.FD()) // then list the root, arm below
//	<-wake
//	events := source.Take()
//
// Its files stand in layers. Each uses what stands below it:
//
//	fanotifytake.go, inotifytake.go    from the kernel's events to Events
//	waiting.go                         is something half done?
//	files.go                           files that are mounted by themselves
//	fanotify.go, inotify.go            what is armed, and what is kept of the kernel's events
//	linkcounts.go                      events that explain others
//	fanevent.go                        the kernel's structs
//	queue.go                           the kernel's queue is drained
//	merger.go                          each name once
//	source.go
//	node.go                            the tree of inotify's watches
//	limit.go, filesystem.go
//
// The kernel's side is described in inotify(7) and fanotify(7).
package notify
