//go:build filesystems

// Power cuts in the middle of a pass, on the file systems of Linux. ext4 and xfs
// are shut down under the mirror without writing what is not on disk yet. btrfs
// cannot be: its image is copied while the mirror is stopped between two system
// calls, and the copies are mounted. They need root and Debian's e2fsprogs,
// xfsprogs and btrfs-progs.
package mirror

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/internal/testfs"
)

// cutMode is a way in which a copy is written when the power goes. A new one is a row.
type cutMode struct {
	name       string
	mkfs       []string
	mount      string   // options
	check      []string // must end with 0 after the journal was replayed
	durability string
	with       cutWith
}

// cutWith is what else is so in a mode.
type cutWith uint8

const (
	cutLog    cutWith = 1 << iota // records are in .tidemark/records, as without extended attributes
	cutLarge                      // one file is continued where it was cut
	cutKept                       // what is deleted or overwritten goes into a backup directory
	cutLinks                      // files have several names, and are written by one of them
	cutBlocks                     // large files change in places, and have holes
)

func (m cutMode) has(w cutWith) bool { return m.with&w != 0 }

var (
	mkExt4, checkExt4   = []string{"mkfs.ext4", "-q", "-F"}, []string{"e2fsck", "-fn"}
	mkXFS, checkXFS     = []string{"mkfs.xfs", "-q"}, []string{"xfs_repair", "-n"}
	mkBtrfs, checkBtrfs = []string{"mkfs.btrfs", "-q"}, []string{"btrfs", "check", "--readonly"}
)

// cutModes are those of ext4 and xfs.
var cutModes = []cutMode{
	{"ext4/batch", mkExt4, "loop", checkExt4, Batch, 0},
	{"xfs/batch", mkXFS, "loop", checkXFS, Batch, 0},
	{"ext4/file", mkExt4, "loop", checkExt4, Each, cutLarge},
	{"xfs/file", mkXFS, "loop", checkXFS, Each, 0},
	{"ext4/log", mkExt4, "loop", checkExt4, Batch, cutLog},
	{"xfs/log/large", mkXFS, "loop", checkXFS, Batch, cutLog | cutLarge},
	{"ext4/writeback", mkExt4, "loop,data=writeback", checkExt4, Batch, cutLarge},
	{"ext4/journal", mkExt4, "loop,data=journal", checkExt4, Batch, 0},
	{"ext4/backup", mkExt4, "loop", checkExt4, Batch, cutKept},
	{"xfs/backup", mkXFS, "loop", checkXFS, Batch, cutKept},
	{"ext4/writeback/backup", mkExt4, "loop,data=writeback", checkExt4, Each, cutKept},
	{"ext4/writeback/file", mkExt4, "loop,data=writeback", checkExt4, Each, cutLog},
	{"ext4/links", mkExt4, "loop", checkExt4, Batch, cutLinks},
	{"xfs/links/blocks", mkXFS, "loop", checkXFS, Batch, cutLinks | cutBlocks},
	{"ext4/blocks/backup", mkExt4, "loop", checkExt4, Batch, cutBlocks | cutKept},
	{"xfs/links/backup", mkXFS, "loop", checkXFS, Each, cutLinks | cutKept},
	{"ext4/writeback/links/log", mkExt4, "loop,data=writeback", checkExt4, Batch, cutLinks | cutBlocks | cutLog},
}

// begin starts a mirror as a process of its own.
func (c *cutting) begin() *exec.Cmd {
	env := []string{"MIRROR_TEST_DURABILITY=" + c.durability, fmt.Sprint("MIRROR_TEST_COMMIT=", cutEvery)}
	for w, set := range map[cutWith]string{
		cutLog: "NOXATTR=1", cutKept: "BACKUP=" + cutBackup, cutLinks: "LINKS=1", cutBlocks: "SPARSE=1",
	} {
		if c.has(w) {
			env = append(env, "MIRROR_TEST_"+set)
		}
	}
	cmd := helper(c.bench, env...)
	cmd.Stdout, cmd.Stderr = &c.told, &c.told
	c.told.Reset()
	require.NoError(c.tree.t, cmd.Start())
	return cmd
}

// finish runs a mirror to its end, which is good.
func (c *cutting) finish() {
	c.tree.t.Helper()
	require.NoError(c.tree.t, c.begin().Wait(), "%s", &c.told)
}

// whole runs a mirror to its end; then the copy is the source, and the next pass is idle.
func (c *cutting) whole() {
	t := c.tree.t
	c.finish()
	c.bench.same(c.tree)
	c.sameLinks()
	c.bench.server.requests()
	c.finish()
	require.Equal(t, []string{"GET /?txt"}, c.bench.server.requests(), "the copy is complete")
}

// after waits for a part of the time that a pass takes.
func (c *cutting) after(took time.Duration) {
	<-time.After(time.Duration(c.rand.Int64N(int64(took) + 1)))
}

// cut runs a mirror, and cuts the power under it after a part of the time that it takes.
func (c *cutting) cut(image, at string, took time.Duration) {
	t := c.tree.t
	cmd := c.begin()
	quiet := commits(at)
	c.after(took)
	require.NoError(t, testfs.CutBy(at, testfs.Flush(c.rand.IntN(3))))
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	quiet()
	testfs.Unmount(t, at)
	testfs.Run(t, "mount", "-o", c.mount, image, at)
	if _, err := os.Stat(c.bench.config.Dest); err == nil { // the first cuts may come before the copy
		c.sound(c.durability == Each)
		c.lostNothing()
	}
}

// versions is how many versions of the source a round has after the first.
func versions(t *testing.T) int {
	if proof.Budget(t) > 0 {
		return 3
	}
	return 2
}

