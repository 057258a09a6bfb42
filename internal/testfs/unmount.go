package testfs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// unmountPatience is how long a disk may be held.
const unmountPatience = 2 * time.Minute

// Unmount unmounts what is on dir, and waits until its device is free. Programs that look
// at all mounts keep it busy for a moment. A mount namespace that began meanwhile, and to
// which umount(8) does not spread, keeps the file system alive for as long as it stands: a
// mount of the same image would be the same file system again, which was perhaps shut down.
func Unmount(t testing.TB, dir string) {
	t.Helper()
	end := time.Now().Add(unmountPatience)
	loop := mountSource(dir)
	backing := backingFile(loop)
	for ; ; <-time.After(10 * time.Millisecond) {
		out, err := exec.Command("umount", dir).CombinedOutput()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("umount %s: %s", dir, out)
		}
	}
	for ; backing != "" && backingFile(loop) == backing; <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s is unmounted, and somebody holds %s:\n%s", dir, backing, holders(dir))
		}
	}
}

// mountSource is the device of the file system that is mounted on dir, "" if none is.
func mountSource(dir string) (device string) {
	table, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == dir {
			_, after, _ := strings.Cut(line, " - ")
			if fields = strings.Fields(after); len(fields) > 1 {
				device = fields[1] // the last one is on top
			}
		}
	}
	return device
}

// backingFile is the image behind a loop device, "" if the device is none, or free.
func backingFile(device string) string {
	name, _ := os.ReadFile(filepath.Join("/sys/block", filepath.Base(device), "loop/backing_file"))
	return strings.TrimSpace(string(name))
}

// holders tells the processes in whose namespace something is mounted on dir.
func holders(dir string) string {
	var found strings.Builder
	tables, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
	for _, name := range tables {
		table, _ := os.ReadFile(name)
		if strings.Contains(string(table), " "+dir+" ") {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
			fmt.Fprintf(&found, "%s: %s\n", filepath.Dir(name), strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found.String()
}
