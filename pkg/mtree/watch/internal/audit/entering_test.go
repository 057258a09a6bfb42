package audit

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// Another file system is not even opened, and counted, unless mounts are to be crossed. One
// that was mounted since the directory was listed is not armed. A file over which another
// one is mounted is an entry like others.
func TestOtherFileSystems(t *testing.T) {
	for _, cross := range []bool{false, true} {
		s := newSurvey(t, "m/x/", "c/f")
		s.CrossMounts = cross
		s.Mount("m")
		s.change("m")
		want, names, foreign := "", []string{"", "c"}, int64(1)
		if cross {
			want, names, foreign = "m m/x", []string{"", "m", "x", "c"}, 0
		}
		require.Equal(t, want, s.run())
		require.Equal(t, names, s.ear.Names)
		require.Equal(t, foreign, s.foreign.Load())
		require.Equal(t, cross, s.Made("open m") > 0)
	}

	s := newSurvey(t, "m/x/")
	s.change("m/x")
	looks := 0
	s.Show = func(call string, stx *unix.Statx_t) {
		if call == "statx m" {
			if looks++; looks > 1 {
				stx.Attributes |= unix.STATX_ATTR_MOUNT_ROOT
			}
		}
	}
	require.Equal(t, "", s.run())
	require.Equal(t, []string{""}, s.ear.Names)

	s = newSurvey(t, "c/f")
	s.Mount("f")
	s.change("c/f")
	require.Equal(t, "c", s.run())
	require.Equal(t, int64(0), s.foreign.Load())
}

// An audit tells at which paths it saw something mounted, also what came after the directory was listed. What is
// excluded does not count.
func TestMountsThatAnAuditSaw(t *testing.T) {
	for _, cross := range []bool{false, true} {
		s := newSurvey(t, "m/x/", "c/f", "skip/")
		s.CrossMounts = cross
		exclude, err := glob.Excluding([]string{"skip"})
		require.NoError(t, err)
		s.Exclude = exclude
		looks := 0
		s.Show = func(call string, stx *unix.Statx_t) {
			switch {
			case call == "statx skip", call == "statx f", call == "statx /", call == "statx .", call == "statx tree", call == "statx ":
				stx.Attributes |= unix.STATX_ATTR_MOUNT_ROOT
			case call == "statx m":
				if looks++; looks > 1 {
					stx.Attributes |= unix.STATX_ATTR_MOUNT_ROOT
				}
			}
		}
		s.run()
		require.Equal(t, []string{"c/f", "m"}, s.report.Mounts)
	}
}

// An audit counts what it saw: progress and --status show that.
func TestEntriesAreCounted(t *testing.T) {
	s := newSurvey(t, "a/f", "a/b/g")
	require.NoError(t, s.Shell.Write("/tree/a/f", "four"))
	require.NoError(t, s.Shell.Append("/tree/a/b/g", "and more"))
	require.NoError(t, s.Shell.Symlink("f", "/tree/a/l"))
	text, err := s.Shell.Read("/tree/a/b/g")
	require.NoError(t, err)
	s.run()
	require.Equal(t, Report{Directories: 3, Files: 2, Others: 1, Bytes: int64(len("four") + len(text))},
		Report{Directories: s.report.Directories, Files: s.report.Files, Others: s.report.Others, Bytes: s.report.Bytes})
}

// What stands for a subvolume in a snapshot shows another time at each look.
func TestPlaceholders(t *testing.T) {
	s := newSurvey(t, "m/x/")
	s.Placehold("m")
	s.change("m")
	require.Equal(t, "", s.run())
	require.Equal(t, []string{""}, s.ear.Names)
}

// What is excluded is not looked at, whatever it is.
func TestExcluded(t *testing.T) {
	s := newSurvey(t, "skip/x/", "c/skip", "d/f")
	exclude, err := glob.Excluding([]string{"skip"})
	require.NoError(t, err)
	s.Exclude = exclude
	s.change("skip/x")
	s.change("c/skip")
	s.change("d/f")
	require.Equal(t, "d", s.run())
	require.Equal(t, []int64{3, 1}, []int64{s.report.Directories, s.report.Files})
}

// The root is scanned though a watch runs in it: this one.
func TestOurOwnRoot(t *testing.T) {
	s := newSurvey(t, "a/f")
	s.live("")
	s.change("a/f")
	require.Equal(t, "a", s.run())
	require.Empty(t, s.Borders.List(nil))
}

