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
	"tidemark/pkg/mtree/internal/sys"
)

// Staging is the directory in which files, symlinks and directories are made that do not
// have their names yet: .tidemark/tmp, on the file system of the tree, mode 0700. Its
// names are numbers, never names of a source. It may be used by several goroutines at
// once.
type Staging struct {
	dir        *Dir
	parts      string // how the names of partial files begin that may be continued
	sweepError error  // why something from an earlier run is still there
	last       atomic.Uint64
	named      atomic.Bool // O_TMPFILE does not work here, or TempFile.link may not
	noEmpty    atomic.Bool // AT_EMPTY_PATH is not allowed

	// Folds says that the file system ignores case in all names. Without it a single
	// directory may: one that was told so (chattr +F), and what is made in that; not what is
	// made here and moved there. See Place.
	Folds bool

	// Composes says that the file system takes two ways to compose a letter for one: ZFS with
	// normalization.
	Composes bool
}

// OpenStaging makes dir a Staging, which closes it, and removes what an earlier run left
// in it. What cannot be removed stays: see SweepError. Files for Continue stay, too, for
// a week, if they were written in the same stay: a text that is another one after the disk
// may have lost what was not flushed. The size of such a file says nothing about its bytes.
func OpenStaging(dir *Dir, stay string) (*Staging, error) {
	digest := sha256.Sum256([]byte(stay))
	s := &Staging{dir: dir, parts: partPrefix + hex.EncodeToString(digest[:4]) + "-"}
	if err := s.sweep(); err != nil {
		_ = dir.Close()
		return nil, err
	}
	s.named.Store(sys.ThroughProc(dir.fd) != nil) // guard: TestFilesWithoutProc
	return s, nil
}

// The names of partial files that are worth continuing begin with partPrefix. They are
// kept for partAge after they last grew.
const (
	partPrefix = "part-"
	partAge    = 7 * 24 * time.Hour
)

// SweepError returns why something that an earlier run left could not be removed; nil
// if nothing is left.
func (s *Staging) SweepError() error { return s.sweepError }

// sweep removes what an earlier run left. The names of those that stay are not used
// again.
func (s *Staging) sweep() error {
	names, err := s.dir.Names()
	if err != nil {
		return err
	}
	old := mtree.FromTime(time.Now()).Add(-partAge)
	for _, name := range names {
		if strings.HasPrefix(name, s.parts) {
			if info, err := s.dir.Stat(name); err == nil && info.Kind == mtree.File && info.Links <= 1 && info.MTime.After(old) {
				continue
			}
		}
		if err := s.dir.RemoveTree(name); err != nil {
			s.sweepError = errors.Join(s.sweepError, err)
			if n, err := strconv.ParseUint(name, 10, 32); err == nil {
				s.last.Store(max(s.last.Load(), n))
			}
		}
	}
	return nil
}

// Close releases the descriptor.
func (s *Staging) Close() error { return s.dir.Close() }

// Dir returns the directory itself; the Staging keeps owning it.
func (s *Staging) Dir() *Dir { return s.dir }

// Name returns a name in Dir that was not used before.
func (s *Staging) Name() string { return strconv.FormatUint(s.last.Add(1), 10) }

// Symlink makes a symlink in Dir and returns its name there.
func (s *Staging) Symlink(target string) (string, error) {
	name := s.Name()
	if err := sys.Symlinkat(target, s.dir.fd, name); err != nil {
		return "", s.dir.PathError("symlink", name, err)
	}
	return name, nil
}

// HoldsLinks reports whether the file system accepts symlinks: FAT and exFAT do not.
// Cost: symlinkat, unlinkat.
func (s *Staging) HoldsLinks() bool {
	name, err := s.Symlink("-")
	if err == nil {
		_ = s.dir.Unlink(name)
	}
	switch Errno(err) {
	case unix.EPERM, unix.EOPNOTSUPP, unix.ENOSYS:
		return false
	}
	return true
}

// ComposesAlike reports whether the file system finds a name by another one that composes a letter
// otherwise. Cost: openat, close, statx, unlinkat.
func (s *Staging) ComposesAlike() bool {
	name := s.Name()
	fd, err := sys.Openat(s.dir.fd, name+"\u00e9", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return false
	}
	_ = sys.Close(fd)
	_, err = s.dir.Stat(name + "e\u0301")
	_ = s.dir.Unlink(name + "\u00e9")
	return err == nil
}

// PartSize returns how many bytes Continue would find, 0 if there is no such file.
func (s *Staging) PartSize(key string) int64 {
	info, err := s.dir.Stat(s.partName(key))
	if err != nil {
		return 0
	}
	return info.Size
}

func (s *Staging) partName(key string) string {
	digest := sha256.Sum256([]byte(key))
	return s.parts + hex.EncodeToString(digest[:16])
}

// Place moves the entry name of Dir to newName in to, and replaces what rename(2) replaces.
// free says that newName is expected to be free. If another spelling of it is there, in a
// directory that takes both for one, Place then returns ErrCollides: it would replace an entry
// that nobody meant. System calls:
//
//	renameat
//	free: renameat2(RENAME_NOREPLACE); if the name is taken, or the file system cannot
//	(EINVAL): statx, getdents64, renameat
func (s *Staging) Place(name string, to *Dir, newName string, free bool) error {
	if err := checkComponent(newName); err != nil {
		return to.PathError("rename", newName, err)
	}
	if free {
		err := sys.Renameat2(s.dir.fd, name, to.fd, newName, unix.RENAME_NOREPLACE)
		if err != unix.EEXIST && err != unix.EINVAL && err != unix.ENOSYS {
			return to.PathError("rename", newName, err)
		}
		if to.Respelled(newName) { // guard: TestAnotherSpellingIsNotReplaced
			return to.PathError("rename", newName, ErrCollides)
		}
	}
	return to.PathError("rename", newName, sys.Renameat(s.dir.fd, name, to.fd, newName))
}

// Exchange swaps name in Dir with newName in to, atomically and whatever their types. If
// the file system cannot (EINVAL: NFS, some FUSE), to/newName first moves to another name
// in Dir, and a crash between the two renames leaves it there. System calls:
//
//	renameat2(RENAME_EXCHANGE)
//	else renameat(to/newName, dir/N), renameat(dir/name, to/newName), renameat(dir/N, dir/name)
func (s *Staging) Exchange(name string, to *Dir, newName string) error {
	if err := checkComponent(newName); err != nil {
		return to.PathError("exchange", newName, err)
	}
	err := sys.Renameat2(s.dir.fd, name, to.fd, newName, unix.RENAME_EXCHANGE)
	if err != unix.EINVAL && err != unix.ENOSYS {
		return to.PathError("exchange", newName, err)
	}
	old := s.Name()
	if err := sys.Renameat(to.fd, newName, s.dir.fd, old); err != nil {
		return to.PathError("rename", newName, err)
	}
	if err := sys.Renameat(s.dir.fd, name, to.fd, newName); err != nil {
		_ = sys.Renameat(s.dir.fd, old, to.fd, newName)
		return to.PathError("rename", newName, err)
	}
	return s.dir.PathError("rename", name, sys.Renameat(s.dir.fd, old, s.dir.fd, name))
}
