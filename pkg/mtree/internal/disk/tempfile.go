package disk

import (
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
)

// TempFile is a file that is being written and does not have its name yet. It is a
// bare descriptor: what os.File adds costs a tenth of copying a small file. It is for
// one goroutine.
type TempFile struct {
	fd      int // -1 after Keep, Place or Discard
	staging *Staging
	at      *Dir   // where it has its name: the Staging's directory, or the TempDir it is made for
	name    string // "" while it has none (O_TMPFILE)
	free    bool   // the name that it will get is expected to be free
}

const createFlags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC

// Create starts a file with these permission bits, less the umask, that will get this
// name in dir. No other process can reach it before. With free, the caller expects the
// name to be free: the file then has no name at all until Place, and vanishes with the
// process; and Place puts it over no other spelling of the name. In a TempDir it has its name
// at once. System calls:
//
//	TempDir: openat(dir, name, O_CREAT|O_EXCL)
//	free: openat(dir, ".", O_TMPFILE), else openat(staging, N, O_CREAT|O_EXCL)
func (s *Staging) Create(dir *Dir, name string, free bool, mode uint32) (*TempFile, error) {
	if dir.unseen {
		if err := checkComponent(name); err != nil {
			return nil, dir.PathError("create", name, err)
		}
		if fd, err := OpenAt(dir.fd, name, createFlags, mode); err == nil {
			return &TempFile{fd: fd, staging: s, at: dir, name: name, free: free}, nil
		} else if err != unix.EEXIST {
			return nil, dir.PathError("create", name, err)
		}
	}
	if free && !s.named.Load() {
		fd, err := OpenAt(dir.fd, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, mode)
		if err == nil {
			return &TempFile{fd: fd, staging: s, free: free}, nil
		}
		if err != unix.EOPNOTSUPP && err != unix.EISDIR && err != unix.EINVAL {
			return nil, dir.PathError("create", "(unnamed)", err)
		}
		s.named.Store(true)
	}
	name = s.Name()
	fd, err := OpenAt(s.dir.fd, name, createFlags, mode)
	if err != nil {
		return nil, s.dir.PathError("create", name, err)
	}
	f := &TempFile{fd: fd, staging: s, at: s.dir, name: name, free: free}
	f.Inherit(dir)
	return f, nil
}

// Continue opens the partial file that is known by key, or starts it, mode 0600, and
// returns how many bytes it has. key must differ for each version of the file, so that
// the bytes are those of this version. free is as in Create.
func (s *Staging) Continue(key string, free bool) (*TempFile, int64, error) {
	name := s.partName(key)
	fd, err := OpenAt(s.dir.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, 0, s.dir.PathError("create", name, err)
	}
	f := &TempFile{fd: fd, staging: s, at: s.dir, name: name, free: free}
	size, err := sys.Seek(fd, 0, unix.SEEK_END) // O_APPEND would refuse copy_file_range(2)
	if err != nil {
		f.Discard()
		return nil, 0, s.dir.PathError("open", name, err)
	}
	return f, size, nil
}

// Rewind makes the file empty.
func (f *TempFile) Rewind() error {
	err := sys.Ftruncate(f.fd, 0)
	if err == nil {
		_, err = sys.Seek(f.fd, 0, unix.SEEK_SET)
	}
	return f.check("truncate", err)
}

// Write implements io.Writer.
func (f *TempFile) Write(p []byte) (written int, err error) {
	for written < len(p) {
		n, err := sys.Write(f.fd, p[written:])
		if err != nil {
			return written, f.check("write", err)
		}
		written += n
	}
	return written, nil
}

// AddHole adds n zeros at the end of the file, n > 0, as a hole where the file system knows holes.
func (f *TempFile) AddHole(n int64) error {
	size, err := sys.Seek(f.fd, n, unix.SEEK_END) // what is written next goes behind the hole
	if err == nil {
		err = sys.Ftruncate(f.fd, size)
	}
	return f.check("truncate", err)
}

