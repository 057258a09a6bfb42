package calls

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Call is one system call that waits for its answer.
type Call struct {
	Name string // as in syscalls(2)
	Path string // what it is about, relative to the Base; counters in names are "N"
	Nth  int    // of those of this name and path, from 1

	Creates bool // an open that makes a file
	Writes  bool // an open for writing

	number int
	thread int // which waits
	args   [6]uint64
}

// kind says where a call has what it is about.
type kind struct {
	name   string
	dir    int // which argument is the descriptor that it works on, or below which path is; none
	path   int // which argument is a path; none
	length int // which argument is the number of bytes; 0: it moves none
}

const none = -1

// kinds are the calls that are answered, by number. Of calls with two paths the second
// counts: there something changes.
var kinds = map[int]kind{
	unix.SYS_OPENAT:            {"openat", 0, 1, 0},
	unix.SYS_OPENAT2:           {"openat2", 0, 1, 0},
	unix.SYS_OPEN_BY_HANDLE_AT: {"open_by_handle_at", 0, none, 0},
	unix.SYS_NAME_TO_HANDLE_AT: {"name_to_handle_at", 0, 1, 0},
	unix.SYS_STATX:             {"statx", 0, 1, 0},
	unix.SYS_NEWFSTATAT:        {"newfstatat", 0, 1, 0},
	unix.SYS_FSTAT:             {"fstat", 0, none, 0},
	unix.SYS_FSTATFS:           {"fstatfs", 0, none, 0},
	unix.SYS_STATFS:            {"statfs", none, 0, 0},
	unix.SYS_READLINKAT:        {"readlinkat", 0, 1, 0},
	unix.SYS_GETDENTS64:        {"getdents64", 0, none, 0},
	unix.SYS_READ:              {"read", 0, none, 2},
	unix.SYS_PREAD64:           {"pread64", 0, none, 2},
	unix.SYS_FGETXATTR:         {"fgetxattr", 0, none, 0},
	unix.SYS_FLISTXATTR:        {"flistxattr", 0, none, 0},

	unix.SYS_MKDIRAT:         {"mkdirat", 0, 1, 0},
	unix.SYS_UNLINKAT:        {"unlinkat", 0, 1, 0},
	unix.SYS_RENAMEAT:        {"renameat", 2, 3, 0},
	unix.SYS_RENAMEAT2:       {"renameat2", 2, 3, 0},
	unix.SYS_LINKAT:          {"linkat", 2, 3, 0},
	unix.SYS_SYMLINKAT:       {"symlinkat", 1, 2, 0},
	unix.SYS_WRITE:           {"write", 0, none, 2},
	unix.SYS_PWRITE64:        {"pwrite64", 0, none, 2},
	unix.SYS_COPY_FILE_RANGE: {"copy_file_range", 2, none, 4},
	unix.SYS_SENDFILE:        {"sendfile", 1, none, 3},
	unix.SYS_SPLICE:          {"splice", 0, none, 4},
	unix.SYS_FTRUNCATE:       {"ftruncate", 0, none, 0},
	unix.SYS_FALLOCATE:       {"fallocate", 0, none, 0},
	unix.SYS_FSYNC:           {"fsync", 0, none, 0},
	unix.SYS_FDATASYNC:       {"fdatasync", 0, none, 0},
	unix.SYS_SYNCFS:          {"syncfs", 0, none, 0},
	unix.SYS_UTIMENSAT:       {"utimensat", 0, 1, 0},
	unix.SYS_FCHMOD:          {"fchmod", 0, none, 0},
	unix.SYS_FCHMODAT:        {"fchmodat", 0, 1, 0},
	unix.SYS_FCHMODAT2:       {"fchmodat2", 0, 1, 0},
	unix.SYS_FCHOWN:          {"fchown", 0, none, 0},
	unix.SYS_FCHOWNAT:        {"fchownat", 0, 1, 0},
	unix.SYS_FSETXATTR:       {"fsetxattr", 0, none, 0},
	unix.SYS_FREMOVEXATTR:    {"fremovexattr", 0, none, 0},
	unix.SYS_FLOCK:           {"flock", 0, none, 0},
	unix.SYS_FCNTL:           {"fcntl", 0, none, 0}, // locks only

	unix.SYS_INOTIFY_ADD_WATCH: {"inotify_add_watch", none, 1, 0},
	unix.SYS_FANOTIFY_MARK:     {"fanotify_mark", 3, 4, 0},
}

