package dirwatch

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// With OwnTimes only a directory's own times are heard, with AnyChange also its
// entries. Next ends when it is told to, and after Close.
func TestHearing(t *testing.T) {
	top := t.TempDir()
	d, err := disk.OpenRoot(top)
	require.NoError(t, err)
	defer d.Close()
	w, err := New()
	require.NoError(t, err)
	id, err := w.Add(d, OwnTimes)
	require.NoError(t, err)
	next := func() []Event {
		t.Helper()
		require.NoError(t, w.WakeAt(time.Now().Add(10*time.Second)))
		events, err := w.Next(nil)
		require.NoError(t, err)
		return events
	}
	require.NoError(t, os.WriteFile(filepath.Join(top, "f"), nil, 0o644))
	require.NoError(t, d.SetTime(mtree.Unix(1000, 5)))
	require.Equal(t, []Event{{ID: id, Self: true}}, next(), "the file is not heard")

	again, err := w.Add(d, AnyChange)
	require.NoError(t, err)
	require.Equal(t, id, again, "the same directory")
	require.NoError(t, os.Remove(filepath.Join(top, "f")))
	require.Equal(t, []Event{{ID: id}}, next())

	require.NoError(t, w.WakeAt(time.Now()))
	_, err = w.Next(nil)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	w.Remove(id)
	require.NoError(t, w.Close())
	_, err = w.Next(nil)
	require.ErrorIs(t, err, fs.ErrClosed)
}

// unmounted is this machine without /proc, for what Add does.
type unmounted struct{ sys.Kernel }

func (unmounted) Readlink(string) (string, error) { return "", unix.ENOENT }

func (unmounted) InotifyAddWatch(fd int, path string, mask uint32) (int, error) {
	if strings.HasPrefix(path, "/proc/") {
		return -1, unix.ENOENT
	}
	return unix.InotifyAddWatch(fd, path, mask)
}

func (unmounted) InotifyRmWatch(fd int, wd uint32) (int, error) { return unix.InotifyRmWatch(fd, wd) }
func (unmounted) Close(fd int) error                            { return unix.Close(fd) }

func (unmounted) Openat(dirfd int, path string, flags int, mode uint32) (int, error) {
	return unix.Openat(dirfd, path, flags, mode)
}

func (unmounted) Statx(dirfd int, path string, flags, mask int) (stx unix.Statx_t, err error) {
	err = unix.Statx(dirfd, path, flags, mask, &stx)
	return stx, err
}

// Without /proc, as in a chroot, nothing could be heard: --sync ended with "no such file or
// directory". A directory is heard by its path, if that leads to it.
func TestHearingWithoutProc(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(top, "a"), 0o755))
	d, err := disk.OpenRoot(filepath.Join(top, "a"))
	require.NoError(t, err)
	w, err := New()
	require.NoError(t, err)
	defer w.Close()
	defer sys.Simulate(unmounted{})()
	id, err := w.Add(d, AnyChange)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(top, "a/f"), nil, 0o644))
	require.NoError(t, w.WakeAt(time.Now().Add(30*time.Second)))
	events, err := w.Next(nil)
	require.NoError(t, err)
	require.Equal(t, Event{ID: id}, events[0])
	require.NoError(t, os.Rename(filepath.Join(top, "a"), filepath.Join(top, "b")))
	require.NoError(t, os.Mkdir(filepath.Join(top, "a"), 0o755))
	_, err = w.Add(d, AnyChange)
	require.ErrorIs(t, err, sys.ErrNoProc)
	require.NoError(t, d.Close())
}

// Without /proc, as in a chroot, watch --sync said that .tidemark was not there.
func TestAddWithoutProc(t *testing.T) {
	k := faultkernel.New(t, 0)
	d, err := disk.OpenRoot("/")
	require.NoError(t, err)
	defer d.Close()
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	w := &Watch{null}
	defer w.Close()
	missing := "watch "
	k.Fail = func(call string) error {
		if strings.HasPrefix(call, missing) {
			return unix.ENOENT
		}
		return nil
	}
	_, err = w.Add(d, OwnTimes)
	require.ErrorIs(t, err, fs.ErrNotExist)
	missing = ""
	_, err = w.Add(d, OwnTimes)
	require.ErrorContains(t, err, "/proc")
	require.NotErrorIs(t, err, fs.ErrNotExist)
}
