package disk

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// Aside is the directory in which what is not ready for its name is written:
// .tidemark/tmp, on the file system of the tree, mode 0700. Its names are
// numbers, so nothing untrusted stands in them. It may be used by several
// goroutines at once.
type Aside struct {
	dir     *Dir
	left    error // why something of an earlier run is still there
	last    atomic.Uint64
	named   atomic.Bool // O_TMPFILE does not work here
	noEmpty atomic.Bool // AT_EMPTY_PATH is not allowed

	Folds bool // see Marker.Folds: Place asks before it replaces
}

// OpenStaging takes dir, closed with the Aside, and removes what an earlier run
// left in it. What cannot be removed stays: see Left.
func OpenStaging(dir *Dir) (*Aside, error) {
	a := &Aside{dir: dir}
	if err := a.sweep(); err != nil {
		_ = dir.Close()
		return nil, err
	}
	return a, nil
}

// partPrefix begins the names of files that are there in part and worth
// continuing, partAge is how long they are kept after they last grew.
const (
	partPrefix = "part-"
	partAge    = 7 * 24 * time.Hour
)

// Left returns why something that an earlier run left could not be removed; nil
// if nothing is left.
func (a *Aside) Left() error { return a.left }

// sweep removes the orphans. The names of those that stay are not used again.
func (a *Aside) sweep() error {
	names, err := a.dir.Names()
	if err != nil {
		return err
	}
	old := mtree.FromTime(time.Now()).Add(-partAge)
	for _, name := range names {
		if strings.HasPrefix(name, partPrefix) {
			if info, err := a.dir.Stat(name); err == nil && info.Kind == mtree.File && info.Links <= 1 && info.MTime.After(old) {
				continue
			}
		}
		if err := a.dir.RemoveTree(name); err != nil {
			a.left = errors.Join(a.left, err)
			if n, err := strconv.ParseUint(name, 10, 32); err == nil {
				a.last.Store(max(a.last.Load(), n))
			}
		}
	}
	return nil
}

// Close releases the descriptor.
func (a *Aside) Close() error { return a.dir.Close() }

// Dir returns the directory itself; it stays owned by the Aside.
func (a *Aside) Dir() *Dir { return a.dir }

// Name returns a name in Dir that was not used before.
func (a *Aside) Name() string { return strconv.FormatUint(a.last.Add(1), 10) }

// Draft is a file being written, not yet under its name. It is a bare
// descriptor: what os.File adds costs a tenth of copying a small file.
type Draft struct {
	fd    int // -1 after Keep, Place or Discard
	aside *Aside
	at    *Dir   // where it has its name: the Aside's directory, or the unseen one it is made for
	name  string // "" while it has none (O_TMPFILE)
}

// Create starts a file with these permission bits, less the umask, that will get
// this name in dir; nobody else can reach it before. With fresh the name is
// believed to be free: the file then has no name at all until Place, and
// vanishes with the process. In a DraftDir it has its name at once. System calls:
//
//	DraftDir: OpenAt(dir, name, O_CREAT|O_EXCL)
//	fresh: OpenAt(dir, ".", O_TMPFILE), else OpenAt(aside, N, O_CREAT|O_EXCL)
func (a *Aside) Create(dir *Dir, name string, fresh bool, mode uint32) (*Draft, error) {
	if dir.unseen {
		if err := checkComponent(name); err != nil {
			return nil, dir.PathError("create", name, err)
		}
		if fd, err := OpenAt(dir.fd, name, createFlags, mode); err == nil {
			return &Draft{fd: fd, aside: a, at: dir, name: name}, nil
		} else if err != unix.EEXIST {
			return nil, dir.PathError("create", name, err)
		}
	}
	if fresh && !a.named.Load() {
		fd, err := OpenAt(dir.fd, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, mode)
		if err == nil {
			return &Draft{fd: fd, aside: a}, nil
		}
		if err != unix.EOPNOTSUPP && err != unix.EISDIR && err != unix.EINVAL {
			return nil, dir.PathError("create", "(unnamed)", err)
		}
		a.named.Store(true)
	}
	name = a.Name()
	fd, err := OpenAt(a.dir.fd, name, createFlags, mode)
	if err != nil {
		return nil, a.dir.PathError("create", name, err)
	}
	f := &Draft{fd: fd, aside: a, at: a.dir, name: name}
	f.Inherit(dir)
	return f, nil
}

const createFlags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC

// Continue opens the partial file that is known by key, or starts it, mode 0600,
// and returns how many bytes it has. Whether they are still those of the file is the
// caller's to know: key should tell one version from another.
func (a *Aside) Continue(key string) (*Draft, int64, error) {
	name := partName(key)
	fd, err := OpenAt(a.dir.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, 0, a.dir.PathError("create", name, err)
	}
	f := &Draft{fd: fd, aside: a, at: a.dir, name: name}
	info, err := StatFD(fd)
	if err != nil {
		f.Discard()
		return nil, 0, a.dir.PathError("open", name, err)
	}
	return f, info.Size, nil
}

// Rewind empties a draft.
func (f *Draft) Rewind() error { return f.check("truncate", unix.Ftruncate(f.fd, 0)) }