// concerned finds out what a call is about: its path below base, or false if it is about
// something else, such as the log, a socket or the files of the Go runtime.
func (c *Call) concerned(base string) bool {
	k := kinds[c.number]
	c.Name = k.name
	if c.number == unix.SYS_FCNTL && !isLock(int(c.args[1])) {
		return false
	}
	var path string
	if k.path != none {
		path = c.text(c.args[k.path])
	}
	if k.dir != none && !filepath.IsAbs(path) {
		path = filepath.Join(c.descriptor(int32(c.args[k.dir])), path)
	}
	if number, ok := strings.CutPrefix(path, "/proc/self/fd/"); ok {
		if fd, err := strconv.Atoi(number); err == nil {
			path = c.descriptor(int32(fd))
		}
	}
	if queue, ok := queues[path]; ok {
		c.Path = queue
		return true
	}
	c.open()
	path, below := strings.CutPrefix(path, base+"/")
	c.Path = stableName(path)
	return below
}

// queues are the sources of events, as the kernel shows their descriptors.
var queues = map[string]string{"anon_inode:inotify": "inotify", "anon_inode:[fanotify]": "fanotify"}

// open finds out what an open is for.
func (c *Call) open() {
	flags := c.args[2]
	switch c.number {
	case unix.SYS_OPENAT:
	case unix.SYS_OPENAT2: // struct open_how begins with the flags
		var how [8]byte
		_, _ = unix.ProcessVMReadv(c.thread, vector(how[:]), remote(flags, len(how)), 0)
		flags = binary.NativeEndian.Uint64(how[:])
	default:
		return
	}
	c.Creates = flags&(unix.O_CREAT|unix.O_TMPFILE&^unix.O_DIRECTORY) != 0
	c.Writes = c.Creates || flags&unix.O_ACCMODE != unix.O_RDONLY
}

func isLock(command int) bool {
	switch command {
	case unix.F_SETLK, unix.F_SETLKW, unix.F_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW, unix.F_OFD_GETLK:
		return true
	}
	return false
}

// text reads a path from the memory of the program.
func (c *Call) text(at uint64) string {
	var path []byte
	for at != 0 && len(path) < unix.PathMax {
		buf := make([]byte, 256-at%256) // never beyond a page
		n, err := unix.ProcessVMReadv(c.thread, vector(buf), remote(at, len(buf)), 0)
		if err != nil || n == 0 {
			break
		}
		if end := bytes.IndexByte(buf[:n], 0); end >= 0 {
			return string(append(path, buf[:end]...))
		}
		path, at = append(path, buf[:n]...), at+uint64(n)
	}
	return string(path)
}

// descriptor returns the path of an open file, or what else the kernel shows for it.
func (c *Call) descriptor(fd int32) string {
	link := "/proc/" + strconv.Itoa(c.thread) + "/cwd"
	if fd != unix.AT_FDCWD {
		link = "/proc/" + strconv.Itoa(c.thread) + "/fd/" + strconv.Itoa(int(fd))
	}
	path, _ := os.Readlink(link)
	return path
}

func vector(buf []byte) []unix.Iovec {
	v := []unix.Iovec{{}}
	if len(buf) > 0 {
		v[0].Base = &buf[0]
	}
	v[0].SetLen(len(buf))
	return v
}

func remote(at uint64, n int) []unix.RemoteIovec {
	return []unix.RemoteIovec{{Base: uintptr(at), Len: n}}
}

var (
	unnamed = regexp.MustCompile(`/#\d+ \(deleted\)$`) // O_TMPFILE
	counted = regexp.MustCompile(`^(.*/\.tidemark/tmp/)\d+`)
	cookie  = regexp.MustCompile(`(/\.tidemark/\.?[a-z]+-)[A-Z2-7]{26}`) // of watch --sync
)

// stableName returns the path with all that differs from run to run left out.
func stableName(path string) string {
	path = unnamed.ReplaceAllString(path, "/(unnamed)")
	path = strings.TrimSuffix(path, " (deleted)")
	path = cookie.ReplaceAllString(path, "${1}N")
	return counted.ReplaceAllString(path, "${1}N")
}
