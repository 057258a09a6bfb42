package serve_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// partReader follows a tree by parts, as docs/protocol.md says.
type partReader struct {
	*site
	dirs  map[string]*readDir
	since *mtree.Stamp

	blocks         map[string]*mtree.Listing // of the answer to ?since
	parts, visits  int                       // directories brought up to date by a part; by a listing
	checkEachParts bool                      // nothing is unpublished: a part must give what a listing gives
}

// readDir is what the reader has of a directory that is complete.
type readDir struct {
	stamp   mtree.Stamp
	id      string
	entries map[string]mtree.Entry
}

func newPartReader(s *site) *partReader { return &partReader{site: s, dirs: map[string]*readDir{}} }

// pass brings the reader up to date, and reports whether everything is complete.
func (r *partReader) pass() bool {
	r.blocks = map[string]*mtree.Listing{}
	if r.since != nil {
		if a := r.get(since("/", *r.since)); a.StatusCode != 410 {
			require.Equal(r, 200, a.StatusCode, a.body)
			blocks, _ := decodeParts(r.T, a.body)
			for i := range blocks {
				r.blocks[blocks[i].Path] = &blocks[i]
			}
		}
	}
	complete := r.visit("")
	if root := r.dirs[""]; root != nil {
		r.since = &root.stamp
	}
	return complete
}

// visit brings a directory and those below it up to date. It reports whether they are complete.
func (r *partReader) visit(path string) bool {
	dir, ok := r.read(path)
	if !ok {
		r.forget(path)
		return false
	}
	complete := true
	for _, e := range dir.entries {
		if e.Kind != mtree.Dir {
			continue
		}
		child := mtree.JoinPath(path, e.Name)
		if have := r.dirs[child]; have != nil && have.stamp == e.MTime {
			continue
		}
		if !r.visit(child) || r.dirs[child].stamp.Before(e.MTime) {
			complete = false
		}
	}
	if !complete {
		delete(r.dirs, path)
	}
	return complete
}

// forget drops what it has of a directory and of those below it.
func (r *partReader) forget(path string) {
	for dir := range r.dirs {
		if dir == path || path == "" || len(dir) > len(path) && dir[:len(path)+1] == path+"/" {
			delete(r.dirs, dir)
		}
	}
}

// read reads one directory, from the answer to ?since if that will do.
func (r *partReader) read(path string) (*readDir, bool) {
	have, l := r.dirs[path], r.blocks[path]
	if l != nil && l.IsPart() && !l.Hot && have != nil && l.Suffices(have.stamp) && l.ID == have.id {
		r.parts++
		r.apply(path, have, l)
		return have, true
	}
	if l == nil || l.IsPart() {
		a := r.get("/" + pathOf(path) + "?txt")
		if a.StatusCode != 200 {
			return nil, false
		}
		whole, err := mtree.ParseListing([]byte(a.body))
		require.NoError(r, err)
		l = &whole
	}
	r.visits++
	if l.Hot {
		return nil, false
	}
	if have != nil && have.id != l.ID {
		r.forget(path)
	}
	dir := &readDir{stamp: l.Stamp, id: l.ID, entries: map[string]mtree.Entry{}}
	for _, e := range l.Entries {
		dir.entries[e.Name] = e
	}
	for below := range r.dirs {
		rest, is := strings.CutPrefix("/"+below, strings.TrimSuffix("/"+path, "/")+"/")
		if child, _, _ := strings.Cut(rest, "/"); is && child != "" && dir.entries[child].Kind != mtree.Dir {
			r.forget(mtree.JoinPath(path, child))
		}
	}
	r.dirs[path] = dir
	return dir, true
}

// apply applies a part.
func (r *partReader) apply(path string, dir *readDir, part *mtree.Listing) {
	dir.stamp = part.Stamp
	for _, name := range part.Gone {
		delete(dir.entries, name)
		r.forget(mtree.JoinPath(path, name))
	}
	for _, e := range part.Entries {
		if e.Kind != mtree.Dir {
			r.forget(mtree.JoinPath(path, e.Name))
		}
		dir.entries[e.Name] = e
	}
	if r.checkEachParts {
		require.Empty(r, r.differs(path), "%s after its part %v", mtree.DirPath(path), brief([]mtree.Listing{*part}))
	}
}

// pathOf returns the path of a directory in a URL.
func pathOf(path string) string {
	if path == "" {
		return ""
	}
	return wire.DirURLPath(path)
}

