package calls

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

// CanBeShort reports whether a call may move fewer bytes than it was asked for.
func (c *Call) CanBeShort() bool { return kinds[c.number].length > 0 }

var errWhole = errors.New("not to be shortened")

// half does what the call would do, with half of the bytes, by descriptors that it takes
// from the program (pidfd_getfd(2)).
func (c *Call) half() (moved int, err error) {
	length := c.args[kinds[c.number].length] / 2
	if length == 0 {
		return 0, errWhole
	}
	process, err := unix.PidfdOpen(c.process(), 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(process)
	take := func(arg int) int {
		fd, takeErr := unix.PidfdGetfd(process, int(int32(c.args[arg])), 0)
		err = errors.Join(err, takeErr)
		return fd
	}
	first, second := take(0), -1
	switch c.number {
	case unix.SYS_SENDFILE:
		second = take(1)
	case unix.SYS_COPY_FILE_RANGE:
		second = take(2)
	}
	defer unix.Close(first)
	defer unix.Close(second)
	if err != nil {
		return 0, err
	}
	length = min(length, 1<<20)
	buf := make([]byte, length)
	switch c.number {
	case unix.SYS_READ:
		moved, err = unix.Read(first, buf[:atLeastOne(first, length)])
	case unix.SYS_PREAD64:
		moved, err = unix.Pread(first, buf, int64(c.args[3]))
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		if _, err = unix.ProcessVMReadv(c.thread, vector(buf), remote(c.args[1], len(buf)), 0); err != nil {
			return 0, err
		}
		if c.number == unix.SYS_WRITE {
			return unix.Write(first, buf)
		}
		return unix.Pwrite(first, buf, int64(c.args[3]))
	case unix.SYS_SENDFILE:
		if c.args[2] != 0 {
			return 0, errWhole
		}
		return unix.Sendfile(first, second, nil, int(length))
	case unix.SYS_COPY_FILE_RANGE:
		if c.args[1] != 0 || c.args[3] != 0 {
			return 0, errWhole
		}
		return unix.CopyFileRange(first, nil, second, nil, int(length), 0)
	default:
		return 0, errWhole
	}
	if err == nil && moved > 0 {
		_, err = unix.ProcessVMWritev(c.thread, vector(buf[:moved]), remote(c.args[1], moved), 0)
	}
	return moved, err
}

// atLeastOne returns half of what a read of a file can give now, if that is less than
// length: the buffers are mostly larger than the files.
func atLeastOne(fd int, length uint64) uint64 {
	var st unix.Stat_t
	at, err := unix.Seek(fd, 0, unix.SEEK_CUR)
	if err != nil || unix.Fstat(fd, &st) != nil || st.Size-at < 2 {
		return length
	}
	return min(length, uint64(st.Size-at)/2)
}

var tgid = regexp.MustCompile(`(?m)^Tgid:\s+(\d+)`)

// process returns the process of the thread that waits.
func (c *Call) process() int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.thread))
	if m := tgid.FindSubmatch(text); m != nil {
		if n, err := strconv.Atoi(string(m[1])); err == nil {
			return n
		}
	}
	return c.thread
}
