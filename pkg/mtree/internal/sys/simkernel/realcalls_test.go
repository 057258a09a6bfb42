package simkernel_test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// drawn is how a call is drawn: its text, and what it does.
type drawn func(rng *rand.Rand, user bool) (string, func(s *side) string)

// calls are all kinds of calls. To add one, add a line.
var calls = []struct {
	weight int
	draw   drawn
}{
	{8, drawMkdir}, {10, drawOpen}, {8, drawWrite}, {3, drawTruncate}, {3, drawRead}, {3, drawClose},
	{5, drawUnlink}, {10, drawRename}, {4, drawLink}, {4, drawSymlink}, {4, drawMode}, {3, drawOwner}, {6, drawTimes},
	{3, drawAttribute}, {4, drawWatch}, {2, drawStat}, {2, drawBeneath}, {2, drawNameless}, {2, drawReadlink},
	{2, drawLock}, {1, drawSync},
}

func drawCall(rng *rand.Rand) call {
	sum := 0
	for _, c := range calls {
		sum += c.weight
	}
	n := rng.IntN(sum)
	for _, c := range calls {
		if n -= c.weight; n < 0 {
			user := rng.IntN(4) == 0
			text, do := c.draw(rng, user)
			if user {
				text = "user: " + text
			}
			return call{strings.ReplaceAll(text, long, "TOO-LONG"), user, do}
		}
	}
	panic("unreachable")
}

// long is a name that is too long.
var long = strings.Repeat("n", 256)

// path returns a path below the tree.
func path(rng *rand.Rand) string {
	names := make([]string, 1+rng.IntN(3))
	for i := range names {
		names[i] = string(rune('a' + rng.IntN(3)))
	}
	return strings.Join(names, "/")
}

// spelled returns a path that may be spelled in another way, for calls that change nothing:
// the programs change by single names only.
func spelled(rng *rand.Rand) string {
	p := path(rng)
	return pick(rng, p, p, p, p, p+"/", p+"/.", "./"+p, strings.Replace(p, "/", "//", 1), "a/../"+p, p+"/..", ".", "", long)
}

// root returns the descriptor of the tree of who makes a call.
func (s *side) root(user bool) int {
	if user {
		return s.roots[1]
	}
	return s.roots[0]
}

// put keeps a descriptor in a slot, whose old one is closed.
func (s *side) put(slot, fd int, user bool) {
	if s.slots[slot] >= 0 {
		_ = sys.Close(s.slots[slot])
	}
	s.slots[slot], s.owner[slot] = fd, user
}

// of calls with what is open in a slot, if the same user opened it.
func of(user bool, slot int, do func(fd int) string) func(s *side) string {
	return func(s *side) string {
		if s.slots[slot] < 0 || s.owner[slot] != user {
			return "not open"
		}
		return do(s.slots[slot])
	}
}