// differs says in what a directory of the reader differs from its listing: "" if in nothing.
func (r *partReader) differs(path string) string {
	a := r.get("/" + pathOf(path) + "?txt")
	if a.StatusCode != 200 {
		return fmt.Sprint("is ", a.StatusCode)
	}
	whole, err := mtree.ParseListing([]byte(a.body))
	require.NoError(r, err)
	have := r.dirs[path]
	if have == nil || whole.Stamp != have.stamp {
		return "another stamp"
	}
	for _, e := range whole.Entries {
		if mine, ok := have.entries[e.Name]; !ok || mine != e {
			return fmt.Sprintf("%q is %+v, not %+v", e.Name, e, mine)
		}
	}
	if len(have.entries) != len(whole.Entries) {
		return fmt.Sprintf("it has %d names, not %d", len(have.entries), len(whole.Entries))
	}
	return ""
}

// equal reports whether the reader has all that the server lists, and nothing else.
func (r *partReader) equal() (bool, string) {
	seen := 0
	var walk func(path string) string
	walk = func(path string) string {
		seen++
		if text := r.differs(path); text != "" {
			return mtree.DirPath(path) + ": " + text
		}
		for _, name := range slices.Sorted(maps.Keys(r.dirs[path].entries)) {
			if r.dirs[path].entries[name].Kind == mtree.Dir {
				if text := walk(mtree.JoinPath(path, name)); text != "" {
					return text
				}
			}
		}
		return ""
	}
	text := walk("")
	if text == "" && seen != len(r.dirs) {
		text = "it has other directories"
	}
	return text == "", text
}

// mischief changes a tree at random.
type mischief struct {
	*rand.Rand
	root string
	dirs []string // those it made, may be gone
	n    int
}

func newMischief(seed uint64, root string) *mischief {
	m := &mischief{Rand: rand.New(rand.NewPCG(seed, 1)), root: root, dirs: []string{""}}
	for i := range 6 {
		dir := mtree.JoinPath(m.dirs[m.IntN(len(m.dirs))], fmt.Sprint("d", i))
		_ = os.MkdirAll(root+"/"+dir, 0o755)
		m.dirs = append(m.dirs, dir)
		for j := range 10 {
			_ = os.WriteFile(fmt.Sprintf("%s/%s/f%d", root, dir, j), nil, 0o644)
		}
	}
	return m
}

