//go:build filesystems

package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
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
	cutMode
	rand     *rand.Rand
	told     bytes.Buffer        // what the last mirror has printed
	versions []map[string]string // testtree.Snapshot of each round
	stamped  int                 // complete directories that were looked at
	open     int                 // incomplete ones
	tied     map[string]bool     // names that ever were those of a file with others
	had      map[string][]string // files that were in the copy when a mirror had ended well: path -> versions
}

func newCutting(t *testing.T, mode cutMode, seed uint64) *cutting {
	c := &cutting{cutMode: mode, rand: rand.New(rand.NewPCG(seed, 1))}
	var lines []string
	for d := range cutDirs {
		for f := range cutFiles {
			lines = append(lines, c.file(d, f, 0))
		}
	}
	c.tree, c.bench = overHTTP(t, lines...)
	c.bench.config.Durability, c.bench.config.Log = mode.durability, nil
	c.tie()
	c.patch()
	c.note()
	return c
}

// file is a line of testtree: content and size are new with each version. In some modes one
// file is so large that it is continued.
func (c *cutting) file(d, f, version int) string {
	size := c.rand.IntN(9000)
	if c.has(cutLarge) && d == 0 && f == 0 {
		size += 10 << 20
	}
	return fmt.Sprintf("d%d/e%d/f%d = v%d %s", d%6, d, f, version, strings.Repeat("x", size))
}

func (c *cutting) note() {
	snapshot, err := testtree.Snapshot(c.root)
	require.NoError(c.tree.t, err)
	c.versions = append(c.versions, snapshot)
}

// next makes the next version of the source: a third of the files is new, some are gone, and
// two directories are renamed, one of them with all its files.
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
	if a, b := c.rand.IntN(cutDirs), c.rand.IntN(cutDirs); a != b {
		c.exchange(fmt.Sprintf("d%d/e%d", a%6, a), fmt.Sprintf("d%d/e%d", b%6, b))
	}
	c.tie()
	c.patch()
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
	present := map[string]bool{} // directories with the stamps of the source
	require.NoError(t, filepath.WalkDir(c.bench.config.Dest, func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		name, err := filepath.Rel(c.bench.config.Dest, path)
		require.NoError(t, err)
		switch {
		case entry.Name() == mtree.MarkerName:
			return fs.SkipDir
		case entry.IsDir():
			present[name] = c.soundBelow(name, have)
		case whole:
			c.oneOfTheSource(name, have[name], 0)
		}
		return nil
	}))
	c.soundLinks(have, present)
}

// soundBelow checks one directory, and reports whether it has the present stamp of the source.
func (c *cutting) soundBelow(name string, have map[string]string) bool {
	t := c.tree.t
	dir, err := disk.OpenRoot(c.bench.path(name))
	require.NoError(t, err)
	defer dir.Close()
	info, err := dir.Self()
	require.NoError(t, err)
	record, ok := c.recordOf(dir, name)
	if !ok || record.Stamp != info.MTime {
		c.open++
		return false
	}
	c.stamped++
	first := slices.IndexFunc(c.versions, func(version map[string]string) bool {
		return strings.HasSuffix(version[name], " "+record.Stamp.String())
	})
	require.GreaterOrEqual(t, first, 0, "%q has a stamp that the source never had", name)
	present := c.versions[len(c.versions)-1]
	if strings.HasSuffix(present[name], " "+record.Stamp.String()) {
		want, got := below(name, present), below(name, have)
		for file, text := range want {
			if c.tied[file] { // what is heard under another name comes later
				c.oneOfTheSource(file, got[file], 0)
				continue
			}
			require.Equal(t, text, got[file], "%q has the stamp %s: %q", name, record.Stamp, file)
		}
		require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)), "%q has the stamp %s", name, record.Stamp)
		return true
	}
	for file, text := range have {
		if filepath.Dir(file) == name && strings.HasPrefix(text, "-") {
			if c.tied[file] {
				c.oneOfTheSource(file, text, 0)
				continue
			}
			c.oneOfTheSource(file, text, first)
		}
	}
	return false
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

// cutBackup is --backup-dir in the modes that have one.
const cutBackup = "../backup"

// remember notes what the copy has now, which is on the disk.
func (c *cutting) remember() {
	now, err := testtree.Snapshot(c.bench.config.Dest)
	require.NoError(c.tree.t, err)
	if c.had == nil {
		c.had = map[string][]string{}
	}
	for path, text := range now {
		if strings.HasPrefix(text, "-") && !slices.Contains(c.had[path], text) {
			c.had[path] = append(c.had[path], text)
		}
	}
}

// lostNothing requires that all this is in the copy or in the backup, with mode, time and bytes.
func (c *cutting) lostNothing() {
	if !c.has(cutKept) || len(c.had) == 0 {
		return
	}
	t := c.tree.t
	c.bench.config.BackupDir = cutBackup
	kept, now := c.bench.backups(), c.bench.snapshot()
	for path, versions := range c.had {
		for _, text := range versions {
			if now[path] != text {
				require.Contains(t, kept[path], text, path)
			}
		}
	}
}

// exchange renames two directories of the source to each other's names.
func (c *cutting) exchange(a, b string) {
	t, aside := c.tree.t, c.tree.path("aside")
	require.NoError(t, os.Rename(c.tree.path(a), aside))
	require.NoError(t, os.Rename(c.tree.path(b), c.tree.path(a)))
	require.NoError(t, os.Rename(aside, c.tree.path(b)))
	c.publish(a)
	c.publish(b)
}

// recordOf is the record of a directory of the copy, wherever the mode keeps it.
func (c *cutting) recordOf(dir *disk.Dir, name string) (records.Record, bool) {
	if !c.has(cutLog) {
		return records.Of(dir)
	}
	t := c.tree.t
	root, err := disk.OpenRoot(c.bench.config.Dest)
	require.NoError(t, err)
	defer root.Close()
	m, err := state.OpenMarker(root, "")
	if errors.Is(err, fs.ErrNotExist) { // the power went before there was one
		return records.Record{}, false
	}
	require.NoError(t, err)
	defer m.Close()
	log, err := records.ReadLog(m)
	require.NoError(t, err)
	defer log.Close()
	if name == "." {
		name = ""
	}
	return log.Get(name)
}
