//go:build filesystems

// Power cuts in the middle of a pass, on the file systems of Linux. ext4 and xfs
// are shut down under the mirror without writing what is not on disk yet. btrfs
// cannot be: its image is copied while the mirror is stopped between two system
// calls, and the copies are mounted. They need root and Debian's e2fsprogs,
// xfsprogs and btrfs-progs.
package mirror

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
)

const (
	cutDirs  = 24
	cutFiles = 20 // in each
	cutEvery = 60 // files between two commits: there are several in a pass
)

// cutting is a source that changes from round to round, with all its versions.
type cutting struct {
	*tree
	*bench
	rand     *rand.Rand
	versions []map[string]string // testtree.Snapshot of each round
	stamped  int                 // complete directories that were looked at
	open     int                 // incomplete ones
}

func newCutting(t *testing.T, durability string) *cutting {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("POWERCUT_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("POWERCUT_SEED=%d", seed)
	c := &cutting{rand: rand.New(rand.NewPCG(seed, 1))}
	var lines []string
	for d := range cutDirs {
		for f := range cutFiles {
			lines = append(lines, c.file(d, f, 0))
		}
	}
	c.tree, c.bench = overHTTP(t, lines...)
	c.bench.config.Durability, c.bench.config.Log = durability, nil
	c.note()
	return c
}

// file is a line of testtree: content and size are new with each version.
func (c *cutting) file(d, f, version int) string {
	return fmt.Sprintf("d%d/e%d/f%d = v%d %s", d%6, d, f, version, strings.Repeat("x", c.rand.IntN(9000)))
}

func (c *cutting) note() {
	snapshot, err := testtree.Snapshot(c.root)
	require.NoError(c.tree.t, err)
	c.versions = append(c.versions, snapshot)
}

// next makes the next version of the source: a third of the files is new, some are gone, and a
// directory is renamed.
func (c *cutting) next() {
	version := len(c.versions)
	for d := range cutDirs {
		if c.rand.IntN(3) > 0 {
			continue
		}
		var lines []string
		for f := range cutFiles {
			lines = append(lines, c.file(d, f, version))
		}
		testtree.Make(c.tree.t, c.root, lines...)
		_ = os.Remove(c.tree.path(fmt.Sprintf("d%d/e%d/f%d", d%6, d, c.rand.IntN(cutFiles))))
		c.publish(fmt.Sprintf("d%d/e%d", d%6, d))
	}
	was, is := fmt.Sprintf("d%d/moved%d", version%6, version-6), fmt.Sprintf("d%d/moved%d", version%6, version)
	if os.Rename(c.tree.path(was), c.tree.path(is)) != nil {
		testtree.Make(c.tree.t, c.root, is+"/sub/f = "+is)
	}
	c.publish(is + "/sub")
	c.note()
}

// sound requires that each directory of the copy with the present stamp of the source has
// exactly what the source has below it. A directory with an earlier stamp must have no file
// that is older than the stamp, and none that the source never had. With whole, no file
// anywhere may be one that the source never had.
func (c *cutting) sound(whole bool) {
	t := c.tree.t
	have, err := testtree.Snapshot(c.bench.config.Dest)
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(c.bench.config.Dest, func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		name, err := filepath.Rel(c.bench.config.Dest, path)
		require.NoError(t, err)
		switch {
		case entry.Name() == mtree.MarkerName:
			return fs.SkipDir
		case entry.IsDir():
			c.soundBelow(name, have)
		case whole:
			c.oneOfTheSource(name, have[name], 0)
		}
		return nil
	}))
}

func (c *cutting) soundBelow(name string, have map[string]string) {
	t := c.tree.t
	dir, err := disk.OpenRoot(c.bench.path(name))
	require.NoError(t, err)
	defer dir.Close()
	info, err := dir.Self()
	require.NoError(t, err)
	record, ok := records.Of(dir)
	if !ok || record.Stamp != info.MTime {
		c.open++
		return
	}
	c.stamped++
	first := slices.IndexFunc(c.versions, func(version map[string]string) bool {
		return strings.HasSuffix(version[name], " "+record.Stamp.String())
	})
	require.GreaterOrEqual(t, first, 0, "%q has a stamp that the source never had", name)
	present := c.versions[len(c.versions)-1]
	if strings.HasSuffix(present[name], " "+record.Stamp.String()) {
		want, got := below(name, present), below(name, have)
		require.True(t, maps.Equal(want, got), "%q has the stamp %s: %q, not %q", name, record.Stamp, got, want)
		return
	}
	for file, text := range have {
		if filepath.Dir(file) == name && strings.HasPrefix(text, "-") {
			c.oneOfTheSource(file, text, first)
		}
	}
}

