//go:build filesystems

package mirror

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// tieEvery is how many changes of names and links there are in a version.
const tieEvery = 24

// tie changes files with several names: a name more, a name that becomes a file of its own, a name that
// moves, bytes and modes that are heard under one name only. What gets another name is heard under both.
func (c *cutting) tie() {
	if !c.has(cutLinks) {
		return
	}
	version := len(c.versions)
	for i := range tieEvery {
		all := c.namesByFile()
		name, names := c.pickName(all, version > 0 && i%2 == 0)
		other := fmt.Sprintf("%s/l%d-%d", filepath.Dir(c.pickFile(all)), version, i)
		switch op := c.rand.IntN(6); {
		case len(names) == 1 || op == 0:
			c.link(name, other)
		case op == 1:
			c.replace(name, fmt.Sprintf("own %d %d", version, i))
		case op == 2:
			require.NoError(c.tree.t, os.Rename(c.tree.path(name), c.tree.path(other)))
			c.publish(other)
		case op == 3 && !c.has(cutKept): // a mode alone keeps nothing
			require.NoError(c.tree.t, os.Chmod(c.tree.path(name), []os.FileMode{0o600, 0o640, 0o644}[c.rand.IntN(3)]))
		default:
			require.NoError(c.tree.t, os.WriteFile(c.tree.path(name), fmt.Appendf(nil, "all %d %d %s", version, i, strings.Repeat("y", c.rand.IntN(9000))), 0o644))
		}
		c.publish(name)
	}
	if c.tied == nil {
		c.tied = map[string]bool{}
	}
	for _, names := range c.namesByFile() {
		for _, name := range names {
			c.tied[name] = c.tied[name] || len(names) > 1
		}
	}
}

// namesByFile are the names of each file of the source, in order.
func (c *cutting) namesByFile() (all [][]string) {
	for group := range strings.SplitSeq(namesBelow(c.tree.t, c.root, 1), " ") {
		if names := strings.Split(group, "="); !strings.Contains(names[0], "/big/") {
			all = append(all, names)
		}
	}
	return all
}

func (c *cutting) pickFile(all [][]string) string { return all[c.rand.IntN(len(all))][0] }

// pickName picks a name, and all names of its file; tied says that the file has others, if any has.
func (c *cutting) pickName(all [][]string, tied bool) (string, []string) {
	some := slices.DeleteFunc(slices.Clone(all), func(names []string) bool { return tied && len(names) == 1 })
	if len(some) == 0 {
		some = all
	}
	names := some[c.rand.IntN(len(some))]
	return names[c.rand.IntN(len(names))], names
}

// replace moves a new file into the place of a name.
func (c *cutting) replace(name, text string) {
	aside := filepath.Join(filepath.Dir(c.root), "aside")
	require.NoError(c.tree.t, os.WriteFile(aside, []byte(text), 0o644))
	require.NoError(c.tree.t, os.Rename(aside, c.tree.path(name)))
}

// The large files of cutBlocks.
const (
	cutBig     = 2
	cutBigSize = 5 << 20 // bytes, at first
)

// patch changes the large files in places, in place: some bytes, a run of zeros, an end that grows or goes.
func (c *cutting) patch() {
	if !c.has(cutBlocks) {
		return
	}
	t := c.tree.t
	for i := range cutBig {
		name := fmt.Sprintf("d0/big/b%d", i)
		text, err := os.ReadFile(c.tree.path(name))
		if err != nil {
			require.NoError(t, os.MkdirAll(filepath.Dir(c.tree.path(name)), 0o755))
			text = noise(cutBigSize + i*4097)
			clear(text[1<<20 : 2<<20])
		}
		for range c.rand.IntN(4) {
			at := c.rand.IntN(len(text) - 200_000)
			for j := range 1 + c.rand.IntN(300) {
				text[at+j] ^= byte(1 + c.rand.IntN(255))
			}
		}
		switch c.rand.IntN(4) {
		case 0:
			text = append(text, noise(1+c.rand.IntN(200_000))...)
		case 1:
			text = text[:len(text)-c.rand.IntN(100_000)]
		case 2:
			at := c.rand.IntN(len(text) - 200_000)
			clear(text[at : at+200_000])
		}
		require.NoError(t, os.WriteFile(c.tree.path(name), text, 0o644))
		c.publish(name)
	}
}

// sameLinks requires that names are one file in the copy where they are in the source, and only there.
func (c *cutting) sameLinks() {
	c.tree.t.Helper()
	require.Equal(c.tree.t, linked(c.tree.t, c.root), linked(c.tree.t, c.bench.config.Dest))
}

// soundLinks requires that names of one file have the same bytes in all directories of the copy that carry the
// stamps of the source: what is heard under one name is no excuse. have is what the copy has.
func (c *cutting) soundLinks(have map[string]string, stamped map[string]bool) {
	for _, names := range c.namesByFile() {
		names = slices.DeleteFunc(names, func(name string) bool { return !stamped[filepath.Dir(name)] })
		for i := range names {
			require.Equal(c.tree.t, have[names[0]], have[names[i]], "%q and %q are one file, and both directories have the stamps of the source", names[0], names[i])
		}
	}
}
