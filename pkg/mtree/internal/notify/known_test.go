package notify

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Known recognises a directory by its inode, whatever its path was, and leaves no watch on a
// directory that was not armed.
func TestKnown(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/a", 0o755))
	require.NoError(t, os.MkdirAll(dir+"/b", 0o755))
	var files []*os.File
	for _, path := range []string{dir, dir + "/a", dir + "/b"} {
		f, err := os.Open(path)
		require.NoError(t, err)
		defer f.Close()
		files = append(files, f)
	}
	root, a, b := int(files[0].Fd()), int(files[1].Fd()), int(files[2].Fd())
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	require.NoError(t, err)
	s := &inotify{nodes: newNodes(), moving: map[uint32]*node{}, leaving: map[uint32]bool{}, compressed: map[int32]struct{}{}}
	s.queue.file = os.NewFile(uintptr(fd), "inotify")
	defer s.queue.file.Close()
	top, _, err := s.Arm(Ref{}, -1, "", root)
	require.NoError(t, err)
	inner, _, err := s.Arm(top, root, "a", a)
	require.NoError(t, err)
	require.NoError(t, os.Rename(dir+"/a", dir+"/elsewhere"))
	for fd, is := range map[int]Ref{a: inner, root: top, b: {}} {
		have, err := s.Known(fd)
		require.NoError(t, err)
		require.Equal(t, is, have)
	}
	_, err = s.Known(-1)
	require.ErrorIs(t, err, ErrGone)
	require.Equal(t, 2, watches(t, fd))
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	require.NoError(t, err)
	require.Contains(t, string(info), "mask:4000fce", "the root still hears of its own end")
}

// Each time that is set on a directory has an event of its own, because its parent has another one
// in between: the watcher counts them, to tell its own from others. Only those of the root may be
// merged, and only where nothing else happened.
func TestTimesThatAreSetAreCounted(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/a", 0o755))
	root, err := os.Open(dir)
	require.NoError(t, err)
	defer root.Close()
	a, err := os.Open(dir + "/a")
	require.NoError(t, err)
	defer a.Close()
	s, err := Inotify(make(chan struct{}, 1))
	require.NoError(t, err)
	defer s.Close()
	top, _, err := s.Arm(Ref{}, -1, "", int(root.Fd()))
	require.NoError(t, err)
	_, _, err = s.Arm(top, int(root.Fd()), "a", int(a.Fd()))
	require.NoError(t, err)
	for i := range 3 {
		require.NoError(t, os.Chtimes(dir+"/a", time.Unix(1, 0), time.Unix(int64(i), 0)))
	}
	require.NoError(t, os.Chmod(dir+"/a", 0o700))
	require.NoError(t, os.Chtimes(dir, time.Unix(1, 0), time.Unix(1, 0)))
	require.NoError(t, os.WriteFile(dir+"/a/f", nil, 0o644))
	require.NoError(t, os.Chtimes(dir, time.Unix(1, 0), time.Unix(2, 0)))
	require.True(t, s.Wrote())
	have := map[string]int{}
	for _, d := range s.Take().Dirs {
		have[d.Path] = d.Self
	}
	require.Equal(t, map[string]int{"": 2, "a": 4}, have)
}

// The root of a mount has no event in the directory above it: the kernel does not know that one as
// its parent. So what somebody set there was not heard.
func TestMountRoots(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/m", 0o755))
	require.NoError(t, unix.Mount("none", dir+"/m", "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { _ = unix.Unmount(dir+"/m", unix.MNT_DETACH) })
	root, err := os.Open(dir)
	require.NoError(t, err)
	defer root.Close()
	m, err := os.Open(dir + "/m")
	require.NoError(t, err)
	defer m.Close()
	s, err := Inotify(make(chan struct{}, 1))
	require.NoError(t, err)
	defer s.Close()
	top, _, err := s.Arm(Ref{}, -1, "", int(root.Fd()))
	require.NoError(t, err)
	_, _, err = s.Arm(top, int(root.Fd()), "m", int(m.Fd()))
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir+"/m", 0o700))
	events := s.Take()
	require.Len(t, events.Dirs, 1)
	require.Equal(t, "m", events.Dirs[0].Path)
	require.Equal(t, 1, events.Dirs[0].Self)
}