// A directory in which another watch or mirror runs is an entry of the one that it is in, and
// heard because that program may end. Nothing inside is looked at.
func TestBorders(t *testing.T) {
	for _, first := range []bool{false, true} {
		s := newSurvey(t, "a/x/", "c/")
		s.live("a")
		s.change("a/x")
		s.First = first
		if first {
			require.NoError(t, s.Shell.Touch("/tree/a", machine.Now().Time(), true))
			s.Since, s.Before = machine.Now(), machine.Now()
			mtime, _ := s.times("a")
			require.Equal(t, "c .", s.run())
			require.Equal(t, mtime, s.findings["."].Value)
			continue
		}
		require.Equal(t, "", s.run())
		require.Equal(t, []string{"", "c", "a"}, s.ear.Names)
		require.Equal(t, []string{"a"}, s.Borders.List(nil))
		require.Equal(t, int64(2), s.report.Directories)
		s.change("a")
		mtime, ctime := s.times("a")
		require.Equal(t, ".", s.run())
		require.Equal(t, Finding{MTime: mtime, CTime: ctime, Path: "."}, s.findings["."])
	}
}

// A directory that is gone when it is opened, armed or read has its own event. The rest of
// the tree is scanned, and on a first run told.
func TestGoneMeanwhile(t *testing.T) {
	for _, first := range []bool{false, true} {
		for _, when := range []string{"open b", "arm b", "list b"} {
			s := newSurvey(t, "a/b/", "a/c/f", "d/")
			s.First = first
			s.change("a/c/f")
			s.Refuse(when, unix.ENOENT, 1)
			s.ear.Arming = func(name string) error {
				if when == "arm "+name {
					return notify.ErrGone
				}
				return nil
			}
			want := "a/c"
			if first && when == "list b" {
				want = "a/b a/c a d ."
			} else if first {
				want = "a/c a d ."
			}
			s.scan()
			require.NoError(t, s.report.Err)
			for path := range s.findings {
				require.Contains(t, " "+want+" ", " "+path+" ", when)
			}
			require.Contains(t, s.findings, "a/c")
			require.Equal(t, first, len(s.findings) > 1)
			require.False(t, s.isUnread("a/b"), when)
			require.True(t, s.Health.HearsAll())
		}
	}
}

// Without the root an audit has read nothing, and proves nothing. It ended as one that read
// everything, and the checkpoint moved on, when the root could not be armed because the way to
// it was gone: with inotify and without /proc, changes were never published.
func TestRootThatCannotBeRead(t *testing.T) {
	for _, err := range []error{unix.EIO, unix.ENOENT} {
		for _, call := range []string{"open tree", "list tree"} {
			s := newSurvey(t, "a/f")
			s.change("a/f")
			s.Refuse(call, err, 1)
			s.scan()
			require.ErrorIs(t, s.report.Err, err, call)
			require.Empty(t, s.findings)
		}
	}
	s := newSurvey(t, "a/f")
	s.ear.Arming = func(string) error { return notify.ErrGone }
	s.scan()
	require.ErrorIs(t, s.report.Err, notify.ErrGone)
	require.Equal(t, int64(0), s.report.Directories)
}

// A directory that cannot be read is no longer published: the one that it is in changes by
// that, once, and not on the first run, when nothing was published.
func TestWhatAnAuditCannotRead(t *testing.T) {
	for _, first := range []bool{false, true} {
		for _, fail := range []struct {
			call string
			nth  int
		}{{"open b", 1}, {"statx b", 2}, {"statx b", 3}, {"list b", 1}} {
			s := newSurvey(t, "a/b/", "c/")
			s.First = first
			s.RefuseNth(fail.call, fail.nth, unix.EIO)
			s.scan()
			require.NoError(t, s.report.Err)
			require.True(t, s.isUnread("a/b"), fail)
			for _, f := range s.findings {
				require.Equal(t, first, f.First)
			}
			require.Len(t, s.order, len(s.findings), "each once")
			if !first {
				require.Equal(t, []string{"a"}, s.order)
				require.Equal(t, Finding{Path: "a", MTime: mtree.MinStamp, CTime: mtree.MinStamp}, s.findings["a"])
				s.RefuseNth(fail.call, fail.nth, unix.EIO)
				s.scan()
				for path := range s.findings {
					require.Contains(t, "a/b", path, "as it was")
				}
				require.NotContains(t, s.findings, "a", fail)
			}
		}
	}
}

