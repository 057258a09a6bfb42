package machine

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// MountTable hears when mounts come or go in this process's mount namespace, by poll(2)
// on proc_pid_mountinfo(5). It causes no wake-up until then.
type MountTable struct {
	C <-chan struct{} // sent to after a change, without waiting: ask Changed

	alarm *os.File // known to the runtime's poller
	asked *os.File // a second one, because each descriptor reports a change once
	done  chan struct{}
}

// NewMountTable begins to listen, with a goroutine that ends with Close. The error may be
// sys.ErrNoProc.
func NewMountTable() (*MountTable, error) {
	if k := sys.Simulated(); k != nil {
		return &MountTable{C: k.MountChanges()}, nil
	}
	asked, err := openMountInfo(0)
	if err != nil {
		return nil, err
	}
	alarm, err := openMountInfo(unix.O_NONBLOCK) // os.NewFile gives what does not block to the poller
	if err != nil {
		_ = asked.Close()
		return nil, err
	}
	changes := make(chan struct{}, 1)
	t := &MountTable{C: changes, alarm: alarm, asked: asked, done: make(chan struct{})}
	go t.listen(changes)
	return t, nil
}

func openMountInfo(flags int) (*os.File, error) {
	fd, err := unix.Open(mountInfo, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
	if err == unix.ENOENT {
		return nil, sys.ErrNoProc
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: mountInfo, Err: err}
	}
	return os.NewFile(uintptr(fd), mountInfo), nil
}

// listen wakes up once for each change: the poller waits for edges, and the file becomes
// readable with each change.
func (t *MountTable) listen(changes chan<- struct{}) {
	defer close(t.done)
	conn, err := t.alarm.SyscallConn()
	for err == nil {
		waited := false
		err = conn.Read(func(uintptr) bool {
			defer func() { waited = true }()
			return waited
		})
		select {
		case changes <- struct{}{}:
		default:
		}
	}
}

// Changed reports whether mounts came or went since it was called last, by a mount(2) or
// umount(2) that returned before this call. Cost: one poll(2).
func (t *MountTable) Changed() bool {
	if k := sys.Simulated(); k != nil {
		return k.MountsChanged()
	}
	ask := []unix.PollFd{{Fd: int32(t.asked.Fd()), Events: unix.POLLPRI}}
	for {
		_, err := unix.Poll(ask, 0)
		if err != unix.EINTR {
			return err != nil || ask[0].Revents&(unix.POLLPRI|unix.POLLERR) != 0
		}
	}
}

// Close ends the listening.
func (t *MountTable) Close() error {
	if t.alarm == nil {
		return nil // of a simulation
	}
	err := t.alarm.Close()
	<-t.done
	_ = t.asked.Close()
	return err
}

// Mounted is what is mounted at one place of a tree.
type Mounted struct {
	What    string  // identifies the mounts there: another text once something else is mounted
	Shown           // of the mount that shows
	File    bool    // it is a regular file
	Covered []Shown // of the other mounts there
}

// Shown says what a mount shows.
type Shown struct {
	Dev  string // device of the file system, MAJOR:MINOR
	Root string // the path on that file system of the directory or file
}

// Mounts returns what is mounted below the directory fd, by path. "" is for the
// directory itself, with the mounts at and above it. Cost: reads the table, and two
// statx(2) for each path below at which something is mounted.
func Mounts(fd int) (map[string]Mounted, error) {
	top, err := sys.Readlink(sys.FDPath(fd))
	if err != nil {
		return nil, cmp.Or(sys.ThroughProc(fd), err)
	}
	lines, err := readMounts()
	if err != nil {
		return nil, err
	}
	t := mountsBelow{top: top, id: mountID(fd), mounts: map[string]Mounted{}, shown: map[string]bool{}, seen: map[string]sight{}}
	for _, l := range lines {
		t.add(&l)
	}
	return t.mounts, nil
}

// mountsBelow gathers the mounts of a tree.
type mountsBelow struct {
	top, id string // path of its root, and the id of the mount on which that lies
	nearest string // path of the mount at or above the root that was the nearest so far
	mounts  map[string]Mounted
	shown   map[string]bool // paths at which a line was of the mount that shows
	seen    map[string]sight
}

// add adds a line of the table. Of several mounts at one path one shows. That need not be the last line: a
// mount that spreads from elsewhere goes below what is at the path already.
func (t *mountsBelow) add(l *mountLine) {
	// These fields stay the same as long as the mount does.
	m := Mounted{What: strings.Join([]string{l.id, l.parent, l.dev, l.root, l.point, l.kind, l.source}, " "), Shown: Shown{l.dev, l.root}}
	at, shows := "", l.id == t.id
	switch {
	case isIn(t.top, l.point):
		m.Root = path.Join(m.Root, strings.TrimPrefix(t.top, l.point))
		if !isIn(l.point, t.nearest) {
			m.Shown = t.mounts[""].Shown
		} else {
			t.nearest = l.point
		}
	case isIn(l.point, t.top) && !strings.HasSuffix(l.point, "//deleted"):
		at = strings.TrimPrefix(strings.TrimPrefix(l.point, t.top), "/")
		if _, looked := t.seen[at]; !looked {
			t.seen[at] = lookAt(l.point)
		}
		is := t.seen[at]
		m.What += fmt.Sprintf(" %x", is.number)
		m.File, shows = is.file, l.id == is.id
	default:
		return
	}
	was, had := t.mounts[at]
	below := was.Shown
	if t.shown[at] && !shows { // guard: TestTheMountThatShows
		below, m.Shown = m.Shown, was.Shown
	}
	if m.Covered = was.Covered; had && at != "" {
		m.Covered = append(m.Covered, below)
	}
	t.shown[at] = t.shown[at] || shows
	m.What = was.What + m.What + "\n"
	t.mounts[at] = m
}

// sight is what is seen at a path.
type sight struct {
	number uint64 // of the mount of which it is the root: no later one will have it, unlike the id; 0 before Linux 6.8
	id     string // the id in the table of that mount; "" if it is the root of none, and before Linux 5.8
	file   bool   // it is a regular file
}

// lookAt looks at a path at which something is mounted.
func lookAt(point string) (s sight) {
	see := func(what int) (stx unix.Statx_t, ok bool) {
		err := sys.Statx(unix.AT_FDCWD, point, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|what, &stx)
		return stx, err == nil && stx.Mask&uint32(what) != 0
	}
	if stx, ok := see(unix.STATX_MNT_ID_UNIQUE); ok {
		s.number = stx.Mnt_id
	}
	stx, ok := see(unix.STATX_MNT_ID)
	if ok && stx.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		s.id = strconv.FormatUint(stx.Mnt_id, 10)
	}
	s.file = stx.Mode&unix.S_IFMT == unix.S_IFREG
	return s
}