// TestPowerCut: below a directory that carries its stamp nothing is missing and nothing is
// wrong; with --durability file no file is wrong anywhere; and the next mirror continues
// without help, also if it is cut, too.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	proof.Rounds(t, len(cutModes), func(t *testing.T, seed uint64) {
		mode := cutModes[int((seed-1)%uint64(len(cutModes)))]
		t.Log(mode.name)
		c := newCutting(t, mode, seed)
		image, at := testfs.Make(t, mode.mkfs...)
		testfs.Mount(t, at, "mount", "-o", mode.mount, image, at)
		c.bench.config.Dest = filepath.Join(at, "copy")
		cuts := 0
		for range 1 + c.rand.IntN(2) { // in the first copy, too
			c.cut(image, at, 150*time.Millisecond)
			cuts++
		}
		began := time.Now()
		c.finish()
		took := max(time.Since(began), 50*time.Millisecond)
		c.sound(true)
		c.remember()
		for range versions(t) {
			c.next()
			for range 1 + c.rand.IntN(2) {
				c.cut(image, at, took/2) // there is less to do than the first time
				cuts++
			}
			if c.rand.IntN(2) == 0 {
				c.whole()
				c.remember()
			}
		}
		c.whole()
		testfs.Unmount(t, at)
		testfs.Run(t, mode.check[0], append(mode.check[1:], image)...)
		testfs.Run(t, "mount", "-o", mode.mount, image, at)
		proof.Count("power cuts", cuts)
		t.Logf("%d directories were complete, %d were not", c.stamped, c.open)
	})
}

// commits makes the file system at dir write its journal all the time, also metadata whose data
// is not written yet. It ends when the returned function is called.
func commits(dir string) (quiet func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		f, err := os.Create(filepath.Join(dir, "somebody else's"))
		if err != nil {
			return
		}
		defer f.Close()
		for err == nil {
			select {
			case <-stop:
				return
			default:
			}
			if _, err = f.WriteAt([]byte(time.Now().String()), 0); err == nil {
				err = f.Sync()
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}

// TestPowerCutBtrfs is TestPowerCut with copies of the image. Two copies of one file system must
// not be mounted at once.
func TestPowerCutBtrfs(t *testing.T) {
	t.Parallel()
	modes := []cutMode{
		{"btrfs/batch", mkBtrfs, "loop,commit=300", checkBtrfs, Batch, cutLarge},
		{"btrfs/file", mkBtrfs, "loop,commit=300", checkBtrfs, Each, 0},
		{"btrfs/backup", mkBtrfs, "loop,commit=300", checkBtrfs, Batch, cutKept},
		{"btrfs/log", mkBtrfs, "loop,commit=300", checkBtrfs, Batch, cutLog},
		{"btrfs/links/blocks", mkBtrfs, "loop,commit=300", checkBtrfs, Batch, cutLinks | cutBlocks},
		{"btrfs/links/backup", mkBtrfs, "loop,commit=300", checkBtrfs, Batch, cutLinks | cutKept},
	}
	proof.Rounds(t, len(modes), func(t *testing.T, seed uint64) {
		mode := modes[int((seed-1)%uint64(len(modes)))]
		t.Log(mode.name)
		c := newCutting(t, mode, seed)
		image, at := testfs.Make(t, mode.mkfs...)
		c.bench.config.Dest = filepath.Join(at, "copy")
		testfs.Mount(t, at, "mount", "-o", mode.mount, image, at)
		cuts := 0
		took := 100 * time.Millisecond
		for range versions(t) {
			began := time.Now()
			cmd := c.begin()
			var copies []string
			for i := range 3 {
				c.after(took / 6)
				if !frozen(cmd) {
					break
				}
				copied := fmt.Sprint(image, i)
				testfs.Run(t, "cp", "--sparse=always", image, copied)
				copies = append(copies, copied)
				require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
			}
			require.NoError(t, cmd.Wait(), "%s", &c.told)
			took = max(time.Since(began)/2, 50*time.Millisecond)
			testfs.Unmount(t, at)
			for _, copied := range copies {
				testfs.Run(t, "mount", "-o", mode.mount, copied, at)
				if _, err := os.Stat(c.bench.config.Dest); err == nil {
					c.sound(mode.durability == Each)
					c.lostNothing()
				}
				c.whole()
				testfs.Unmount(t, at)
				testfs.Run(t, mode.check[0], append(mode.check[1:], copied)...)
				require.NoError(t, os.Remove(copied))
			}
			cuts += len(copies)
			testfs.Run(t, "mount", "-o", mode.mount, image, at)
			c.remember()
			c.next()
		}
		proof.Count("power cuts", cuts)
		t.Logf("%d directories were complete, %d were not", c.stamped, c.open)
	})
}

// frozen stops a process and waits until each of its threads has stopped between two system
// calls. It returns false if the process ended.
func frozen(cmd *exec.Cmd) bool {
	if cmd.Process.Signal(syscall.SIGSTOP) != nil {
		return false
	}
	ended := false
	stands := assertEventually(func() bool {
		states, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", cmd.Process.Pid))
		for _, file := range states {
			text, readErr := os.ReadFile(file)
			_, state, _ := strings.Cut(string(text), ") ")
			if ended = strings.HasPrefix(state, "Z"); ended {
				return true
			}
			if readErr != nil || !strings.HasPrefix(state, "T") {
				return false
			}
		}
		return err == nil && len(states) > 0
	})
	if !stands {
		_ = cmd.Process.Signal(syscall.SIGCONT) // or nobody could wait for its end
	}
	return stands && !ended
}
