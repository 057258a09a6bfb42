package notify

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The events of our own writes do not fill the kernel's queue, even if nobody else reads it:
// an audit after a loss writes as much as the one before.
func TestOwnWritesMakeRoom(t *testing.T) {
	const queued = 200
	dir := t.TempDir()
	root, err := os.Open(dir)
	require.NoError(t, err)
	defer root.Close()
	require.NoError(t, os.Mkdir(dir+"/d", 0o755))
	s := &inotify{nodes: newNodes(), moving: map[uint32]*node{}, leaving: map[uint32]bool{}, compressed: map[int32]struct{}{}}
	s.queue.compress = s.compress
	path := "/proc/sys/fs/inotify/max_queued_events"
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strconv.Itoa(queued)), 0))
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	require.NoError(t, os.WriteFile(path, before, 0)) // it is everybody's
	require.NoError(t, err)
	s.queue.file, s.queue.wake, s.queue.soft, s.queue.hard = os.NewFile(uintptr(fd), "inotify"), make(chan struct{}, 1), softCap, hardCap
	s.queue.room = queued / eventsPerWrite / 4
	defer s.queue.file.Close()
	_, _, err = s.Arm(Ref{}, -1, "", int(root.Fd()))
	require.NoError(t, err)
	for i := range 10 * queued {
		require.NoError(t, os.Chmod(dir+"/d", os.FileMode(0o700+i%2))) // never merged with the one before
		require.NoError(t, os.Chmod(dir, os.FileMode(0o700+i%2)))
		s.Wrote()
	}
	require.Len(t, s.queue.wake, 1)
	s.queue.room = 1
	s.Wrote()
	require.Empty(t, s.Take().Lost)
}
