package publish

import (
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/notify/notifytest"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/stamprule"
)

// ground is a tree in a machine in memory, at /tree, that is published: nothing in it is
// newer than the floor.
type ground struct {
	*faultkernel.Kernel
	*Tree
	t       *testing.T
	floor   mtree.Stamp
	stamps  map[string]mtree.Stamp // that directories were given, by path; "." is the root
	order   []string               // in which they were
	foreign atomic.Int64
	ear     *notifytest.Ear
	book    *book
	during  func() // called when a batch is written down; nil: nothing
}

// newGround makes a tree with some directories, whose names end in /, and files, and all
// that is above them. All directories are heard.
func newGround(t *testing.T, paths ...string) *ground {
	g := &ground{Kernel: faultkernel.New(t, 0), t: t, stamps: map[string]mtree.Stamp{}}
	g.ear = notifytest.NewEar(t, g.Kernel)
	g.Make(t, "/tree/", "/out/")
	g.make(paths...)
	root, err := disk.OpenRoot("/tree")
	require.NoError(t, err)
	log, clock := slog.New(slog.DiscardHandler), stamprule.NewClock(machine.Now)
	g.Tree = &Tree{
		Root: root, Source: g.ear, Hears: true, Exclude: &glob.List{}, Clock: &clock, SetTime: g.setTime,
		OwnWrites: ownwrites.New(nil, nil, mtree.Unix(0, 0)), Health: health.NewMonitor(log, new(atomic.Int64), &g.foreign),
		Borders: health.NewBorders(log, new(atomic.Int64)), SaveExceptions: func() {},
	}
	g.book = &book{g: g}
	g.Journal = g.book
	g.settle()
	return g
}

func (g *ground) make(paths ...string) {
	for _, p := range paths {
		g.Make(g.t, "/tree/"+p)
	}
}

// settle lets everything so far be published and heard.
func (g *ground) settle() {
	g.Age(g.t, "/tree")
	g.ear.ArmAll("/tree")
	g.floor = machine.Now()
}

// setTime is how stamps are written: once for each directory.
func (g *ground) setTime(d *disk.Dir, stamp mtree.Stamp) error {
	at := strings.TrimPrefix(strings.TrimPrefix(d.Path(), "/tree"), "/")
	if at == "" {
		at = "."
	}
	require.NotContains(g.t, g.order, at, "stamped twice")
	err := d.SetTime(stamp)
	if err == nil {
		g.stamps[at], g.order = stamp, append(g.order, at)
	}
	return err
}

// publish publishes a batch. It returns the directories that were stamped, in order: each
// with a stamp that is above everything published and not below that of one in it.
func (g *ground) publish(fill func(b *Batch)) string {
	g.t.Helper()
	b := Batch{Paths: true}
	fill(&b)
	result := g.publishBatch(&b)
	require.Equal(g.t, len(g.order), result.Stamped)
	require.Equal(g.t, len(g.order) > 0, result.Changed)
	for at, stamp := range g.stamps {
		require.True(g.t, stamp.After(g.floor), at)
		require.False(g.t, stamp.After(machine.Now()), at)
		require.False(g.t, g.stamps[path.Dir(at)].Before(stamp), at)
		require.False(g.t, result.Top.Before(stamp), at)
	}
	return strings.Join(g.order, " ")
}

func (g *ground) publishBatch(b *Batch) Result {
	g.t.Helper()
	g.order, g.stamps = nil, map[string]mtree.Stamp{}
	g.Calls, g.ear.Names, g.ear.Asked = nil, nil, 0
	*g.book = book{g: g}
	result, err := g.Publish(b, stamprule.Rule{Floor: g.floor, Granule: 1}, nil)
	require.NoError(g.t, err)
	if result.Stamped > 0 && len(g.book.lines) > 0 || result.Changed {
		g.book.requireAll(g.order)
	}
	return result
}

// events adds events of one directory to a batch.
func events(b *Batch, d notify.DirEvents) {
	b.AddEvents([]*notify.DirEvents{&d}, func(string, bool) bool { return false })
}

// dirty adds a directory to a batch whose entries changed.
func dirty(path string) func(b *Batch) {
	return func(b *Batch) { events(b, notify.DirEvents{Path: path, Dirty: true}) }
}

// self adds a directory to a batch whose own attributes were set.
func self(path string) func(b *Batch) {
	return func(b *Batch) { events(b, notify.DirEvents{Path: path, Self: 1}) }
}

// entry adds a name to a batch.
func entry(at string) func(b *Batch) {
	return func(b *Batch) { b.AddEntry(mtree.ParentPath(at), path.Base(at)) }
}

// arrival adds a directory to a batch that arrived.
func arrival(at string) func(b *Batch) {
	return func(b *Batch) {
		events(b, notify.DirEvents{Path: mtree.ParentPath(at), Entries: []notify.Entry{{Name: path.Base(at), Arrived: true}}})
	}
}

// retry adds a directory to a batch that is tried again.
func retry(path string) func(b *Batch) { return func(b *Batch) { b.AddRetry(path) } }

// open opens a directory of the tree.
func (g *ground) open(at string) *disk.Dir {
	d, err := disk.OpenRoot("/tree/" + at)
	require.NoError(g.t, err)
	return d
}

// info is what a directory shows.
func (g *ground) info(at string) disk.Info {
	d := g.open(at)
	defer d.Close()
	info, err := d.Self()
	require.NoError(g.t, err)
	return info
}

// live lets another watch or mirror run in a directory.
func (g *ground) live(at string) *state.Lock {
	m, err := state.CreateMarker(g.open(at), "")
	require.NoError(g.t, err)
	l, err := m.Lock()
	require.NoError(g.t, err)
	g.settle()
	return l
}

// isUnread reports whether a directory is one of those that cannot be read.
func (g *ground) isUnread(at string) bool {
	return g.Health.Exceptions.IsUnread(mtree.ParentPath(at), path.Base(at))
}

// unread makes a directory one of those that could not be read: nothing in it was heard.
func (g *ground) unread(at string) {
	g.Health.CannotRead(at, g.info(at).Node.Ino, unix.EACCES)
	g.ear.DisarmAll("/tree/" + at)
	require.True(g.t, g.isUnread(at))
}

// refused makes a directory one of those that refused their stamp.
func (g *ground) refused(at string) {
	g.Health.Refuse(at, g.info(at).Node, mtree.Unix(2000, 0), unix.EPERM)
}

// exceptions lists the directories that refused their stamp.
func (g *ground) exceptions() string {
	var all []string
	for _, r := range g.Health.Retries() {
		all = append(all, r.Path)
	}
	return strings.Join(slices.Sorted(slices.Values(all)), " ")
}
