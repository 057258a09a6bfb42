package faultkernel

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Make makes files, and directories, whose names end in a slash, with those above them.
func (k *Kernel) Make(t testing.TB, paths ...string) {
	for _, path := range paths {
		for i := range path {
			if path[i] == '/' && i > 0 {
				_ = k.Shell.Mkdir(path[:i], 0o755)
			}
		}
		if !strings.HasSuffix(path, "/") {
			check(t, k.Shell.Write(path, "x"))
		}
	}
}

// Age gives everything at and below a path an mtime of long ago.
func (k *Kernel) Age(t testing.TB, path string) {
	for _, name := range k.Shell.Names(path) {
		k.Age(t, path+"/"+name)
	}
	check(t, k.Shell.Touch(path, time.Unix(1000, 0), true))
}

func check(t testing.TB, err error) {
	if err != nil {
		t.Helper()
		t.Fatal(err)
	}
}

// Mount lets everything of that name be something that is mounted.
func (k *Kernel) Mount(name string) {
	k.show(name, func(stx *unix.Statx_t) { stx.Attributes |= unix.STATX_ATTR_MOUNT_ROOT })
}

// Placehold lets every directory of that name stand for a subvolume in a snapshot of btrfs.
func (k *Kernel) Placehold(name string) {
	k.show(name, func(stx *unix.Statx_t) { stx.Ino = 2 })
	k.ShowFS = func(st *unix.Statfs_t) { st.Type = unix.BTRFS_SUPER_MAGIC }
}

func (k *Kernel) show(name string, change func(stx *unix.Statx_t)) {
	k.Show = func(call string, stx *unix.Statx_t) {
		if call == "statx "+name {
			change(stx)
		}
	}
}

// lacks reports whether a path leads to where /proc is missing.
func (k *Kernel) lacks(path string) bool { return k.NoProc && strings.HasPrefix(path, "/proc/") }

// Linkat implements sys.Kernel: by an empty path only with capabilities, as before Linux 6.10.
func (k *Kernel) Linkat(olddirfd int, oldpath string, newdirfd int, newpath string, flags int) error {
	if _, err := k.asked("link", newdirfd, newpath); err != nil {
		return err
	}
	if k.lacks(oldpath) || k.NoProc && flags&unix.AT_EMPTY_PATH != 0 {
		return unix.ENOENT
	}
	if k.NoLinks {
		return unix.EPERM
	}
	return k.Kernel.Linkat(olddirfd, oldpath, newdirfd, newpath, flags)
}
