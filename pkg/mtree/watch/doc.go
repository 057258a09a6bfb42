// Package watch keeps the stamps of a tree: it hears each change, and sets the
// mtime of every directory above it, so that a directory's mtime tells when
// anything below it last changed, and is never twice the same.
//
// Run is the daemon, Once the same by a single scan. Both touch directory times
// and .tidemark, nothing else.
//
// Changes come from a notify.Source, are gathered while they settle, and are
// published as a batch: deepest directory first, the root last, so that a
// reader who sees a new stamp finds all that it stands for. The rule by which
// values become stamps is in rule.go; the scan that makes up for what could not
// be heard, in audit.go; what a restart goes by, in identity.go and left.go.
//
// One goroutine writes. The kernel's queue is drained by another, an audit has
// its workers, a hook its process; they send to the one.
//
// What a kill leaves: stamps already set, below others that are not. The next
// start finds every change since the checkpoint by ctime and stamps it. A kill
// between a stamp and its record in .tidemark/left.* makes the next start take
// the watcher's own write for a change, and stamp more than it had to.
//
// A watcher vouches for the time up to the checkpoint. It moves with a batch only
// while everything is heard, read and stamped, else only with an audit that read
// and stamped everything; an audit that was broken off proves nothing.
//
// What is mounted below the root is followed by the mount table (mounts.go): where
// something came or went, all below counts as arrived.
//
// Not heard: writes through memory maps, through a hard link outside the tree or
// in another directory, by io_submit(2) into a file that stays open, through a
// loop device, and by a name outside to a file that is mounted within; with inotify
// also of a file opened by its handle, as the kernel's NFS server does; audits find
// them by their ctime, but for later writes to a mapped page that is still dirty,
// which move no time. On xfs, two directories of one parent that are exchanged
// (RENAME_EXCHANGE) while nobody listens keep their ctimes: an audit sees that the
// parent changed, not that all below the two did.
package watch
