package power

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
)

// kind is a file system, and how it is made, mounted and checked. A new one is a row.
type kind struct {
	name  string
	mkfs  []string
	mount string   // options
	check []string // must end with 0 after the journal was replayed
}

// kinds are the file systems that can be shut down under their programs.
var kinds = []kind{
	{"ext4", []string{"mkfs.ext4", "-q", "-F"}, "loop", []string{"e2fsck", "-fn"}},
	{"xfs", []string{"mkfs.xfs", "-q"}, "loop", []string{"xfs_repair", "-n"}},
	{"ext4-writeback", []string{"mkfs.ext4", "-q", "-F"}, "loop,data=writeback", []string{"e2fsck", "-fn"}},
	{"ext4-journal", []string{"mkfs.ext4", "-q", "-F"}, "loop,data=journal", []string{"e2fsck", "-fn"}},
	{"btrfs", []string{"mkfs.btrfs", "-q"}, "loop,commit=300", []string{"btrfs", "check", "--readonly"}},
}

// testDisk is a file system whose power can be cut.
type testDisk struct {
	kind
	t         *testing.T
	image, at string
}

// newDisk makes a disk that is mounted until the test ends.
func newDisk(t *testing.T, k kind) *testDisk {
	d := &testDisk{kind: k, t: t}
	d.image, d.at = testfs.Make(t, k.mkfs...)
	testfs.Mount(t, d.at, "mount", "-o", k.mount, d.image, d.at)
	return d
}

// path returns a path on the disk.
func (d *testDisk) path(name string) string { return filepath.Join(d.at, name) }

// cut ends the power; how is one of the flags of testfs.CutBy. btrfs cannot be shut down:
// what is in its image at this moment is what a power cut leaves. Nothing may write to it
// any more.
func (d *testDisk) cut(how testfs.Flush) {
	if d.name != "btrfs" {
		require.NoError(d.t, testfs.CutBy(d.at, how))
		return
	}
	if how == testfs.FlushAll {
		testfs.Run(d.t, "sync", "-f", d.at)
	}
	testfs.Run(d.t, "cp", "--sparse=always", d.image, d.image+".cut")
}

// back mounts what the cut has left. Nothing may use the disk any more.
func (d *testDisk) back() {
	testfs.Unmount(d.t, d.at)
	if d.name == "btrfs" {
		require.NoError(d.t, os.Rename(d.image+".cut", d.image))
	}
	testfs.Run(d.t, "mount", "-o", d.mount, d.image, d.at)
}

// sound checks the file system, after it was mounted once and its journal replayed.
func (d *testDisk) sound() {
	testfs.Unmount(d.t, d.at)
	testfs.Run(d.t, d.check[0], append(d.check[1:], d.image)...)
	testfs.Run(d.t, "mount", "-o", d.mount, d.image, d.at)
}
