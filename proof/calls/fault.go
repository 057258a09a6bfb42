package calls

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Fault says which call fails, how, and how long.
type Fault struct {
	Scenario string
	Call     string // its name
	Path     string
	Nth      int    // of those of this name and path, from 1
	What     string // an errno, "short" or "kill"
	Mode     string // Once, Here or On
}

// How long a fault lasts.
const (
	Once = "once" // that call alone
	Here = "here" // from then on each of the same name and path
	On   = "on"   // from then on each of the same name below the same top directory
)

// String returns the fault as ParseFault reads it.
func (f Fault) String() string {
	return fmt.Sprintf("%s %s %s %d %s %s", f.Scenario, f.Call, f.Path, f.Nth, f.What, f.Mode)
}

// ParseFault reads what String wrote.
func ParseFault(text string) (f Fault, err error) {
	words := strings.Fields(text)
	if len(words) != 6 {
		return f, fmt.Errorf("%q is not SCENARIO CALL PATH NTH WHAT MODE", text)
	}
	f = Fault{words[0], words[1], words[2], 0, words[4], words[5]}
	f.Nth, err = strconv.Atoi(words[3])
	return f, err
}

// Decider returns the Decide of a Supervisor for this fault. hit counts the calls that
// failed; over, once it returns true, ends the fault.
func (f Fault) Decider(hit func(*Call), over func() bool) func(*Call) *Answer {
	begun := false
	top, _, _ := strings.Cut(f.Path, "/")
	return func(c *Call) *Answer {
		this := c.Name == f.Call && c.Path == f.Path
		switch {
		case over():
			return nil
		case this && c.Nth == f.Nth:
			begun = true
		case !begun || f.Mode == Once:
			return nil
		case this: // Here, On
		case f.Mode == On && c.Name == f.Call && strings.HasPrefix(c.Path+"/", top+"/"):
		default:
			return nil
		}
		hit(c)
		return f.answer()
	}
}

// Answer is what happens to a call.
type Answer struct {
	Errno unix.Errno // it fails with this
	Short bool       // it moves half of the bytes that it could
	Kill  bool       // the program is killed before it
}

func (f Fault) answer() *Answer {
	switch f.What {
	case "short":
		return &Answer{Short: true}
	case "kill":
		return &Answer{Kill: true}
	}
	return &Answer{Errno: errnos[f.What]}
}

var errnos = map[string]unix.Errno{
	"ENOSPC": unix.ENOSPC, "EDQUOT": unix.EDQUOT, "EIO": unix.EIO, "EACCES": unix.EACCES, "EPERM": unix.EPERM,
	"EMFILE": unix.EMFILE, "ENFILE": unix.ENFILE, "ESTALE": unix.ESTALE, "EROFS": unix.EROFS, "EINTR": unix.EINTR, "ENOMEM": unix.ENOMEM,
}

// What a call may fail with, by what it does.
var (
	anyCall  = []string{"EIO", "ENOMEM", "EINTR", "ESTALE", "EACCES", "EPERM"}
	opening  = []string{"EMFILE", "ENFILE"}
	changing = []string{"ENOSPC", "EDQUOT", "EROFS"}
)

// CanFailWith returns the faults that the manual pages allow for a call, "kill" and
// "short" among them.
func (c *Call) CanFailWith() []string {
	what := append([]string{"kill"}, anyCall...)
	switch c.Name {
	case "openat", "openat2", "open_by_handle_at":
		what = append(what, opening...)
		if c.Creates {
			what = append(what, changing...)
		} else if c.Writes {
			what = append(what, "EROFS")
		}
	case "mkdirat", "unlinkat", "renameat", "renameat2", "linkat", "write", "pwrite64", "copy_file_range", "ftruncate", "fallocate",
		"fsync", "fdatasync", "syncfs", "utimensat", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "fsetxattr", "fremovexattr":
		what = append(what, changing...)
	case "inotify_add_watch", "fanotify_mark":
		what = append(what, "ENOSPC")
	case "symlinkat": // symlink(2): the file system has none, and they are left out
		what = slices.DeleteFunc(append(what, changing...), func(w string) bool { return w == "EPERM" })
	case "fcntl": // fcntl(2): it says that somebody else has the lock
		what = slices.DeleteFunc(what, func(w string) bool { return w == "EACCES" })
	}
	if c.CanBeShort() {
		what = append(what, "short")
	}
	return what
}
