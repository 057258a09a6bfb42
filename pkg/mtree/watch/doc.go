// Package watch keeps the stamps of a tree. It hears each change, and sets the mtime of
// every directory above it. So a directory's mtime says when anything below it last
// changed, and is never twice the same.
//
//	err := watch.Run(ctx, watch.Config{Root: "/srv/tree"}) // until ctx ends
//
// Run is the daemon, Once does the same by a single scan. Both touch directory times and
// .tidemark, nothing else. Sync waits until everything done so far is published.
//
// # How
//
// Changes come from a notify.Source. They are gathered while they settle and published
// as a batch: deepest directory first, the root last. So a reader who sees a new stamp
// finds everything that it stands for. An audit, a scan of the whole tree, finds what
// could not be heard.
//
// One goroutine, that of run, owns the state and alone writes. Another one drains the
// kernel's queue, an audit has its workers, a hook its process. They send to that one
// goroutine. Packages below internal/ take values from it and return values.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	watch.go         Run, Once
//	sync.go          Sync; since.go, printstatus.go: what others ask a running watcher, from outside
//	loop.go          the goroutine: what it waits for
//	start.go         how a watcher takes possession of a tree
//	backend.go       where it hears
//	audited.go       the end of an audit
//	recheck.go       what no event shows: the clock, mounts, borders, unread directories
//	settle.go        from events to a published batch
//	auditing.go      asking for audits; losses
//	mounts.go        where mounts came or went
//	marker.go        .tidemark is put back
//	cookies.go       it answers --sync
//	exceptions.go    .tidemark/stamps and .tidemark/unread
//	tree.go          the tree file
//	journal.go       the journal is begun
//	status.go        the published state and the checkpoint
//	clock.go         was the clock set back?
//	watcher.go       what the goroutine owns
//	audits.go        the running audit, the next one and the last one
//	settling.go      the time of the batch that is being gathered
//	names.go         the journal, as publish writes it
//	config.go
//	stats.go
//
// # Packages below
//
//	publish         the stamps of a batch
//	audit           the scan
//	mounts          what is mounted below the root
//	identity        which tree this is
//	health          what cannot be heard, read or stamped
//	ownwrites       what our own writes left
//	trigger         --exec and --print
//	since           what changed since a stamp
//	stamprule       the rule by which values become stamps
//
// # What holds
//
// A kill may leave directories that are stamped, below others that are not yet. The next
// start finds every change since the checkpoint by ctime and stamps it. After a kill
// between a stamp and its record in .tidemark/left.*, the next start takes the watcher's
// own write for a change, and stamps more than it had to.
//
// Everything up to the checkpoint is published. A batch moves it only while everything is
// heard, read and stamped; otherwise only an audit does, and only if it read and stamped
// everything. An audit that was broken off proves nothing.
//
// Not heard: writes through memory maps; through a hard link outside the tree or in
// another directory; with inotify, through a nameless file (O_TMPFILE) that stays open after it
// got a name; by io_submit(2) into a file that stays open; through a loop device;
// by a truncate(2) that fails on a full btrfs; with inotify also to a file that
// was opened by its handle, as the kernel's NFS server does. Audits find them by their
// ctime, except later writes to a mapped page that is still dirty, which move no time. On
// xfs, two directories of one parent keep their ctimes if they are exchanged
// (RENAME_EXCHANGE) while no watch runs: an audit sees that the parent changed, but not
// that everything below the two did.
package watch
