// Package testfs makes file systems for tests, each by its own mkfs in an image
// on a loop device, cuts their power, and lets descriptors run out. It needs
// root; a missing program fails the test.
package testfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

// Run runs a command that must succeed.
func Run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// Mount runs a command that mounts something on dir, and unmounts it when the test
// ends.
func Mount(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	Run(t, name, args...)
	t.Cleanup(func() {
		// Programs that look at all mounts keep a mount busy for a moment; a
		// lazy umount waits for them.
		if exec.Command("umount", dir).Run() != nil {
			if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
				t.Errorf("umount -l %s: %s", dir, out)
			}
		}
	})
}

// imageSize is the size of a file system, in bytes, sparse: xfs needs at least
// 300 MB.
const imageSize = 512 << 20

// memory is a directory in memory, so that no flush of an image waits for a disk; "" where
// there is none.
func memory() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err != nil || !info.IsDir() {
		return ""
	}
	return shm
}

// Make makes a file system by mkfs in a file, and the directory to mount it on.
func Make(t testing.TB, mkfs ...string) (file, dir string) {
	t.Helper()
	base, err := os.MkdirTemp(memory(), "tidemark-testfs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	file, dir = filepath.Join(base, "image"), filepath.Join(base, "mount")
	err = os.Mkdir(dir, 0o755)
	if err == nil {
		err = os.WriteFile(file, nil, 0o644)
	}
	if err == nil {
		err = os.Truncate(file, imageSize)
	}
	if err != nil {
		t.Fatal(err)
	}
	Run(t, mkfs[0], append(mkfs[1:], file)...)
	return file, dir
}

// Image makes a file system by mkfs in a file and mounts it until the test
// ends.
func Image(t testing.TB, mkfs ...string) (dir string) {
	t.Helper()
	file, dir := Make(t, mkfs...)
	Mount(t, dir, "mount", "-o", "loop", file, dir)
	return dir
}

// Flush says what of a file system still reaches its disk when its power is cut: the flags
// of EXT4_IOC_SHUTDOWN, which is XFS_IOC_GOINGDOWN.
type Flush uint32

// From everything to nothing.
const (
	FlushAll  Flush = iota // files and metadata, as by sync(2)
	FlushLog               // metadata, files as far as they are on disk
	FlushNone              // what is on disk
)

// Cut ends the file system at dir as a power cut does, without writing what is
// not on disk yet. After that every use of it fails; mount it anew.
func Cut(dir string) error { return CutBy(dir, FlushNone) }

// CutBy is Cut with what is still written.
func CutBy(dir string, how Flush) error {
	const shutdown = 0x8004587d // _IOR('X', 125, __u32)
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		return errno
	}
	return nil
}

// WithoutDescriptors calls f while this process can open nothing: EMFILE.
func WithoutDescriptors(t testing.TB, f func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	set := func(limit syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	set(syscall.Rlimit{Cur: 0, Max: was.Max})
	defer set(was)
	f()
}
