package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
)

var ours = Tree{ID: "0123456789abcdef0123456789abcdef", Epoch: 7}

// bench is a marker, and the number of stamps that were given.
type bench struct {
	t *testing.T
	*Writer
	top    string // .tidemark
	marker *state.Marker
	n      int
}

func newBench(t *testing.T) *bench {
	top := t.TempDir()
	m, err := state.CreateMarker(disktest.OpenRoot(t, top), "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Close() })
	b := &bench{t: t, Writer: &Writer{}, top: filepath.Join(top, mtree.MarkerName), marker: m}
	require.NoError(t, b.Begin(m, ours))
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// name returns the path of a file of the journal.
func (b *bench) name(i int) string { return filepath.Join(b.top, names[i]) }

// write writes a batch that changes d/N and gives the next stamp.
func (b *bench) write() error {
	b.n++
	return b.Write(at(b.n), []Line{{Path: "d", Known: true, From: at(b.n), To: at(b.n), Names: []string{fmt.Sprint(b.n)}}})
}

func (b *bench) mustWrite(n int) {
	b.t.Helper()
	for range n {
		require.NoError(b.t, b.write())
	}
}

// retry lets a writer try again that has failed.
func (b *bench) retry() { b.tried = -retryAfter }

// sees requires that a follower finds these batches after those that it knows, or nothing.
func (b *bench) sees(f *Follower, numbers ...uint64) {
	b.t.Helper()
	view, err := f.Read(b.marker, ours)
	require.NoError(b.t, err)
	var got []uint64
	for _, batch := range f.index.batches {
		got = append(got, batch.Number)
	}
	require.Equal(b.t, numbers, got)
	_, last := view.Last()
	require.Equal(b.t, b.number, last)
}

func (b *bench) seesNothing(f *Follower, why error) {
	b.t.Helper()
	_, err := f.Read(b.marker, ours)
	require.ErrorIs(b.t, err, ErrUnproved)
	require.ErrorIs(b.t, err, why)
}

func TestWriterAndFollower(t *testing.T) {
	b := newBench(t)
	var f Follower
	b.sees(&f)
	b.mustWrite(2)
	b.sees(&f, 1, 2)
	b.sees(&f, 1, 2)
	b.mustWrite(1)
	b.sees(&f, 1, 2, 3)
	var late Follower
	b.sees(&late, 1, 2, 3)
	require.NoError(t, b.Close())
	b.seesNothing(&f, errNobody)
	b.seesNothing(&Follower{}, errNobody)
	for _, name := range names {
		info, err := os.Stat(filepath.Join(b.top, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o644), info.Mode())
	}
	require.NoError(t, b.Begin(b.marker, ours))
	b.sees(&f)
	b.mustWrite(1)
	b.sees(&f, 4)
	b.sees(&late, 4)
}

// Nothing is written where nothing is stamped, nor before Begin.
func TestWriterThatHasNothingToWrite(t *testing.T) {
	b := newBench(t)
	before, err := os.ReadFile(b.name(0))
	require.NoError(t, err)
	require.NoError(t, b.Write(at(1), nil))
	after, err := os.ReadFile(b.name(0))
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.NoError(t, (&Writer{}).Write(at(1), []Line{{}}))
	var none *Writer
	require.NoError(t, none.Begin(b.marker, ours))
	require.NoError(t, none.Write(at(1), []Line{{}}))
	none.Drop()
	require.NoError(t, none.Close())
	(&Writer{}).Drop()
}

// Another tree's, another epoch's and another boot's journal is not used.
func TestJournalOfOthers(t *testing.T) {
	b := newBench(t)
	b.mustWrite(1)
	for _, tree := range []Tree{{ID: ours.ID, Epoch: 8}, {ID: "f" + ours.ID[1:], Epoch: 7}} {
		_, err := new(Follower).Read(b.marker, tree)
		require.ErrorIs(t, err, errOthers)
	}
	b.seesNothing(&Follower{boot: "another"}, errOthers)
	var f Follower
	b.sees(&f, 1)
	require.NoError(t, b.Begin(b.marker, Tree{ID: ours.ID, Epoch: 8}))
	b.seesNothing(&f, errOthers)
	view, err := f.Read(b.marker, Tree{ID: ours.ID, Epoch: 8})
	require.NoError(t, err)
	require.False(t, view.Reaches(at(99)))
}

// The rules of the lock: nobody believes a journal whose last batch could not be written,
// though no gap is to be seen yet; and what follows is another run.
func TestLockRules(t *testing.T) {
	b := newBench(t)
	var f Follower
	b.mustWrite(2)
	b.sees(&f, 1, 2)
	b.Drop()
	b.seesNothing(&f, errNobody)
	b.seesNothing(&Follower{}, errNobody)
	b.mustWrite(1)
	b.sees(&f, 4)
	b.Drop()
	b.Drop()
	b.mustWrite(1)
	b.sees(&f, 6)

	// The lock counts, not the file; and a lock that anybody may set does not.
	require.NoError(t, b.Close())
	file, err := os.Open(b.name(0))
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}))
	b.seesNothing(&f, errNobody)
	b.seesNothing(&Follower{}, errNobody)
}

