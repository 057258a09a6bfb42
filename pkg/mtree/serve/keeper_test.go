package serve_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
)

// keeper is a tree, a server of it, and what watch does for it: batches that are written to the
// journal and then stamped.
type keeper struct {
	*site
	dir    *disk.Dir // of the root
	marker *state.Marker
	w      journal.Writer
	floor  mtree.Stamp
	given  map[string]mtree.Stamp // the stamps of directories that it remembers

	ticks        bool   // after each batch wait until the kernel's clock is beyond its stamp
	beforeStamps func() // called between the journal and the stamps of a batch; nil: nothing
}

// publishKept is publishWatched of a tree with a journal.
func publishKept(t *testing.T, cfg serve.Config, files map[string]string) *keeper {
	t.Helper()
	if cfg.Stats == nil {
		cfg.Stats = &serve.Stats{}
	}
	if cfg.Root == "" {
		cfg.Root = inMemory(t)
	}
	k := &keeper{site: publishWatched(t, cfg, files), ticks: true}
	var err error
	k.dir, err = disk.OpenRoot(k.root)
	require.NoError(t, err)
	k.marker, err = state.OpenMarker(k.dir, "")
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = k.w.Close()
		_ = k.marker.Close()
		_ = k.dir.Close()
	})
	k.begin()
	return k
}

// begin begins another journal, as watch does at its start.
func (k *keeper) begin() {
	k.Helper()
	require.NoError(k, k.w.Begin(k.marker, journal.Tree{ID: treeID, Epoch: 7}))
	k.given = map[string]mtree.Stamp{}
	k.floor = mtree.Later(k.floor, k.shows(""))
}

// shows returns the mtime of a directory.
func (k *keeper) shows(path string) mtree.Stamp {
	k.Helper()
	info, err := os.Stat(k.root + "/" + path)
	require.NoError(k, err)
	return mtree.FromTime(info.ModTime())
}

// publish publishes a batch of changed names: paths, those of directories with a slash at the
// end. "d/*" says that the names in d are not known, "d/**" nor anything below d. It returns
// the stamp.
func (k *keeper) publish(names ...string) mtree.Stamp {
	k.Helper()
	lines := k.plan(names)
	require.NoError(k, k.w.Write(k.floor, lines))
	if k.beforeStamps != nil {
		k.beforeStamps()
	}
	return k.stampAll(lines)
}

// plan returns the lines of a batch.
func (k *keeper) plan(names []string) []journal.Line {
	k.Helper()
	lines := map[string]*journal.Line{}
	line := func(path string) *journal.Line {
		l := lines[path]
		if l == nil {
			shown := k.shows(path)
			l = &journal.Line{Path: path, Known: true, From: shown, To: shown}
			if given, ok := k.given[path]; ok {
				l.From, l.Known = given, !shown.Before(given)
			}
			lines[path] = l
		}
		return l
	}
	for _, name := range names {
		bare := strings.TrimSuffix(name, "/")
		base := mtree.BaseName(bare)
		dir := line(mtree.ParentPath(bare))
		switch {
		case name != base && (base == "*" || base == "**"):
			dir.Unknown, dir.Known, dir.Below = true, false, dir.Below || base == "**" // as where somebody set its mode
		default:
			dir.Names = append(dir.Names, mtree.BaseName(bare)+name[len(bare):])
		}
		for at := dir.Path; at != ""; at = mtree.ParentPath(at) {
			above := line(mtree.ParentPath(at))
			above.Names = append(above.Names, mtree.BaseName(at)+"/")
		}
	}
	var all []journal.Line
	for _, l := range lines {
		if slices.Sort(l.Names); l.Unknown {
			l.Names = nil
		}
		l.Names = slices.Compact(l.Names)
		all = append(all, *l)
	}
	return all
}

// stampAll stamps the directories of a batch, the deepest first, and returns the stamp.
func (k *keeper) stampAll(lines []journal.Line) mtree.Stamp {
	k.Helper()
	slices.SortFunc(lines, func(a, b journal.Line) int { return mtree.TreeOrder(b.Path, a.Path) })
	k.floor = mtree.Later(machine.Now(), k.floor.Add(1))
	for _, line := range lines {
		k.stamp(line.Path, k.floor)
		k.given[line.Path] = k.floor
	}
	if k.ticks {
		k.tick()
	}
	return k.floor
}

// tick waits until what the kernel stamps is later than the last batch: its clock goes in steps of
// milliseconds.
func (k *keeper) tick() {
	k.Helper()
	file := filepath.Join(k.TempDir(), "tick")
	require.Eventually(k, func() bool {
		if err := os.WriteFile(file, []byte("1"), 0o644); err != nil {
			return false
		}
		info, err := os.Stat(file)
		return err == nil && mtree.FromTime(info.ModTime()).After(k.floor)
	}, longest, time.Millisecond)
}

// parts gets the answer to ?since, with parts: the blocks by path, in order.
func (k *keeper) parts(target string) (blocks []mtree.Listing, trailer mtree.Trailer) {
	k.Helper()
	a := k.get(target)
	require.Equal(k, 200, a.StatusCode, a.body)
	return decodeParts(k.T, a.body)
}

// decodeParts reads an answer to ?since.
func decodeParts(t *testing.T, body string) (blocks []mtree.Listing, trailer mtree.Trailer) {
	t.Helper()
	d := mtree.NewDecoder(strings.NewReader(body))
	d.Parts = true
	for {
		l, err := d.Next()
		if err != nil {
			break
		}
		if n := len(blocks); n > 0 {
			require.Negative(t, mtree.TreeOrder(blocks[n-1].Path, l.Path), body)
		}
		blocks = append(blocks, l)
	}
	trailer, ok := d.Trailer()
	require.True(t, ok, body)
	return blocks, trailer
}

// since returns the target of a request for what changed after stamp, with parts.
func since(dir string, stamp mtree.Stamp) string {
	return dir + "?txt&since=" + stamp.String() + "&part=1"
}

// brief says what blocks are: "a/b part x -y" or "a/b whole".
func brief(blocks []mtree.Listing) (lines []string) {
	for i := range blocks {
		l := &blocks[i]
		text := mtree.DirPath(l.Path) + " whole"
		if l.IsPart() {
			text = mtree.DirPath(l.Path) + " part"
			for j := range l.Entries {
				text += " " + l.Entries[j].Name
			}
			for _, name := range l.Gone {
				text += " -" + name
			}
		}
		lines = append(lines, text)
	}
	return lines
}

// wide returns files of a directory of n names.
func wide(dir string, n int) map[string]string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("%s/f%03d", dir, i)] = "1"
	}
	return files
}

// longest is how long a test waits for anything.
const longest = time.Minute
