package machine

import (
	"cmp"
	"fmt"
	"os"
	"path"
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
	What string // identifies the mounts there: another text once something else is mounted
	Dev  string // device of the file system, MAJOR:MINOR
	Root string // the path on that file system of the directory or file at the place
	File bool   // it is a regular file
}

// Mounts returns what is mounted below the directory fd, by path. "" is for the
// directory itself, with the mounts at and above it. Cost: reads the table, and a
// statx(2) for each mount below.
func Mounts(fd int) (map[string]Mounted, error) {
	top, err := sys.Readlink(sys.FDPath(fd))
	if err != nil {
		return nil, cmp.Or(sys.ThroughProc(fd), err)
	}
	lines, err := readMounts()
	if err != nil {
		return nil, err
	}
	mounts, nearest := map[string]Mounted{}, ""
	for _, l := range lines {
		// These fields stay the same as long as the mount does.
		m := Mounted{What: strings.Join([]string{l.id, l.parent, l.dev, l.root, l.point, l.kind, l.source}, " "), Dev: l.dev, Root: l.root}
		at := ""
		switch {
		case isIn(top, l.point):
			m.Root = path.Join(m.Root, strings.TrimPrefix(top, l.point))
			if !isIn(l.point, nearest) {
				m.Dev, m.Root = mounts[""].Dev, mounts[""].Root
			} else {
				nearest = l.point
			}
		case isIn(l.point, top) && !strings.HasSuffix(l.point, "//deleted"):
			at = strings.TrimPrefix(strings.TrimPrefix(l.point, top), "/")
			var number uint64
			number, m.File = lookAt(l.point)
			m.What += fmt.Sprintf(" %x", number)
		default:
			continue
		}
		m.What = mounts[at].What + m.What + "\n" // one may cover another
		mounts[at] = m
	}
	return mounts, nil
}

// lookAt returns a number of the mount at point that no later mount will have, unlike the id in the table;
// 0 before Linux 6.8. And whether it shows a regular file.
func lookAt(point string) (number uint64, file bool) {
	const unique = unix.STATX_MNT_ID_UNIQUE
	var stx unix.Statx_t
	err := sys.Statx(unix.AT_FDCWD, point, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unique, &stx)
	if err != nil {
		return 0, false
	}
	if stx.Mask&unique != 0 {
		number = stx.Mnt_id
	}
	return number, stx.Mode&unix.S_IFMT == unix.S_IFREG
}