// Whether an armed directory still has its name could not be found out: the kernel was out
// of memory, or the directory above could no longer be searched. That counted as gone, with an
// event to come. None came: the directory was neither heard nor audited, and the state was
// "watched".
func TestArmWhatCannotBeFound(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/a", 0o755))
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	require.NoError(t, err)
	s := &inotify{nodes: newNodes(), moving: map[uint32]*node{}, leaving: map[uint32]bool{}, compressed: map[int32]struct{}{}}
	s.queue.file = os.NewFile(uintptr(fd), "inotify")
	defer s.queue.file.Close()
	root, err := os.Open(dir)
	require.NoError(t, err)
	defer root.Close()
	a, err := os.Open(dir + "/a")
	require.NoError(t, err)
	defer a.Close()
	top, _, err := s.Arm(Ref{}, -1, "", int(root.Fd()))
	require.NoError(t, err)
	_, _, err = s.Arm(top, -1, "a", int(a.Fd())) // a look-up that fails, and not for want of the name
	require.ErrorIs(t, err, unix.EBADF)
	require.NotErrorIs(t, err, ErrGone)
	require.Equal(t, 1, watches(t, fd))
	require.NoError(t, os.Rename(dir+"/a", dir+"/b"))
	_, _, err = s.Arm(top, int(root.Fd()), "a", int(a.Fd()))
	require.ErrorIs(t, err, ErrGone)
	require.Equal(t, 1, watches(t, fd))
}

// A directory that is moved to where nothing is heard strayed: out of the tree, or into a
// directory that is not armed. One that is moved to where its arrival is heard did not, nor did
// a file.
func TestStrayed(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for _, path := range []string{"/a", "/b", "/c/deaf"} {
		require.NoError(t, os.MkdirAll(dir+path, 0o755))
	}
	require.NoError(t, os.WriteFile(dir+"/f", nil, 0o644))
	wake := make(chan struct{}, 1)
	s, err := Inotify(wake)
	require.NoError(t, err)
	defer s.Close()
	at, err := os.Open(dir)
	require.NoError(t, err)
	defer at.Close()
	_, _, err = s.Arm(Ref{}, -1, "", int(at.Fd()))
	require.NoError(t, err)
	strayed := func(from, to string) bool {
		require.NoError(t, os.Rename(from, to))
		for count := 0; ; {
			<-wake
			events := s.Take()
			require.True(t, events.Drained || !events.Strayed)
			if count += events.Count; count > 0 && events.Drained {
				return events.Strayed
			}
		}
	}
	require.False(t, strayed(dir+"/a", dir+"/d"))
	require.True(t, strayed(dir+"/d", dir+"/c/deaf/d"))
	require.True(t, strayed(dir+"/b", outside+"/b"))
	require.False(t, strayed(outside+"/b", dir+"/b"))
	require.False(t, strayed(dir+"/f", outside+"/f"))
}

// A walk meets a directory once more in itself: in what is mounted in it, one of the directories above it shows. It
// was taken for one that had moved, with events to come, and passed over.
func TestAWalkThatMeetsADirectoryInItself(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"a/in/b/shown", "c"} {
		require.NoError(t, os.MkdirAll(dir+"/"+path, 0o755))
	}
	for _, at := range [][2]string{{"a/in", "c"}, {"a", "c/b/shown"}} {
		require.NoError(t, unix.Mount(dir+"/"+at[0], dir+"/"+at[1], "", unix.MS_BIND, ""))
		t.Cleanup(func() { require.NoError(t, unix.Unmount(dir+"/"+at[1], unix.MNT_DETACH)) })
	}
	s, err := Inotify(make(chan struct{}, 1))
	require.NoError(t, err)
	defer s.Close()
	above, at := (*os.File)(nil), dir
	var refs []Ref
	for i, name := range []string{"", "c", "b", "shown", "in"} {
		at += "/" + name
		f, err := os.Open(at)
		require.NoError(t, err)
		defer f.Close()
		parent, parentFD := Ref{}, -1
		if i > 0 {
			parent, parentFD = refs[i-1], int(above.Fd())
		}
		ref, fresh, err := s.Arm(parent, parentFD, name, int(f.Fd()))
		require.NoError(t, err, at)
		require.Equal(t, name != "in", fresh, at)
		refs, above = append(refs, ref), f
	}
	require.Equal(t, refs[1], refs[4])
}
