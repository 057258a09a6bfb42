package world

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// filesystem is one that a world has mounted: an image, or a tmpfs.
type filesystem struct {
	dir   string
	image string // "": a tmpfs
}

// mkfs are the options with which a file system is made.
var mkfs = map[string][]string{
	"ext4":  {"-q", "-m", "0", "-I", "256", "-E", "lazy_itable_init=0"},
	"xfs":   {"-q"},
	"btrfs": {"-q"},
}

// newDisk makes a file system and mounts it.
func newDisk(dir, kind, size string) (*filesystem, error) {
	d := &filesystem{dir: dir}
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		return nil, err
	}
	if kind == "tmpfs" {
		return d, run("mount", "-t", "tmpfs", "-o", "size="+size+",mode=755", "tidemark-world", d.dir)
	}
	d.image = d.dir + ".image"
	if err := run("truncate", "-s", size, d.image); err != nil {
		return nil, err
	}
	if err := run("mkfs."+kind, append(mkfs[kind], d.image)...); err != nil {
		return nil, err
	}
	if err := d.mount(); err != nil {
		return nil, err
	}
	_ = os.Remove(filepath.Join(d.dir, "lost+found"))
	return d, nil
}

// mount mounts the image.
func (d *filesystem) mount() error { return run("mount", "-o", "loop", d.image, d.dir) }

// unmount unmounts it, at once or later.
func unmount(dir string) error {
	if run("umount", dir) == nil {
		return nil
	}
	return run("umount", "-l", dir)
}

// fill fills the file system, and leaves some bytes. It is in a file beside what is copied.
func (d *filesystem) fill(leave int64) error {
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(d.dir, "ballast"))
	if err != nil {
		return err
	}
	defer f.Close()
	if n := int64(s.Bavail)*s.Bsize - leave; n > 0 {
		_ = unix.Fallocate(int(f.Fd()), 0, 0, n) // what it took before ENOSPC counts as well
	}
	return nil
}

// free ends what fill did.
func (d *filesystem) free() { _ = os.Remove(filepath.Join(d.dir, "ballast")) }

// remount makes it read-only, or not.
func (d *filesystem) remount(how string) error { return run("mount", "-o", "remount,"+how, d.dir) }

// unmountAll unmounts everything below a directory, the innermost first.
func unmountAll(top string) {
	for range 3 {
		table, _ := os.ReadFile("/proc/self/mountinfo")
		var dirs []string
		for line := range strings.SplitSeq(string(table), "\n") {
			if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], top+"/") {
				dirs = append(dirs, strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(f[4]))
			}
		}
		if len(dirs) == 0 {
			return
		}
		slices.Sort(dirs)
		slices.Reverse(dirs)
		for _, dir := range dirs {
			_ = unmount(dir)
		}
	}
}
