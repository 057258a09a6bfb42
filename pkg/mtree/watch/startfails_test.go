package watch

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
)

// refuses starts a watch that fails, and leaves nothing open, nor locked.
func (s *start) refuses(call string, err error) error {
	s.t.Helper()
	open := len(s.Open)
	s.Refuse(call, err, -1)
	_, openErr := openQuietly(s.options)
	s.Fail = nil
	require.Error(s.t, openErr, call)
	require.Len(s.t, s.Open, open, call)
	return openErr
}

func openQuietly(c Config) (*watcher, error) { return open(c, "none") }

// What fails is told with the disk's reason. Nothing stays open, and the tree is not locked.
func TestStartThatFails(t *testing.T) {
	for _, call := range []string{"open tree", "statx tree", "open .tidemark", "open lock", "utimes probe", "open status.json", "fsync status.json", "rename tree", "inotify "} {
		starts(t, true, func(t *testing.T, s *start) {
			require.ErrorIs(t, s.refuses(call, unix.EIO), unix.EIO, call)
			w := s.open()
			require.True(t, state.IsLiveTree(w.root))
			require.NoError(t, w.close())
		})
	}
	starts(t, true, func(t *testing.T, s *start) {
		err := s.refuses("rename tree", unix.EROFS)
		require.ErrorContains(t, err, "--state-dir")
		require.Equal(t, exit.Local, exit.Of(err))
	})
}

// Also a single look at the root that fails is told, or does no harm.
func TestStartWithATrouble(t *testing.T) {
	for n, failed := 1, true; failed; n++ {
		starts(t, true, func(t *testing.T, s *start) {
			failed = false
			looks := 0
			s.Fail = func(call string) error {
				if call == "statx tree" {
					if looks++; looks == n {
						failed = true
						return unix.EIO
					}
				}
				return nil
			}
			w, err := open(s.options, "none")
			s.Fail = nil
			if err != nil {
				require.ErrorIs(t, err, unix.EIO)
				return
			}
			require.NotNil(t, w.published, "it has begun")
			require.NoError(t, w.close())
		})
	}
}

// What is known of directories apart from their times must be written before a watch begins; and
// what is in the way of our files is named.
func TestStartThatCannotWrite(t *testing.T) {
	starts(t, true, func(t *testing.T, s *start) {
		m := s.marker()
		require.NoError(t, m.WriteUnread(map[string]state.Unread{"a": {Inode: 5}}, 1, false))
		require.NoError(t, m.WriteStamps(nil, 1, false))
		require.NoError(t, m.Close())
		require.ErrorIs(t, s.refuses("rename unread", unix.EIO), unix.EIO)
	})
	starts(t, true, func(t *testing.T, s *start) {
		s.Make(t, markerPath+"/.tree.new/x/")
		_, err := open(s.options, "none")
		require.ErrorIs(t, err, state.ErrInTheWay)
		require.Equal(t, exit.Local, exit.Of(err))
		require.NotContains(t, err.Error(), "--state-dir")
	})
}

// What a watch opened is closed, and what the disk says to that is told.
func TestEndOfAWatch(t *testing.T) {
	w, err := open(Config{Root: t.TempDir()}, "none")
	require.NoError(t, err)
	require.NoError(t, w.close())
	require.Error(t, w.steps.Close(), "closed already")
	require.Error(t, w.mounts.Close(), "closed already")
	for _, name := range []string{"tree", "status.json", "left.0", "lock", ".tidemark"} {
		starts(t, true, func(t *testing.T, s *start) {
			open := len(s.Open)
			w := s.open()
			s.Refuse("close "+name, unix.EIO, -1)
			require.ErrorIs(t, w.close(), unix.EIO, name)
			require.Len(t, s.Open, open)
		})
	}
}

// If somebody removes .tidemark while a watch starts, it begins anew, and gives up in the end.
func TestMarkerIsRemovedWhileWatchStarts(t *testing.T) {
	for _, times := range []int{1, 5, -1} {
		starts(t, true, func(t *testing.T, s *start) {
			left := times
			s.Fail = func(call string) error {
				if call == "open status.json" && left != 0 {
					left--
					_ = s.Shell.Remove(markerPath)
				}
				return nil
			}
			w, err := open(s.options, "none")
			s.Fail = nil
			if times < 0 {
				require.ErrorIs(t, err, fs.ErrNotExist)
				require.LessOrEqual(t, -left, 3*removalTries)
				return
			}
			require.NoError(t, err)
			require.NoError(t, w.close())
		})
	}
}
