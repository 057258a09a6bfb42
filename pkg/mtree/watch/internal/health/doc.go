// Package health knows the limits of a watcher: directories that it cannot hear, read or
// stamp, and those that it leaves to others.
//
// Two kinds of them do not harm the rest of the tree: they are exceptions, which
// .tidemark names one by one. A directory that refuses its time has its stamp in
// .tidemark/stamps, and serve publishes that one. A directory that cannot be read is in
// .tidemark/unread, and serve does not publish it. Everything else makes the tree
// degraded, until an audit finds nothing of the kind.
//
// Its files stand in layers. Each uses what stands below it:
//
//	monitor.go       what makes the tree degraded
//	exceptions.go    directories that are named one by one
//	borders.go       directories that another watch or mirror keeps
package health