// below returns the part of a snapshot that is below a directory.
func below(dir string, snapshot map[string]string) map[string]string {
	found := map[string]string{}
	for name, text := range snapshot {
		if dir == "." && name != "." || strings.HasPrefix(name, dir+"/") {
			found[name] = text
		}
	}
	return found
}

func (c *cutting) oneOfTheSource(name, text string, first int) {
	for _, version := range c.versions[first:] {
		if version[name] == text {
			return
		}
	}
	require.Fail(c.tree.t, "a file that the source never had, or not any more", "%q: %s", name, text)
}

// begin starts a mirror as a process of its own.
func (c *cutting) begin() *exec.Cmd {
	cmd := helper(c.bench, "MIRROR_TEST_DURABILITY="+c.bench.config.Durability, fmt.Sprint("MIRROR_TEST_COMMIT=", cutEvery))
	require.NoError(c.tree.t, cmd.Start())
	return cmd
}

// after waits for a part of the time that a pass takes.
func (c *cutting) after(took time.Duration) {
	<-time.After(time.Duration(c.rand.Int64N(int64(took))))
}

// TestPowerCut: below a directory that carries its stamp nothing is missing and nothing is
// wrong; with --durability file no file is wrong anywhere; and the next mirror continues
// without help.
func TestPowerCut(t *testing.T) {
	for name, mkfs := range map[string][]string{"ext4": {"mkfs.ext4", "-q", "-F"}, "xfs": {"mkfs.xfs", "-q"}} {
		for _, durability := range []string{Batch, Each} {
			t.Run(name+"/"+durability, func(t *testing.T) {
				t.Parallel()
				c := newCutting(t, durability)
				image, at := testfs.Make(t, mkfs...)
				testfs.Mount(t, at, "mount", "-o", "loop", image, at)
				c.bench.config.Dest = filepath.Join(at, "copy")
				began := time.Now()
				require.NoError(t, c.begin().Wait())
				took := time.Since(began)
				c.sound(true)
				for round := range 10 {
					c.next()
					cmd := c.begin()
					quiet := commits(at)
					c.after(took / 2) // there is less to do than the first time
					require.NoError(t, testfs.Cut(at))
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
					quiet()
					testfs.Run(t, "umount", at)
					testfs.Run(t, "mount", "-o", "loop", image, at)
					c.sound(durability == Each)
					if round%3 == 2 {
						c.bench.equal(c.tree)
						c.bench.requireIdle()
					}
				}
				c.bench.equal(c.tree)
				t.Logf("%d directories were complete, %d were not", c.stamped, c.open)
			})
		}
	}
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
	for _, durability := range []string{Batch, Each} {
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			c := newCutting(t, durability)
			image, at := testfs.Make(t, "mkfs.btrfs", "-q")
			c.bench.config.Dest = filepath.Join(at, "copy")
			testfs.Mount(t, at, "mount", "-o", "loop,commit=300", image, at)
			began := time.Now()
			require.NoError(t, c.begin().Wait())
			took := time.Since(began)
			for range 3 {
				c.next()
				cmd := c.begin()
				var copies []string
				for i := range 4 {
					c.after(took / 8)
					if !frozen(cmd) {
						break
					}
					copied := fmt.Sprint(image, i)
					testfs.Run(t, "cp", "--sparse=always", image, copied)
					copies = append(copies, copied)
					require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
				}
				require.NoError(t, cmd.Wait())
				testfs.Run(t, "umount", at)
				for _, copied := range copies {
					testfs.Run(t, "mount", "-o", "loop", copied, at)
					c.sound(durability == Each)
					c.bench.equal(c.tree)
					c.bench.requireIdle()
					testfs.Run(t, "umount", at)
					require.NoError(t, os.Remove(copied))
				}
				testfs.Run(t, "mount", "-o", "loop,commit=300", image, at)
			}
			t.Logf("%d directories were complete, %d were not", c.stamped, c.open)
		})
	}
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
	return stands && !ended
}