// Write implements io.Writer.
func (f *Draft) Write(p []byte) (written int, err error) {
	for written < len(p) {
		n, err := unix.Write(f.fd, p[written:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return written, f.fail("write", err)
		}
		written += n
	}
	return written, nil
}

// Chmod sets the permission bits.
func (f *Draft) Chmod(mode uint32) error { return f.check("chmod", unix.Fchmod(f.fd, mode)) }

// Chown sets the owner.
func (f *Draft) Chown(uid, gid uint32) error {
	return f.check("chown", unix.Fchown(f.fd, int(uid), int(gid)))
}

// SetTime sets the mtime; the file system rounds down to its granule.
func (f *Draft) SetTime(mtime mtree.Stamp) error {
	return f.check("utimensat", futimensNow(f.fd, mtime))
}

// Sync makes contents and times durable.
func (f *Draft) Sync() error { return f.check("fsync", unix.Fsync(f.fd)) }

func (f *Draft) check(op string, err error) error {
	if err == nil {
		return nil
	}
	return f.fail(op, err)
}

func (f *Draft) fail(op string, err error) error {
	return f.aside.dir.PathError(op, "(a file being written)", err)
}

// Place gives the draft its name in dir, atomically, replacing what is no
// directory there, and closes it; ErrCollides if the
// Aside Folds and another name is there. If it fails the draft is gone. A directory
// under that name gives EISDIR. System calls:
//
//	linkat(fd, dir/name); if the name is taken: linkat(fd, aside/N), renameat(aside/N, dir/name)
func (f *Draft) Place(dir *Dir, name string) error {
	defer f.Discard()
	if f.at == dir && f.name == name {
		f.name = "" // it has it
		return nil
	}
	if err := checkComponent(name); err != nil {
		return dir.PathError("create", name, err)
	}
	if f.aside.Folds && dir.Respelled(name) {
		return dir.PathError("create", name, ErrCollides)
	}
	if f.name == "" {
		err := f.link(dir, name)
		if err == nil || err != unix.EEXIST {
			return wrap(dir, "link", name, err)
		}
	}
	staged, err := f.Stage()
	if err != nil {
		return err
	}
	if err := unix.Renameat(f.aside.dir.fd, staged, dir.fd, name); err != nil {
		return dir.PathError("rename", name, err)
	}
	f.name = ""
	return nil
}

// Stage gives the draft a name in the Aside's directory, if it has none yet,
// and returns that.
func (f *Draft) Stage() (string, error) {
	if f.name != "" {
		return f.name, nil
	}
	name := f.aside.Name()
	if err := f.link(f.aside.dir, name); err != nil {
		return "", f.aside.dir.PathError("link", name, err)
	}
	f.at, f.name = f.aside.dir, name
	return name, nil
}

// Keep closes the draft and leaves it where Stage put it.
func (f *Draft) Keep() error {
	f.name = ""
	err := unix.Close(f.fd)
	f.fd = -1
	return f.check("close", err)
}

// Discard closes the draft and removes it, if it was not placed. It may be
// called twice.
func (f *Draft) Discard() {
	if f.fd >= 0 {
		_ = unix.Close(f.fd)
		f.fd = -1
	}
	if f.name != "" {
		_ = unix.Unlinkat(f.at.fd, f.name, 0)
		f.name = ""
	}
}

// link names an unnamed file. AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH before
// Linux 6.10; the way through /proc does not.
func (f *Draft) link(dir *Dir, name string) error {
	fd := f.fd
	if !f.aside.noEmpty.Load() {
		err := unix.Linkat(fd, "", dir.fd, name, unix.AT_EMPTY_PATH)
		if err != unix.ENOENT && err != unix.EPERM {
			return err
		}
		f.aside.noEmpty.Store(true)
	}
	return unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), dir.fd, name, unix.AT_SYMLINK_FOLLOW)
}

// Symlink makes a symlink in the Aside's directory and returns its name there.
func (a *Aside) Symlink(target string) (string, error) {
	name := a.Name()
	if err := unix.Symlinkat(target, a.dir.fd, name); err != nil {
		return "", a.dir.PathError("symlink", name, err)
	}
	return name, nil
}

// HoldsLinks reports whether the file system takes symlinks: FAT and exFAT do not.
// Cost: symlinkat, unlinkat.
func (a *Aside) HoldsLinks() bool {
	name, err := a.Symlink("-")
	if err == nil {
		_ = a.dir.Unlink(name)
	}
	switch Errno(err) {
	case unix.EPERM, unix.EOPNOTSUPP, unix.ENOSYS:
		return false
	}
	return true
}

func wrap(d *Dir, op, name string, err error) error {
	if err == nil {
		return nil
	}
	return d.PathError(op, name, err)
}

// PartSize returns how many bytes Continue would find, 0 if there are none.
func (a *Aside) PartSize(key string) int64 {
	info, err := a.dir.Stat(partName(key))
	if err != nil {
		return 0
	}
	return info.Size
}

func partName(key string) string {
	digest := sha256.Sum256([]byte(key))
	return partPrefix + hex.EncodeToString(digest[:16])
}
