package simkernel

import (
	"time"

	"golang.org/x/sys/unix"
)

// Shell changes the tree as other programs do, by absolute paths. Errors are for those who
// care: a random change of what is not there fails.
type Shell struct{ *Process }

// Shell returns the Shell of a new process of a user.
func (k *Kernel) Shell(uid uint32) Shell { return Shell{k.Start("shell", uid)} }

// here is the dirfd of absolute paths.
const here = unix.AT_FDCWD

// Mkdir makes a directory.
func (s Shell) Mkdir(path string, mode uint32) error { return s.Mkdirat(here, path, mode) }

// Write replaces the contents of a file, or makes it.
func (s Shell) Write(path, text string) error { return s.write(path, text, unix.O_TRUNC) }

// Append adds to a file.
func (s Shell) Append(path, text string) error { return s.write(path, text, unix.O_APPEND) }

func (s Shell) write(path, text string, flags int) error {
	fd, err := s.Openat(here, path, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|flags, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close(fd) }()
	_, err = s.Pwrite(fd, []byte(text), -1)
	return err
}

// Read returns the contents of a file.
func (s Shell) Read(path string) (string, error) {
	fd, err := s.Openat(here, path, unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close(fd) }()
	text, err := s.Pread(fd, 1<<30, 0)
	return string(text), err
}

// Remove removes a name with everything below it.
func (s Shell) Remove(path string) error {
	if err := s.Unlinkat(here, path, 0); err != unix.EISDIR {
		return err
	}
	for _, name := range s.Names(path) {
		_ = s.Remove(path + "/" + name)
	}
	return s.Unlinkat(here, path, unix.AT_REMOVEDIR)
}

// Names returns the names in a directory.
func (s Shell) Names(path string) []string {
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	f, err := s.lookup(here, path, true, 0)
	if err != nil || f.node == nil || !f.node.isDir() {
		return nil
	}
	return f.node.sorted("")
}

// Rename renames, with the flags of renameat2(2).
func (s Shell) Rename(from, to string, flags uint) error {
	return s.Renameat2(here, from, here, to, flags)
}

// Link gives a file another name.
func (s Shell) Link(from, to string) error { return s.Linkat(here, from, here, to, 0) }

// Symlink makes a symlink.
func (s Shell) Symlink(target, path string) error { return s.Symlinkat(target, here, path) }

// Chmod sets permission bits.
func (s Shell) Chmod(path string, mode uint32) error { return s.Fchmodat(here, path, mode, 0) }

// Chown gives something to a user.
func (s Shell) Chown(path string, uid int) error {
	return s.Fchownat(here, path, uid, uid, unix.AT_SYMLINK_NOFOLLOW)
}

// Touch sets an mtime, and leaves the atime if only is set.
func (s Shell) Touch(path string, mtime time.Time, only bool) error {
	t := unix.NsecToTimespec(mtime.UnixNano())
	times := [2]unix.Timespec{t, t}
	if only {
		times[0] = unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return s.Utimensat(here, path, times, unix.AT_SYMLINK_NOFOLLOW)
}

// Times returns mtime and ctime of a path.
func (s Shell) Times(path string) (mtime, ctime time.Time, err error) {
	stx, err := s.Statx(here, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS)
	return time.Unix(stx.Mtime.Sec, int64(stx.Mtime.Nsec)), time.Unix(stx.Ctime.Sec, int64(stx.Ctime.Nsec)), err
}

// Immutable sets or clears the attribute by which nothing may be changed (chattr +i).
func (s Shell) Immutable(path string, yes bool) error {
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	f, err := s.lookup(here, path, false, 0)
	if err == nil && f.node == nil {
		err = unix.ENOENT
	}
	if err == nil && f.node.immutable != yes {
		f.node.immutable = yes
		s.k.changed(f.node, false)
	}
	return err
}

// Fold lets a directory, and those that are made in it, take names that differ in case for one
// (chattr +F). Linux does so for an empty directory only.
func (s Shell) Fold(path string) error {
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	f, err := s.lookup(here, path, false, 0)
	switch {
	case err != nil:
		return err
	case f.node == nil:
		return unix.ENOENT
	case !f.node.isDir():
		return unix.ENOTDIR
	}
	f.node.folds = true
	s.k.changed(f.node, false)
	return nil
}