// A directory that can be read again counts as arrived, with everything below it, and changes
// in it count from then on. One that became unreadable meanwhile is none of these.
func TestReadAgain(t *testing.T) {
	s := newSurvey(t, "a/b/d/", "a/c/", "e/")
	s.Health.CannotRead("a/b", s.info("a/b").Node.Ino, unix.EACCES)
	s.ear.Arming = func(name string) error {
		if name == "c" {
			s.Health.CannotRead("a/c", s.info("a/c").Node.Ino, unix.EACCES)
		}
		return nil
	}
	require.Equal(t, "a/b a/b/d", s.run())
	require.NotEqual(t, mtree.MinStamp, s.findings["a/b"].Came)
	require.False(t, s.isUnread("a/b"))
	require.True(t, s.isUnread("a/c"))
	require.Equal(t, []string{"a/b"}, s.Health.EndAudit(0))
}

// What others may change elsewhere (NFS, FUSE) can be armed where it is mounted below the root, and
// is not heard: the tree was "watched". Each mount is asked for its file system, and nothing else.
func TestMountsThatAreNotHeard(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		s := newSurvey(t, "m/x/", "c/")
		s.CrossMounts = true
		s.Mount("m")
		if elsewhere {
			s.ShowFS = func(st *unix.Statfs_t) { st.Type = unix.NFS_SUPER_MAGIC }
		}
		require.Equal(t, "", s.run())
		require.ElementsMatch(t, []string{"", "c", "m", "x"}, s.ear.Names)
		require.Equal(t, !elsewhere, s.Health.HearsAll())
		require.Equal(t, 1, s.Made("statfs "))
	}
}

// A mount that could not be armed counted as heard, because its file system can be heard: the tree
// was "watched", and what changed in the mount was never published.
func TestMountsThatCannotBeArmed(t *testing.T) {
	s := newSurvey(t, "m/x/", "c/")
	s.CrossMounts = true
	s.Mount("m")
	s.ear.Arming = func(name string) error {
		if name == "m" {
			return notify.ErrLimit
		}
		return nil
	}
	require.Equal(t, "", s.run())
	require.Equal(t, []string{"", "c"}, s.ear.Names)
	require.False(t, s.Health.HearsAll())
}

// A file that is removed between the first look at its directory and the watch has no event, and
// no entry shows it: it stayed in every copy. A directory that is heard already needs one look.
func TestRemovedBeforeItIsArmed(t *testing.T) {
	s := newSurvey(t, "a/f", "a/g")
	s.ear.Arming = func(name string) error {
		if name == "a" {
			require.NoError(t, s.Shell.Remove("/tree/a/f"))
		}
		return nil
	}
	require.Equal(t, "a", s.run())
	s.ear.Arming = nil
	s.settle()
	require.Equal(t, "", s.run())
	require.Equal(t, 2, s.Made("statx a"), "one when it is listed, one when it is opened")
}

// The mode and owner of a directory that cannot be read are published by the one that it is in. It
// is a change once: not if they are as they were, and not if that one was stamped since.
func TestModeOfWhatStaysUnread(t *testing.T) {
	for _, c := range []struct{ changed, stamped, found string }{{"", "", ""}, {"a/b", "", "a"}, {"a/b", "a", ""}} {
		s := newSurvey(t, "a/b/")
		s.change("a/b") // later than what it is in
		s.Health.CannotRead("a/b", s.info("a/b").Node.Ino, unix.EACCES)
		s.Since, s.Before, s.Floor = machine.Now(), machine.Now(), machine.Now()
		if c.changed != "" {
			s.change(c.changed)
		}
		if c.stamped != "" {
			s.change(c.stamped)
			s.OwnWrites.Put(s.info("a"), ownwrites.PlaceOf(s.info(""), "a", s.info("a")), ownwrites.Proven, false)
		}
		s.Refuse("open b", unix.EACCES, 1)
		require.Equal(t, c.found, s.run(), c)
		require.True(t, s.isUnread("a/b"))
	}
}

// What cannot be heard is scanned nevertheless, and the tree is degraded. Below a directory
// that is not heard nothing can be.
func TestDeafness(t *testing.T) {
	for _, deaf := range []string{"a", ""} {
		for _, err := range []error{notify.ErrLimit, errors.New("other")} {
			s := newSurvey(t, "a/b/f", "c/")
			s.change("a/b/f")
			s.ear.Arming = func(name string) error {
				if name == deaf {
					return err
				}
				return nil
			}
			require.Equal(t, "a/b", s.run())
			want := []string{"", "c"}
			if deaf == "" {
				want = nil
			}
			require.Equal(t, want, s.ear.Names)
			require.False(t, s.Health.HearsAll())
		}
	}
}
