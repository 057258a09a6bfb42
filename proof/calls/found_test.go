package calls_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/proof/calls"
)

// TestFound replays faults that broke something once, or did with a guard taken out. A fault that hits nothing fails,
// too: then the program makes another call in its place, which should stand here.
func TestFound(t *testing.T) {
	for _, found := range []struct{ broke, fault string }{
		{"a local source whose file could not be opened, but not for lack of permissions: the copy was complete without it for ever",
			"mirror-update-local openat src/a/moved/f2 1 EPERM once"},
		{"a signal during symlink(2) on FUSE was a failure", "mirror-update symlinkat copy/.tidemark/tmp/N 3 EINTR once"},
		{"out of memory for a moment: exit code 4, and the advice to remove .tidemark", "mirror-first openat copy/.tidemark 3 ENOMEM once"},
		{"a disk that failed while its times were measured seemed to keep no time after 2001: every file got that one, and exit code 0",
			"mirror-update utimensat copy/.tidemark/probe 2 ESTALE here"},
		{"the same, with an errno by which FUSE file systems refuse times", "mirror-update utimensat copy/.tidemark/probe 2 EIO here"},
		{"a queue of events that could not be read was read 20,000 times a second, with one audit after the other", "watch-inotify read inotify 4 ENOMEM on"},
		{"a .tidemark that could not be read for a moment counted as removed, and the tree was degraded for ever",
			"watch-fanotify read src/.tidemark/tree 7 EPERM here"},
		{"a stale handle, as NFS gives it for all that is there, was taken for a directory that is gone: the audit passed it over, and proved it",
			"watch-audit openat src/a/b 2 ESTALE here"},
		{"a lock that was taken, but could not be looked at, counted as somebody else's: exit code 4, and the advice to stop the other mirror",
			"mirror-verify statx copy/.tidemark/lock 3 EACCES on"},
		{"a signal while watch --sync and serve begin to hear a directory was a failure", "watch-sync inotify_add_watch src/.tidemark 1 EINTR once"},
		{"a symlink that could not be followed for lack of memory was listed in JSON as one that leads nowhere",
			"serve-fast readlinkat src/a/f1 2 ENOMEM here"},
		{"with a guard taken out: a directory of a source that cannot be read to its end seems to lack what was not read",
			"mirror-update-local getdents64 src/many 1 EIO once"},
		{"with a guard taken out: a listing lacks what could not be looked at", "serve-fast statx src/many/5 1 EIO once"},
	} {
		t.Run(found.fault, func(t *testing.T) {
			t.Log(found.broke)
			parsed, err := calls.ParseFault(found.fault)
			require.NoError(t, err)
			f := &fault{Fault: parsed, one: true}
			runScenario(t, f)
			require.True(t, f.hit(), "the fault hit no call")
		})
	}
}