// Chmod sets the permission bits.
func (f *TempFile) Chmod(mode uint32) error { return f.check("chmod", sys.Fchmod(f.fd, mode)) }

// Chown sets the owner.
func (f *TempFile) Chown(uid, gid uint32) error {
	return f.check("chown", sys.Fchown(f.fd, int(uid), int(gid)))
}

// Inherit gives the file the group that a file made in dir would have.
func (f *TempFile) Inherit(dir *Dir) {
	if gid, ok := dir.groupBelow(); ok {
		_ = sys.Fchown(f.fd, -1, gid)
	}
}

// SetTime sets the mtime; the file system rounds down to its granule.
func (f *TempFile) SetTime(mtime mtree.Stamp) error {
	return f.check("utimensat", setTimeNow(f.fd, mtime))
}

// Sync makes contents and times durable, with fsync(2).
func (f *TempFile) Sync() error { return f.check("fsync", sys.Fsync(f.fd)) } // guard (returns nil): TestFilesThatAreFlushedThemselves

func (f *TempFile) check(op string, err error) error {
	return f.staging.dir.PathError(op, "(a file being written)", err)
}

// Place gives the file its name in dir, atomically, and closes it. It replaces anything
// that is there, except for a directory, which gives EISDIR. If the name was expected to be
// free and another spelling of it is there, it returns ErrCollides. If it fails the file is
// gone. It is durable after the next Dir.Flush. System calls:
//
//	linkat(fd, dir/name); if the name is taken: linkat(fd, staging/N), Staging.Place
func (f *TempFile) Place(dir *Dir, name string) error {
	defer f.Discard()
	if f.at == dir && f.name == name {
		f.name = "" // it has the name already
		return nil
	}
	if err := checkComponent(name); err != nil {
		return dir.PathError("create", name, err)
	}
	if f.name == "" {
		err := f.link(dir, name)
		if err == nil || err != unix.EEXIST {
			return dir.PathError("link", name, err)
		}
	}
	staged, err := f.Stage()
	if err != nil {
		return err
	}
	if err := f.staging.Place(staged, dir, name, f.free); err != nil {
		return err
	}
	f.name = ""
	return nil
}

// IsForFreeName reports whether the name that the file gets is expected to be free.
func (f *TempFile) IsForFreeName() bool { return f.free }

// Stage gives the file a name in the Staging's directory, if it has none yet, and
// returns that name.
func (f *TempFile) Stage() (string, error) {
	if f.name != "" {
		return f.name, nil
	}
	name := f.staging.Name()
	if err := f.link(f.staging.dir, name); err != nil {
		return "", f.staging.dir.PathError("link", name, err)
	}
	f.at, f.name = f.staging.dir, name
	return name, nil
}

// Keep closes the file and leaves it where it is in the Staging's directory.
func (f *TempFile) Keep() error {
	f.name = ""
	err := sys.Close(f.fd)
	f.fd = -1
	return f.check("close", err)
}

// Discard closes the file, and removes it if it was not placed. It may be called
// twice.
func (f *TempFile) Discard() {
	if f.fd >= 0 {
		_ = sys.Close(f.fd)
		f.fd = -1
	}
	if f.name != "" {
		_ = sys.Unlinkat(f.at.fd, f.name, 0)
		f.name = ""
	}
}

// link gives a name to an unnamed file. AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH before
// Linux 6.10; the way through /proc does not.
func (f *TempFile) link(dir *Dir, name string) error {
	fd := f.fd
	if !f.staging.noEmpty.Load() {
		err := sys.Linkat(fd, "", dir.fd, name, unix.AT_EMPTY_PATH)
		if err != unix.ENOENT && err != unix.EPERM {
			return err
		}
		f.staging.noEmpty.Store(true)
	}
	return sys.Linkat(unix.AT_FDCWD, sys.FDPath(fd), dir.fd, name, unix.AT_SYMLINK_FOLLOW)
}