// Another run empties the index, even if its batches would go on with the numbers.
func TestAnotherRun(t *testing.T) {
	b := newBench(t)
	var f Follower
	b.mustWrite(3)
	b.sees(&f, 1, 2, 3)
	view, err := f.Read(b.marker, ours)
	require.NoError(t, err)
	require.NoError(t, b.Begin(b.marker, ours))
	b.mustWrite(1)
	b.sees(&f, 4)
	require.False(t, view.Reaches(at(99)))
}

// A floor that falls begins another run: stamps are not in order over that.
func TestFloorGoesBack(t *testing.T) {
	b := newBench(t)
	var f Follower
	b.mustWrite(3)
	b.n = 1
	run := b.head.Run
	b.mustWrite(1)
	require.NotEqual(t, run, b.head.Run)
	b.sees(&f, 4)
	b.n--
	run = b.head.Run
	b.mustWrite(1)
	require.Equal(t, run, b.head.Run, "the same floor again")
}

// What a reader finds under the names of the files is used only if the writer is there, and
// the writer comes back.
func TestFilesThatAreReplaced(t *testing.T) {
	text := func(b *bench, i int) []byte {
		text, err := os.ReadFile(b.name(i))
		require.NoError(t, err)
		return text
	}
	var kept []byte // an earlier state of the file
	for name, harm := range map[string]func(b *bench) error{
		"removed": func(b *bench) error { return os.Remove(b.name(0)) },
		"replaced by an earlier state": func(b *bench) error {
			return os.WriteFile(b.name(0)+".new", kept, 0o644)
		},
		"replaced by itself": func(b *bench) error { return os.WriteFile(b.name(0)+".new", text(b, 0), 0o644) },
		"swapped":            func(b *bench) error { return unix.Renameat2(-1, b.name(0), -1, b.name(1), unix.RENAME_EXCHANGE) },
		"a symlink": func(b *bench) error {
			require.NoError(t, os.Rename(b.name(0), b.name(0)+".real"))
			return os.Symlink(names[0]+".real", b.name(0))
		},
		"cut":              func(b *bench) error { return os.Truncate(b.name(0), int64(len(kept))) },
		"an earlier state": func(b *bench) error { return os.WriteFile(b.name(0), kept, 0o644) },
		"emptied":          func(b *bench) error { return os.Truncate(b.name(0), 0) },
		"appended to": func(b *bench) error {
			return os.WriteFile(b.name(0), AppendBatch(text(b, 0), Batch{Number: 3, Floor: at(9), Lines: []Line{{}}}), 0o644)
		},
		"both removed": func(b *bench) error {
			require.NoError(t, os.Remove(b.name(1)))
			return os.Remove(b.name(0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			var f Follower
			b.mustWrite(1)
			kept = text(b, 0)
			b.mustWrite(1)
			b.sees(&f, 1, 2)
			require.NoError(t, harm(b))
			if _, err := os.Stat(b.name(0) + ".new"); err == nil {
				require.NoError(t, os.Rename(b.name(0)+".new", b.name(0)))
			}
			// A late reader has nothing, or all that was stamped.
			var late Follower
			if view, err := late.Read(b.marker, ours); err == nil {
				told := view.Told("d", at(1))
				require.True(t, told.Whole || slices.Equal([]string{"1", "2"}, told.Names), told)
			}
			run := b.head.Run
			b.mustWrite(1)
			require.NotEqual(t, run, b.head.Run)
			b.sees(&f, 3)
			b.sees(&late, 3)
			b.mustWrite(1)
			b.sees(&f, 3, 4)
		})
	}
}

// Files that were put back are the same ones.
func TestFilesThatArePutBack(t *testing.T) {
	b := newBench(t)
	var f Follower
	b.mustWrite(2)
	b.sees(&f, 1, 2)
	require.NoError(t, os.Rename(b.name(0), b.name(0)+".away"))
	b.seesNothing(&f, errNobody)
	require.NoError(t, os.Rename(b.name(0)+".away", b.name(0)))
	b.sees(&f, 1, 2)
	b.mustWrite(1)
	b.sees(&f, 1, 2, 3)
}

// Whatever is cut off a journal that is written, at any byte, nobody takes what is left for
// all of it.
func TestCutWhileItIsWritten(t *testing.T) {
	b := newBench(t)
	b.mustWrite(3)
	whole, err := os.ReadFile(b.name(0))
	require.NoError(t, err)
	for i := range whole {
		at := len(whole) - 1 - i
		require.NoError(t, os.Truncate(b.name(0), int64(at)))
		if view, err := new(Follower).Read(b.marker, ours); err == nil {
			require.False(t, view.Reaches(mtree.MaxStamp), "cut at %d", at)
		} else {
			require.ErrorIs(t, err, ErrUnproved, "cut at %d", at)
		}
	}
	require.NoError(t, os.WriteFile(b.name(0), whole, 0o644))
	var f Follower
	b.sees(&f, 1, 2, 3)
	for i := range whole { // who had it all before knows it all
		require.NoError(t, os.Truncate(b.name(0), int64(len(whole)-1-i)))
		if view, err := f.Read(b.marker, ours); err == nil {
			require.Equal(t, []string{"1", "2", "3"}, view.Told("d", at(1)).Names)
		}
	}
}

// A damaged batch is a gap: what is behind it is used, what is before it is not.
func TestDamagedBatch(t *testing.T) {
	b := newBench(t)
	b.mustWrite(1)
	before, err := os.Stat(b.name(0))
	require.NoError(t, err)
	b.mustWrite(1)
	after, err := os.Stat(b.name(0))
	require.NoError(t, err)
	b.mustWrite(2)
	whole, err := os.ReadFile(b.name(0))
	require.NoError(t, err)
	for i := before.Size(); i < after.Size(); i++ {
		for _, with := range []byte{0, '\n', '+', '-', 'x'} {
			if whole[i] == with {
				continue
			}
			changed := append([]byte(nil), whole...)
			changed[i] = with
			require.NoError(t, os.WriteFile(b.name(0), changed, 0o644))
			var f Follower
			view, err := f.Read(b.marker, ours)
			require.NoError(t, err, "%q at %d", with, i)
			_, last := view.Last()
			require.EqualValues(t, 4, last)
			require.False(t, view.Reaches(at(1)))
			if view.Reaches(at(3)) {
				require.Equal(t, []string{"3", "4"}, view.Told("d", at(3)).Names)
			}
			require.True(t, view.Reaches(at(4)))
		}
	}
	// Of the last one it is no gap that could be seen, but it is missing.
	whole[len(whole)-12] ^= 1
	require.NoError(t, os.WriteFile(b.name(0), whole, 0o644))
	var f Follower
	view, err := f.Read(b.marker, ours)
	require.NoError(t, err)
	run, last := view.Last()
	require.EqualValues(t, 4, last)
	require.False(t, view.Reaches(at(9)))
	_, ok := view.After(run, 3)
	require.False(t, ok)
	_, ok = view.After(run, 4)
	require.True(t, ok)
}

// A batch that is announced and not there at one reading is there at the next one, where the files
// come over a network. It is no gap.
func TestMissingOnce(t *testing.T) {
	b := newBench(t)
	b.mustWrite(3)
	whole, err := os.ReadFile(b.name(0))
	require.NoError(t, err)
	require.NoError(t, os.Truncate(b.name(0), int64(len(whole)-5)))
	f := Follower{boot: machine.BootID()}
	f.index.max = DefaultMemory
	f.index.reset("", 0)
	require.ErrorIs(t, f.readOnce(b.marker, ours), ErrAgain)
	require.NoError(t, os.WriteFile(b.name(0), whole, 0o644))
	b.sees(&f, 1, 2, 3)
}

// When a file has 4 MiB the other one takes over, and readers follow.
func TestTurnsOver(t *testing.T) {
	b := newBench(t)
	b.n = 1000
	f, late := Follower{MaxMemory: 1 << 30}, Follower{MaxMemory: 1 << 30}
	var files []int
	for i := range 40 {
		if len(files) == 0 || files[len(files)-1] != b.now {
			files = append(files, b.now)
		}
		b.mustWriteLarge()
		if i%3 == 0 {
			view, err := f.Read(b.marker, ours)
			require.NoError(t, err)
			require.Len(t, view.Told("d", at(1001)).Spans, i+1, "no batch is missing")
		}
		for _, name := range names {
			info, err := os.Stat(filepath.Join(b.top, name))
			require.NoError(t, err)
			require.LessOrEqual(t, info.Size(), int64(maxFile+maxBatch))
		}
	}
	require.GreaterOrEqual(t, len(files), 3)
	view, err := late.Read(b.marker, ours)
	require.NoError(t, err)
	require.Greater(t, len(late.index.batches), 5)
	require.Less(t, len(late.index.batches), 30, "the older files are gone")
	require.False(t, view.Reaches(at(1002)))
	require.True(t, view.Reaches(late.index.batches[0].Floor))
}

// mustWriteLarge writes a batch of about 300 KiB.
func (b *bench) mustWriteLarge() {
	b.t.Helper()
	b.n++
	lines := []Line{{Path: "d", Known: true, From: at(b.n), To: at(b.n), Names: []string{fmt.Sprint(b.n)}}}
	for i := range 1000 {
		lines = append(lines, Line{Path: fmt.Sprintf("%0200d", i), Names: []string{fmt.Sprintf("%0100d", b.n)}})
	}
	require.NoError(b.t, b.Write(at(b.n), lines))
}

// Readers never miss what was written before they began, however often the files turn over
// or the run ends meanwhile.
func TestTurnedOverWhileItIsRead(t *testing.T) {
	b := newBench(t)
	var written atomic.Int64 // the last batch that was written before its lock was given up
	var done atomic.Bool
	var readers sync.WaitGroup
	var proofs atomic.Int64
	f := &Follower{}
	for i := range 4 {
		own := f
		if i%2 == 0 {
			own = &Follower{MaxMemory: 1 << 20}
		}
		readers.Go(func() {
			for !done.Load() {
				before := written.Load() // as a stamp that is read
				view, err := own.Read(b.marker, ours)
				if err != nil {
					continue
				}
				if _, last := view.Last(); last != 0 && int64(last) < before {
					t.Errorf("batch %d is missing, the last one is %d", before, last)
					return
				}
				proofs.Add(1)
			}
		})
	}
	for i := range 150 {
		b.mustWriteLarge()
		written.Store(int64(b.number))
		for has := proofs.Load(); i%10 == 0 && proofs.Load() == has && !t.Failed(); {
			runtime.Gosched() // readers need not keep pace, but must be seen to read
		}
		if i%40 == 39 {
			b.Drop()
			written.Store(int64(b.number))
		}
	}
	done.Store(true)
	readers.Wait()
}

// A file that is emptied behind a reader has another head.
func TestEmptiedWhileItIsRead(t *testing.T) {
	b := newBench(t)
	b.mustWrite(2)
	r, err := openBoth(b.marker)
	require.NoError(t, err)
	defer r.close()
	var f Follower
	b.sees(&f, 1, 2)
	require.NoError(t, f.prove(r, 0))
	require.NoError(t, b.Begin(b.marker, ours))
	require.ErrorIs(t, f.prove(r, 0), ErrAgain, "the number of the lock is the same")
}

// What is no journal of ours is not read to its end.
func TestLargeFiles(t *testing.T) {
	b := newBench(t)
	b.mustWrite(1)
	require.NoError(t, os.Truncate(b.name(1), 2*maxFile+1))
	b.seesNothing(&Follower{}, errLarge)
	require.NoError(t, os.Truncate(b.name(1), 2*maxFile))
	var f Follower
	b.sees(&f, 1)
	b.write() // zeros behind it
	require.NoError(t, os.Truncate(b.name(0), 2*maxFile))
	view, err := f.Read(b.marker, ours)
	require.NoError(t, err)
	require.True(t, view.Reaches(at(1)))
	require.LessOrEqual(t, cap(f.buf), 16*chunk)
}

// A reader that has found the lock asks for it again behind the tail.
func TestLockThatIsGivenUpMeanwhile(t *testing.T) {
	b := newBench(t)
	b.mustWrite(1)
	var f Follower
	b.sees(&f, 1)
	r, err := openBoth(b.marker)
	require.NoError(t, err)
	defer r.close()
	require.NoError(t, f.prove(r, 0))
	b.Drop()
	require.ErrorIs(t, f.prove(r, 0), errNobody)
}

// Nor does it believe a lock that tells of what it has not found, or of less than it should.
func TestLockThatMovesMeanwhile(t *testing.T) {
	b := newBench(t)
	b.mustWrite(3)
	var f Follower
	b.sees(&f, 1, 2, 3)
	r, err := openBoth(b.marker)
	require.NoError(t, err)
	defer r.close()
	require.NoError(t, state.LockOffset(int(b.files[0].Fd()), 2))
	require.NoError(t, f.prove(r, 0), "the batch is written, and not announced yet")
	require.NoError(t, state.LockOffset(int(b.files[0].Fd()), 1))
	require.ErrorIs(t, f.prove(r, 0), ErrAgain)
	require.NoError(t, state.UnlockOffsets(int(b.files[0].Fd())))
	require.NoError(t, state.LockOffset(int(b.files[1].Fd()), 3))
	require.ErrorIs(t, f.prove(r, 0), ErrAgain, "the other file is appended to")
	require.NoError(t, f.prove(r, 1))
}

// Calls that wait for each other share a reading, but not one for another tree.
func TestReadingsAreShared(t *testing.T) {
	k, b := newFaulty(t)
	require.NoError(t, b.Begin(b.marker, ours))
	b.mustWrite(1)
	var f Follower
	f.mu.Lock()
	var done sync.WaitGroup
	for range 5 {
		done.Go(func() {
			view, err := f.Read(b.marker, ours)
			if _, last := view.Last(); err != nil || last != 1 {
				t.Errorf("%d %v", last, err)
			}
		})
	}
	for f.asked.Load() < 5 {
		runtime.Gosched()
	}
	k.Made("")
	f.mu.Unlock()
	done.Wait()
	require.Equal(t, 1, k.Made("open journal.0"))

	f.covered = 100
	_, err := f.Read(b.marker, Tree{ID: ours.ID, Epoch: 99})
	require.ErrorIs(t, err, errOthers)
}

// None takes one that began before it.
func TestReadingsBeforeACall(t *testing.T) {
	b := newBench(t)
	var f Follower
	for n := range 3 {
		b.mustWrite(1)
		view, err := f.Read(b.marker, ours)
		require.NoError(t, err)
		_, last := view.Last()
		require.EqualValues(t, n+1, last)
	}
}

// A reader needs no right to write, neither of the files nor of the file system.
func TestReadOnly(t *testing.T) {
	k, b := newFaulty(t)
	require.NoError(t, b.Begin(b.marker, ours))
	b.mustWrite(1)
	k.Machine.ReadOnly = true
	other := k.Machine.Start("reader", 1000)
	defer sys.Simulate(other)()
	root, err := disk.OpenRoot("/tree")
	require.NoError(t, err)
	m, err := state.OpenMarker(root, "")
	require.NoError(t, err)
	view, err := new(Follower).Read(m, ours)
	require.NoError(t, err)
	_, last := view.Last()
	require.EqualValues(t, 1, last)
}
