package disk

import (
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
)

// SetTimeFD sets the mtime of an open descriptor and leaves the atime as it is. The
// error is a plain errno. System calls: fstat, utimensat(fd, NULL), which libc calls
// futimens(3).
func SetTimeFD(fd int, mtime mtree.Stamp) error {
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return err
	}
	times := timespecs(st.Atim, mtime)
	return sys.Futimens(fd, &times)
}

// setTimeNow does what SetTimeFD does, but sets the atime to the present, which saves the
// fstat.
func setTimeNow(fd int, mtime mtree.Stamp) error {
	times := timespecs(unix.Timespec{Nsec: unix.UTIME_NOW}, mtime)
	return sys.Futimens(fd, &times)
}

// timespecs returns both times for utimensat(2). UTIME_OMIT would leave the atime as
// well, but libfuse 2 sets nothing at all unless both times are given, and reports
// success.
func timespecs(atime unix.Timespec, mtime mtree.Stamp) [2]unix.Timespec {
	sec, nsec := mtime.Unix()
	return [2]unix.Timespec{atime, {Sec: sec, Nsec: nsec}}
}