func result(err error) string {
	if errno, ok := err.(unix.Errno); ok {
		return unix.ErrnoName(errno)
	}
	return fmt.Sprint(err)
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func drawMkdir(rng *rand.Rand, user bool) (string, func(*side) string) {
	p, mode := path(rng), pick[uint32](rng, 0o755, 0o777, 0o700)
	return fmt.Sprintf("mkdir %q %o", p, mode), func(s *side) string { return result(sys.Mkdirat(s.root(user), p, mode)) }
}

func drawOpen(rng *rand.Rand, user bool) (string, func(*side) string) {
	p, slot := path(rng), rng.IntN(4)
	flags := pick(rng, unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR) |
		pick(rng, 0, unix.O_CREAT, unix.O_CREAT, unix.O_CREAT|unix.O_EXCL) |
		pick(rng, 0, 0, unix.O_TRUNC, unix.O_APPEND, unix.O_NOFOLLOW, unix.O_DIRECTORY, unix.O_PATH)
	if flags&unix.O_CREAT == 0 {
		p = spelled(rng)
	}
	if flags&unix.O_DIRECTORY != 0 {
		flags &^= unix.O_CREAT | unix.O_EXCL // together they are an error since Linux 6.3 only
	}
	return fmt.Sprintf("%d = open %q %#x", slot, p, flags), func(s *side) string {
		fd, err := sys.Openat(s.root(user), p, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o664)
		if err == nil {
			s.put(slot, fd, user)
		}
		return result(err)
	}
}

func drawWrite(rng *rand.Rand, user bool) (string, func(*side) string) {
	slot, text := rng.IntN(4), strings.Repeat("x", rng.IntN(9))
	return fmt.Sprintf("write %d %q", slot, text), of(user, slot, func(fd int) string {
		n, err := sys.Write(fd, []byte(text))
		return fmt.Sprint(max(n, 0), result(err))
	})
}

func drawTruncate(rng *rand.Rand, user bool) (string, func(*side) string) {
	slot, size := rng.IntN(4), rng.Int64N(9)
	return fmt.Sprintf("truncate %d %d", slot, size), of(user, slot, func(fd int) string { return result(sys.Ftruncate(fd, size)) })
}

func drawRead(rng *rand.Rand, user bool) (string, func(*side) string) {
	slot, at, seek := rng.IntN(4), rng.Int64N(9), rng.IntN(2) == 0
	return fmt.Sprintf("read %d at %d, seek %t", slot, at, seek), of(user, slot, func(fd int) string {
		var buf [5]byte
		if !seek {
			n, err := sys.Pread(fd, buf[:], at)
			return fmt.Sprintf("%q %s", buf[:max(n, 0)], result(err))
		}
		var stx unix.Statx_t
		if _ = sys.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &stx); stx.Mode&unix.S_IFMT != unix.S_IFREG {
			return "positions in directories are the file system's own"
		}
		to, err := sys.Seek(fd, at, int(at%3))
		n, readErr := sys.Read(fd, buf[:])
		return fmt.Sprintf("%d %s, %q %s", max(to, 0), result(err), buf[:max(n, 0)], result(readErr))
	})
}

func drawClose(rng *rand.Rand, user bool) (string, func(*side) string) {
	slot := rng.IntN(4)
	return fmt.Sprintf("close %d", slot), func(s *side) string {
		if s.slots[slot] < 0 {
			return "not open"
		}
		err := sys.Close(s.slots[slot])
		s.slots[slot] = -1
		return result(err)
	}
}

func drawUnlink(rng *rand.Rand, user bool) (string, func(*side) string) {
	p, flags := path(rng), pick(rng, 0, unix.AT_REMOVEDIR)
	return fmt.Sprintf("unlink %q %#x", p, flags), func(s *side) string { return result(sys.Unlinkat(s.root(user), p, flags)) }
}

func drawRename(rng *rand.Rand, user bool) (string, func(*side) string) {
	from, to, flags := path(rng), path(rng), pick[uint](rng, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, unix.RENAME_EXCHANGE)
	return fmt.Sprintf("rename %q %q %d", from, to, flags), func(s *side) string {
		return result(sys.Renameat2(s.root(user), from, s.root(user), to, flags))
	}
}

func drawLink(rng *rand.Rand, user bool) (string, func(*side) string) {
	from, to := path(rng), path(rng)
	return fmt.Sprintf("link %q %q", from, to), func(s *side) string {
		if user {
			return "fs.protected_hardlinks" // a sysctl
		}
		return result(sys.Linkat(s.root(user), from, s.root(user), to, 0))
	}
}

func drawSymlink(rng *rand.Rand, user bool) (string, func(*side) string) {
	target, p := pick(rng, "a", "b", "c", "a/b", "b/c", "."), path(rng)
	return fmt.Sprintf("symlink %q %q", target, p), func(s *side) string { return result(sys.Symlinkat(target, s.root(user), p)) }
}

func drawReadlink(rng *rand.Rand, user bool) (string, func(*side) string) {
	p := path(rng)
	return fmt.Sprintf("readlink %q", p), func(s *side) string {
		var buf [99]byte
		n, err := sys.Readlinkat(s.root(user), p, buf[:])
		return fmt.Sprintf("%q %s", buf[:max(n, 0)], result(err))
	}
}

