package changed

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/published"
	"tidemark/pkg/mtree/wire"
)

// told is a line of a directory.
func told(path string, names ...string) journal.Line {
	return journal.Line{Path: path, Known: true, Names: names}
}

// newParts publishes files in a machine in memory. write writes a batch, stamps its directories, and
// returns the stamp.
func newParts(t *testing.T, files ...string) (k *faultkernel.Kernel, reader *Reader, write func(...journal.Line) mtree.Stamp) {
	k = faultkernel.New(t, 0)
	k.Make(t, files...)
	w, id, floor := &journal.Writer{}, journal.Tree{ID: strings.Repeat("5", 32), Epoch: 5}, machine.Now()
	func() { // as watch
		defer sys.Simulate(k.Shell.Process)()
		root, err := disk.OpenRoot("/tree")
		require.NoError(t, err)
		m, err := state.CreateMarker(root, "")
		require.NoError(t, err)
		_, err = m.Lock()
		require.NoError(t, err)
		who, err := state.RootOf(root)
		require.NoError(t, err)
		tree := state.Tree{ID: id.ID, Epoch: id.Epoch, Role: state.Source}
		tree.Bind(who)
		require.NoError(t, m.WriteTree(tree))
		file, err := m.CreateStatus()
		require.NoError(t, err)
		require.NoError(t, file.Write(state.Status{State: wire.Watched}))
		require.NoError(t, w.Begin(m, id))
	}()
	write = func(lines ...journal.Line) mtree.Stamp {
		defer sys.Simulate(k.Shell.Process)()
		require.NoError(t, w.Write(floor, lines))
		floor = floor.Add(time.Second)
		for _, l := range lines {
			require.NoError(t, k.Shell.Touch(strings.TrimSuffix("/tree/"+l.Path, "/"), floor.Time(), true))
		}
		return floor
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	tree, err := published.Open(published.Config{Root: "/tree", Exclude: &glob.List{}, Now: machine.Now, Log: log})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tree.Close() })
	return k, readerOf(tree), write
}

// readerOf returns a reader of one walk.
func readerOf(tree *published.Tree) *Reader {
	return &Reader{
		Tree: tree, LargeSize: 4 << 20, Listings: new(atomic.Int64), Parts: new(atomic.Int64),
		Shared: func(_ pages.FlightKey, _ int64, read func() (*pages.Page, error)) (*pages.Page, error) { return read() },
	}
}

// tellParts makes an answer about the root, whose stamp is until.
func tellParts(reader *Reader, from, until mtree.Stamp) error {
	q := Question{Since: from, Parts: true, Snap: reader.Tree.Now(), Stamp: until}
	return NewWalk(reader, q, nil).Run()
}

// However often the journal is read for directories that come in between, those that were opened ahead
// for earlier readings count.
func TestDirectoriesOpenedAhead(t *testing.T) {
	var files, names, children []string
	var first, later []journal.Line
	for i := range 40 {
		dir := fmt.Sprintf("b%02d", i)
		files, names, first = append(files, "/tree/"+dir+"/f"), append(names, dir+"/"), append(first, told(dir, "f"))
	}
	for i := range 30 {
		dir := fmt.Sprintf("%02d", i)
		files, children, later = append(files, "/tree/a/"+dir+"/f"), append(children, dir+"/"), append(later, told("a/"+dir, "f"))
	}
	later = append(later, told("a", children...), told("", "a/"))
	k, reader, write := newParts(t, files...)
	from := write(told("", "a/"))
	until := write(append(first, told("a", "f"), told("", append(names, "a/")...))...)
	isOurs := func(name string) bool { return len(name) == 2 || len(name) == 3 && name[0] == 'b' }
	most := 0
	k.Fail = func(call string) error {
		name, opens := strings.CutPrefix(call, "open ")
		if opens && name == "b00" && later != nil { // the walk has begun
			lines := later
			later = nil
			write(lines...)
		}
		if opens && isOurs(name) {
			open := 1
			for _, dir := range k.Open {
				if isOurs(dir) {
					open++
				}
			}
			most = max(most, open)
		}
		return nil
	}
	require.NoError(t, tellParts(reader, from, until))
	require.EqualValues(t, 1+1+30+40, reader.Parts.Load())
	require.LessOrEqual(t, most, partsAhead+1, "one more to see whether a path still leads there")
}

// A directory above that does not open is tried once for all below it, unless only descriptors were short.
// In a copy it may have no line yet: it is stamped with a later batch.
func TestAboveIsTriedOnce(t *testing.T) {
	var files []string
	var lines []journal.Line
	for i := range 20 {
		dir := fmt.Sprintf("a/%02d", i)
		files, lines = append(files, "/tree/"+dir+"/f"), append(lines, told(dir, "f"))
	}
	k, reader, write := newParts(t, files...)
	from := write(told("", "a/"))
	until := write(append(lines, told("", "a/"))...)
	k.Refuse("open a", unix.EACCES, -1)
	k.Made("")
	require.NoError(t, tellParts(reader, from, until))
	require.Equal(t, 1, k.Made("open a"))
	require.EqualValues(t, 1, reader.Parts.Load(), "nothing below it is told")

	for why, again := range map[unix.Errno]int{unix.EIO: 0, unix.EACCES: 0, unix.EMFILE: 1, unix.ENOMEM: 1} {
		a := above{tree: reader.Tree}
		k.Refuse("open a", why, 1)
		closed, err := a.check("a/00")
		require.ErrorIs(t, err, why)
		require.Equal(t, "a", closed)
		k.Made("")
		_, err = a.check("a/01")
		require.Equal(t, again == 0, err != nil, why)
		require.Equal(t, again, k.Made("open a"), why)
	}
}

// A poll came between the time that the kernel gave a large directory and the batch of watch. Nothing
// could be told of it but the whole listing, which was out of date before it was read.
func TestAnEarlyAnswerWaitsForItsBatch(t *testing.T) {
	for _, large := range []bool{true, false} {
		k, reader, write := newParts(t, "/tree/f", "/tree/g")
		from := write(told("", "f"))
		dir, err := reader.Tree.OpenDir("")
		require.NoError(t, err)
		snap := reader.Tree.Now()
		look := func() (mtree.Stamp, error) {
			self, err := reader.Tree.Lister(snap).Self(dir, "")
			return self.MTime, err
		}
		w := NewWalk(reader, Question{Since: from, Snap: snap}, nil)
		w.Stamp, err = look()
		require.NoError(t, err)
		require.False(t, w.isEarly(), "nothing changed")
		require.NoError(t, k.Shell.Touch("/tree", from.Add(time.Millisecond).Time(), true))
		w.Stamp, err = look()
		require.NoError(t, err)
		require.True(t, w.isEarly())
		size := int64(sharedSize)
		if large {
			size++
		}
		looks := 0
		k.Fail = func(call string) error {
			if call == "open journal.0" {
				if looks++; looks == 2 {
					k.Fail = nil
					write(journal.Line{Known: true, From: from, To: from.Add(time.Millisecond), Names: []string{"g"}})
				}
			}
			return nil
		}
		require.NoError(t, w.AwaitBatch(t.Context(), nil, size, look))
		require.Equal(t, !large, w.isEarly())
		require.Equal(t, large, looks > 1)
	}
}
