package watch

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/notify"
)

// mountedFiles are lines of the table for files of the tree at which others are mounted.
func mountedFiles(paths ...string) (lines string) {
	for _, path := range paths {
		lines += "5 1 8:1 /away/" + path + " /tree/" + path + " rw - ext4 x rw\n"
	}
	return lines
}

// What is written to files that are mounted by themselves is heard, as long as they are mounted. Directories
// are heard by the source of events, and without mounts or events nothing is.
func TestFilesByThemselves(t *testing.T) {
	publish := func(p *post) func() { return func() { require.NoError(t, p.publishEvents(p.ctx)) } }
	writes := func(t *testing.T, p *post, path string) string {
		t.Helper()
		publish(p)() // what came before is published
		return p.changes(func() {
			require.NoError(t, p.Shell.Append("/tree/"+path, "more"))
			publish(p)()
		}, "a", "b", "c")
	}
	paths := []string{"a/f", "b/g", "c/d/"}
	mannedWith(t, Config{CrossMounts: true}, paths, func(t *testing.T, p *post) {
		p.Mounts, p.Mounted = mountedFiles("a/f", "c/d"), true
		require.NoError(t, p.checkMounts())
		require.Equal(t, []string{"a/f"}, p.files.Armed())
		require.Equal(t, "a", writes(t, p, "a/f"))
		require.Empty(t, writes(t, p, "b/g"), "that is the source's to tell")

		require.Equal(t, "a", p.changes(func() {
			require.NoError(t, p.Shell.Append("/tree/a/f", "more"))
			p.Mounts, p.Mounted = mountedFiles("a/f"), true // and no more at c/d
			publish(p)()
		}, "a", "b"), "it stays heard while other mounts come and go")
		require.NotContains(t, p.text.String(), "cannot be heard")

		p.Mounts, p.Mounted = mountedFiles("b/g"), true
		require.NoError(t, p.checkMounts())
		require.Equal(t, []string{"b/g"}, p.files.Armed())
		require.Empty(t, writes(t, p, "a/f"))
		require.Equal(t, "b", writes(t, p, "b/g"))

	})
	for _, c := range []struct {
		call string
		err  unix.Errno
		told string
	}{
		{"watch f", unix.EACCES, "inotify_add_watch: permission denied"},
		{"watch f", unix.ENOENT, ""},
		{"open a", unix.EACCES, "permission denied"},
		{"open a", unix.ENOENT, ""},
	} {
		mannedWith(t, Config{CrossMounts: true}, paths, func(t *testing.T, p *post) {
			p.Refuse(c.call, c.err, -1)
			p.Mounts, p.Mounted = mountedFiles("a/f"), true
			require.NoError(t, p.checkMounts())
			require.Empty(t, p.files.Armed(), c)
			require.Equal(t, c.told != "", strings.Contains(p.text.String(), "cannot be heard: audits find what is written to it"), c)
			require.Contains(t, p.text.String(), c.told)
		})
	}
	mannedWith(t, Config{CrossMounts: true}, paths, func(t *testing.T, p *post) {
		p.backend = "none"
		p.Mounts, p.Mounted = mountedFiles("a/f"), true
		require.NoError(t, p.checkMounts())
		require.Empty(t, p.files.Armed())
	})
	manned(t, paths, func(t *testing.T, p *post) {
		p.Mounts, p.Mounted = mountedFiles("a/f"), true
		require.NoError(t, p.checkMounts())
		require.Empty(t, p.files.Armed())
	})
}

// As long as more may be told of such files, the checkpoint stays.
func TestMoreOfFilesByThemselves(t *testing.T) {
	for _, more := range []bool{true, false} {
		mannedWith(t, Config{CrossMounts: true}, []string{"a/f"}, func(t *testing.T, p *post) {
			p.Mounts, p.Mounted = mountedFiles("a/f"), true
			require.NoError(t, p.publishEvents(p.ctx))
			before := *p.watcher.status.Checkpoint
			p.sleep(time.Hour)
			if more {
				p.Refuse("waiting inotify", unix.EIO, -1)
			}
			require.NoError(t, p.publishEvents(p.ctx))
			require.Equal(t, more, *p.watcher.status.Checkpoint == before)
		})
	}
}

// What is mounted when watch starts is heard from then on.
func TestFilesByThemselvesAtTheStart(t *testing.T) {
	starts(t, true, func(t *testing.T, s *start) {
		s.options.CrossMounts = true
		s.Make(t, "/tree/a/f")
		s.Mounts = mountedFiles("a/f")
		w, err := open(s.options, "inotify")
		require.NoError(t, err)
		defer func() { require.NoError(t, w.close()) }()
		require.Equal(t, []string{"a/f"}, w.files.Armed())
		events, drained := w.heardFiles()
		require.Empty(t, events)
		require.True(t, drained)
		require.NoError(t, s.Shell.Append("/tree/a/f", "more"))
		events, _ = w.heardFiles()
		require.Equal(t, []*notify.DirEvents{{Path: "a", Entries: []notify.Entry{{Name: "f", File: true}}}}, events)
	})
}