func drawMode(rng *rand.Rand, user bool) (string, func(*side) string) {
	p, slot, mode := path(rng), rng.IntN(8), pick[uint32](rng, 0o644, 0o755, 0o700, 0o777, 0)
	if slot < 4 {
		return fmt.Sprintf("fchmod %d %o", slot, mode), of(user, slot, func(fd int) string { return result(sys.Fchmod(fd, mode)) })
	}
	return fmt.Sprintf("chmod %q %o", p, mode), func(s *side) string { return result(sys.Fchmodat(s.root(user), p, mode, 0)) }
}

func drawOwner(rng *rand.Rand, user bool) (string, func(*side) string) {
	p, slot, uid, gid := path(rng), rng.IntN(8), pick(rng, -1, 0, 1000), pick(rng, -1, 0, 1000)
	if slot < 4 {
		return fmt.Sprintf("fchown %d %d:%d", slot, uid, gid), of(user, slot, func(fd int) string { return result(sys.Fchown(fd, uid, gid)) })
	}
	flags := pick(rng, 0, unix.AT_SYMLINK_NOFOLLOW)
	return fmt.Sprintf("chown %q %d:%d %#x", p, uid, gid, flags), func(s *side) string {
		return result(sys.Fchownat(s.root(user), p, uid, gid, flags))
	}
}

func drawTimes(rng *rand.Rand, user bool) (string, func(*side) string) {
	p, slot, flags := path(rng), rng.IntN(8), pick(rng, 0, unix.AT_SYMLINK_NOFOLLOW)
	one := func() unix.Timespec {
		return pick(rng, unix.Timespec{Nsec: unix.UTIME_OMIT}, unix.Timespec{Nsec: unix.UTIME_NOW},
			unix.Timespec{Sec: 1_000_000_000 + rng.Int64N(5), Nsec: rng.Int64N(1e9)}, unix.Timespec{Sec: -rng.Int64N(1e9)}, unix.Timespec{Sec: 5_000_000_000})
	}
	times := [2]unix.Timespec{one(), one()}
	if slot < 4 {
		return fmt.Sprintf("futimens %d %v", slot, times), of(user, slot, func(fd int) string { return result(sys.Futimens(fd, &times)) })
	}
	return fmt.Sprintf("utimens %q %v %#x", p, times, flags), func(s *side) string {
		return result(sys.UtimesNanoAt(s.root(user), p, times[:], flags))
	}
}

func drawAttribute(rng *rand.Rand, user bool) (string, func(*side) string) {
	slot, name, kind := rng.IntN(4), pick(rng, "user.a", "user.b"), rng.IntN(4)
	return fmt.Sprintf("attribute %d %s %d", slot, name, kind), of(user, slot, func(fd int) string {
		var buf [64]byte
		n, err := 0, error(nil)
		switch kind {
		case 0:
			err = sys.Fsetxattr(fd, name, []byte("value"), pick(rng, 0, 0))
		case 1:
			n, err = sys.Fgetxattr(fd, name, buf[:])
		case 2:
			err = sys.Fremovexattr(fd, name)
		default:
			n, err = sys.Flistxattr(fd, buf[:])
			return fmt.Sprint(max(n, 0), result(err)) // in any order
		}
		return fmt.Sprintf("%q %s", buf[:max(n, 0)], result(err))
	})
}

// What watch hears.
const (
	heardOf   = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
	heardToo  = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	howToHear = unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
)

func drawWatch(rng *rand.Rand, user bool) (string, func(*side) string) {
	p, mask := path(rng), uint32(heardOf|howToHear)|pick[uint32](rng, 0, heardToo)|pick[uint32](rng, 0, unix.IN_EXCL_UNLINK)|pick[uint32](rng, 0, unix.IN_MASK_ADD)
	return fmt.Sprintf("watch %q %#x", p, mask), func(s *side) string {
		if user {
			return "/proc/self is closed to a thread that changed its user"
		}
		fd, err := sys.Openat(s.root(user), p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return result(err)
		}
		defer func() { _ = sys.Close(fd) }()
		wd, err := sys.InotifyAddWatch(s.events, fmt.Sprintf("/proc/self/fd/%d/.", fd), mask)
		return fmt.Sprint(max(wd, 0), result(err))
	}
}