// dir returns a directory that is there, and name one in a directory.
func (m *mischief) dir() string {
	for range 20 {
		dir := m.dirs[m.IntN(len(m.dirs))]
		if info, err := os.Stat(m.root + "/" + dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return ""
}

func (m *mischief) name(dir string) string {
	return mtree.JoinPath(dir, fmt.Sprint([]string{"f", ".f", "f ", "f\xff"}[min(m.IntN(12), 3)], m.IntN(12)))
}

// change makes one change, and returns the changed names, as publish takes them: none, if
// nothing changed.
func (m *mischief) change() []string {
	m.n++
	file := m.name(m.dir())
	at := m.root + "/" + file
	var err error
	switch what := m.IntN(20); {
	case what < 9:
		err = os.WriteFile(at, []byte(fmt.Sprint(m.n)), 0o644)
	case what < 12:
		err = os.Remove(at)
	case what < 13:
		err = os.Chmod(at, 0o600+os.FileMode(m.IntN(64)))
	case what < 14:
		err = os.Symlink(fmt.Sprint("no/where", m.n), at)
	case what < 16:
		to := m.name(m.dir())
		if err = os.Rename(at, m.root+"/"+to); err == nil {
			return []string{file, to}
		}
	case what < 17:
		dir := mtree.JoinPath(m.dir(), fmt.Sprint("d", m.IntN(20)))
		if err = os.Mkdir(m.root+"/"+dir, 0o755); err == nil {
			m.dirs = append(m.dirs, dir)
			return []string{dir + "/", dir + "/**"}
		}
	case what < 18:
		dir, to := m.dir(), mtree.JoinPath(m.dir(), fmt.Sprint("d", m.IntN(20)))
		if err = os.Rename(m.root+"/"+dir, m.root+"/"+to); err == nil {
			m.dirs = append(m.dirs, to)
			return []string{dir + "/", to + "/", to + "/**"}
		}
	default:
		dir := m.dir()
		if m.IntN(4) > 0 || dir == "" {
			return nil
		}
		if err = os.RemoveAll(m.root + "/" + dir); err == nil {
			return []string{dir + "/"}
		}
	}
	if err != nil {
		return nil
	}
	return []string{file}
}

// stampBelow stamps the directories below those that arrived, as watch does.
func (k *keeper) stampBelow(dir string) {
	entries, err := os.ReadDir(k.root + "/" + dir)
	require.NoError(k, err)
	for _, e := range entries {
		if e.IsDir() {
			below := mtree.JoinPath(dir, e.Name())
			k.stampBelow(below)
			k.stamp(below, k.floor)
			k.given[below] = k.floor
		}
	}
}

// Each part gives what a whole listing gives of the same stamp, whatever the record from which
// a reader begins.
func TestPartsEqualListings(t *testing.T) {
	proof.Rounds(t, 4, func(t *testing.T, seed uint64) {
		root := inMemory(t)
		m := newMischief(seed, root)
		k := publishKept(t, serve.Config{Root: root, Hidden: m.IntN(2) == 0}, nil)
		k.ticks = m.IntN(2) == 0
		var readers []*partReader
		for range 3 {
			r := newPartReader(k.site)
			r.checkEachParts = true
			readers = append(readers, r)
		}
		for range 60 {
			var changed, arrived []string
			for range 1 + m.IntN(4) {
				changed = append(changed, m.change()...)
			}
			if len(changed) == 0 {
				continue
			}
			if m.IntN(20) == 0 {
				k.begin()
			}
			// What a change named may be gone by now, with all that was in it.
			changed = slices.DeleteFunc(changed, func(name string) bool {
				_, err := os.Stat(root + "/" + mtree.ParentPath(trimSlash(name)))
				if len(name) > 3 && name[len(name)-3:] == "/**" && err == nil {
					arrived = append(arrived, name[:len(name)-3])
				}
				return err != nil
			})
			k.beforeStamps = func() {
				k.floor = mtree.Later(mtree.FromTime(time.Now()), k.floor.Add(1))
				for _, dir := range arrived {
					k.stampBelow(dir)
				}
			}
			if len(changed) > 0 {
				k.publish(changed...)
			}
			for _, r := range readers {
				if m.IntN(3) == 0 {
					require.True(t, r.pass())
					ok, why := r.equal()
					require.True(t, ok, why)
				}
			}
		}
		sum := 0
		for _, r := range readers {
			sum += r.parts
		}
		require.NotZero(t, sum)
	})
}

func trimSlash(name string) string {
	if name != "" && name[len(name)-1] == '/' {
		return name[:len(name)-1]
	}
	return name
}

// With a real watch, and with a tree that changes meanwhile, a reader by parts loses nothing.
func TestPartsOfAWatchedTree(t *testing.T) {
	proof.Rounds(t, 2, func(t *testing.T, seed uint64) {
		root := inMemory(t)
		m := newMischief(seed, root)
		keepWatch(t, watch.Config{Root: root, Backend: "inotify"})
		s := &site{T: t, root: root, cfg: serve.Config{Root: root, Stats: &serve.Stats{}}}
		s.start()
		require.Eventually(t, func() bool { return s.get("/").Header.Get("Tidemark-State") == string(wire.Watched) }, longest, time.Millisecond)
		r := newPartReader(s)
		for range 15 {
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range 30 {
					m.change()
				}
			}()
			for range 5 {
				r.pass()
			}
			<-done
			equal, why := false, "not complete"
			for end := time.Now().Add(longest); !equal && time.Now().Before(end); {
				if r.pass() {
					equal, why = r.equal()
				}
			}
			require.True(t, equal, why)
		}
		for end := time.Now().Add(longest); r.parts == 0 && time.Now().Before(end); { // the tree was never quiet enough
			require.NoError(t, os.WriteFile(root+"/quiet", nil, 0o644))
			require.NoError(t, os.Remove(root+"/quiet"))
			r.pass()
		}
		proof.Count("parts", r.parts)
		require.NotZero(t, r.parts)
		t.Log(r.parts, "parts and", r.visits, "listings")
	})
}

// keepWatch runs a watch until the end of the test.
func keepWatch(t *testing.T, c watch.Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended, ready := make(chan error, 1), make(chan struct{})
	c.Ready = func() { close(ready) }
	go func() { ended <- watch.Run(ctx, c) }()
	select {
	case <-ready:
	case err := <-ended:
		require.NoError(t, err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-ended)
		}
	}
	t.Cleanup(stop)
	return stop
}
