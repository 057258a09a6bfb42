package simkernel_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// look tells the tree, a line for each name, and for each inode which of its times moved
// since the last look.
func (s *side) look() string {
	var text strings.Builder
	now, first := map[uint64]unix.Statx_t{}, map[uint64]string{}
	var walk func(fd int, path string)
	walk = func(fd int, path string) {
		for _, name := range names(fd) {
			at := path + "/" + name
			var stx unix.Statx_t
			if err := sys.Statx(fd, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &stx); err != nil {
				fmt.Fprintf(&text, "  %s: %v\n", at, err)
				continue
			}
			if twin := first[stx.Ino]; twin != "" {
				fmt.Fprintf(&text, "  %s is %s\n", at, twin)
				continue
			}
			first[stx.Ino], now[stx.Ino] = at, stx
			isDir := stx.Mode&unix.S_IFMT == unix.S_IFDIR
			if isDir {
				stx.Size = 0
			}
			fmt.Fprintf(&text, "  %s %o %d links, of %d:%d, %d bytes%s", at, stx.Mode, stx.Nlink, stx.Uid, stx.Gid, stx.Size, s.moved(stx))
			if stx.Mode&unix.S_IFMT == unix.S_IFLNK {
				target := make([]byte, 99)
				n, err := sys.Readlinkat(fd, name, target)
				fmt.Fprintf(&text, " %q %v", target[:max(n, 0)], err)
			}
			text.WriteString("\n")
			if isDir {
				if child, err := sys.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
					walk(child, at)
					_ = sys.Close(child)
				}
			}
		}
	}
	_, _ = sys.Seek(s.base, 0, unix.SEEK_SET)
	walk(s.base, "")
	s.before = now
	return text.String()
}

// longAgo is a time before which no clock stands: who sets a time sets one before it, or far ahead.
const longAgo, ahead = 1_500_000_000, 4_000_000_000

// moved tells which times of an inode moved since the last look.
func (s *side) moved(stx unix.Statx_t) (text string) {
	was, known := s.before[stx.Ino]
	if stx.Mtime.Sec < longAgo || stx.Mtime.Sec > ahead {
		text = fmt.Sprintf(", mtime %d.%09d", stx.Mtime.Sec, stx.Mtime.Nsec)
	} else if known && was.Mtime != stx.Mtime {
		text = ", mtime moved"
		if stx.Mtime == stx.Ctime {
			text += " with ctime"
		}
	}
	if known && was.Ctime != stx.Ctime {
		text += ", ctime moved"
		if stx.Ctime.Sec < was.Ctime.Sec {
			text += " back"
		}
	}
	if !known {
		text += ", new"
	}
	return text
}

// names returns the names in a directory, in order.
func names(fd int) (all []string) {
	var buf [8192]byte
	for {
		n, err := sys.Getdents(fd, buf[:])
		if err != nil || n <= 0 {
			slices.Sort(all)
			return all
		}
		for rest := buf[:n]; len(rest) > 0; rest = rest[binary.NativeEndian.Uint16(rest[16:]):] {
			name, _, _ := strings.Cut(string(rest[19:binary.NativeEndian.Uint16(rest[16:])]), "\x00")
			if name != "." && name != ".." {
				all = append(all, name)
			}
		}
	}
}

// heard tells the events since the last call. Cookies are numbered anew.
func (s *side) heard() string {
	var text strings.Builder
	cookies := map[uint32]int{0: 0}
	for {
		var buf [4096]byte
		n, err := sys.Read(s.events, buf[:])
		if err != nil || n <= 0 {
			return text.String()
		}
		for rest := buf[:n]; len(rest) > 0; {
			size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(rest[12:]))
			cookie := binary.NativeEndian.Uint32(rest[8:])
			if _, ok := cookies[cookie]; !ok {
				cookies[cookie] = len(cookies)
			}
			name, _, _ := strings.Cut(string(rest[unix.SizeofInotifyEvent:size]), "\x00")
			if strings.HasPrefix(name, "#") {
				name = "#" // of a nameless file: its inode
			}
			fmt.Fprintf(&text, "  heard %d %#x %d %q\n", int32(binary.NativeEndian.Uint32(rest)), binary.NativeEndian.Uint32(rest[4:]), cookies[cookie], name)
			rest = rest[size:]
		}
	}
}