func drawStat(rng *rand.Rand, user bool) (string, func(*side) string) {
	p, flags := spelled(rng), pick(rng, 0, unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH)
	return fmt.Sprintf("statx %q %#x", p, flags), func(s *side) string {
		var stx unix.Statx_t
		err := sys.Statx(s.root(user), p, flags, unix.STATX_BASIC_STATS, &stx)
		return fmt.Sprintf("%o %s", stx.Mode, result(err))
	}
}

func drawBeneath(rng *rand.Rand, user bool) (string, func(*side) string) {
	p, how := spelled(rng), unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: pick[uint64](rng, 0, unix.RESOLVE_BENEATH, unix.RESOLVE_NO_SYMLINKS, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)}
	if how.Flags |= pick[uint64](rng, 0, unix.O_NOFOLLOW, unix.O_DIRECTORY, unix.O_PATH); how.Flags&unix.O_PATH != 0 {
		how.Flags &^= unix.O_NONBLOCK // together they are an error
	}
	if rng.IntN(4) == 0 {
		p = pick(rng, "..", "../tree", "a/../..")
	}
	return fmt.Sprintf("openat2 %q %#x %#x", p, how.Flags, how.Resolve), func(s *side) string {
		fd, err := sys.Openat2(s.root(user), p, &how)
		if err == nil {
			err = sys.Close(fd)
		}
		return result(err)
	}
}

func drawNameless(rng *rand.Rand, user bool) (string, func(*side) string) {
	p, to, slot, excl := path(rng), path(rng), rng.IntN(4), pick(rng, 0, 0, unix.O_EXCL)
	return fmt.Sprintf("%d = a nameless file in %q %#x, then %q", slot, p, excl, to), func(s *side) string {
		fd, err := sys.Openat(s.root(user), p, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC|excl, 0o644)
		if err != nil {
			return result(err)
		}
		s.put(slot, fd, user)
		n, err := sys.Write(fd, []byte("nameless"))
		if user {
			return fmt.Sprint(max(n, 0), result(err))
		}
		return fmt.Sprint(n, result(err), " ", result(sys.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), s.root(user), to, unix.AT_SYMLINK_FOLLOW)))
	}
}

func drawLock(rng *rand.Rand, user bool) (string, func(*side) string) {
	slot, kind, cmd := rng.IntN(4), pick[int16](rng, unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK), pick(rng, unix.F_OFD_SETLK, unix.F_OFD_GETLK)
	if rng.IntN(2) == 0 {
		how := pick(rng, unix.LOCK_EX|unix.LOCK_NB, unix.LOCK_UN)
		return fmt.Sprintf("flock %d %d", slot, how), of(user, slot, func(fd int) string { return result(sys.Flock(fd, how)) })
	}
	from, length := rng.Int64N(4), rng.Int64N(3)
	return fmt.Sprintf("lock %d %d %d from %d, %d", slot, cmd, kind, from, length), of(user, slot, func(fd int) string {
		if cmd == unix.F_OFD_GETLK && kind == unix.F_UNLCK {
			return "asks for nothing"
		}
		l := unix.Flock_t{Type: kind, Start: from, Len: length}
		err := sys.FcntlFlock(uintptr(fd), cmd, &l)
		if err != nil || cmd != unix.F_OFD_GETLK {
			return result(err)
		}
		return fmt.Sprint(l.Type, l.Start, l.Len)
	})
}

func drawSync(rng *rand.Rand, user bool) (string, func(*side) string) {
	slot := rng.IntN(4)
	return fmt.Sprintf("fsync %d", slot), of(user, slot, func(fd int) string { return result(sys.Fsync(fd)) })
}
