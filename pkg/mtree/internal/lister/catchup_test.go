package lister

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

// overtaken is a directory in which something happens during each reading, at the look at the
// name "m". Its Lister knows which names that were.
type overtaken struct {
	t       *testing.T
	top     string
	d       *disk.Dir
	l       Lister
	at      int64 // its time
	happen  func(reading int)
	reading int
	names   []string // what Changed tells
	err     error
	asked   []mtree.Stamp
}

func newOvertaken(t *testing.T, names ...string) *overtaken {
	o := &overtaken{t: t, top: t.TempDir(), at: 1000}
	for _, name := range append(names, "m") {
		disktest.Write(t, o.top+"/"+name, name)
	}
	o.d = disktest.OpenRoot(t, o.top)
	o.stamp()
	o.l = Lister{
		Exclude: func(path string, _ bool) bool {
			if path == "m" {
				o.reading++
				o.happen(o.reading)
			}
			return path == "out"
		},
		Changed: func(path string, stamp mtree.Stamp) ([]string, error) {
			require.Equal(t, "", path)
			o.asked = append(o.asked, stamp)
			return o.names, o.err
		},
	}
	return o
}

// stamp gives the directory a later time.
func (o *overtaken) stamp() {
	o.at++
	require.NoError(o.t, o.d.SetTime(mtree.Unix(o.at, 0)))
}

// write writes a file, and the directory is stamped.
func (o *overtaken) write(name string) {
	disktest.Write(o.t, o.top+"/"+name, "new")
	o.stamp()
}

// remove removes a file, and the directory is stamped.
func (o *overtaken) remove(name string) {
	require.NoError(o.t, os.Remove(o.top+"/"+name))
	o.stamp()
}

// still reads the directory, in which nothing happens now.
func (o *overtaken) still() mtree.Listing {
	l := o.l
	l.Exclude = func(path string, _ bool) bool { return path == "out" }
	listing, err := l.Read(o.d, "")
	require.NoError(o.t, err)
	return listing
}

// read reads the directory while things happen.
func (o *overtaken) read() mtree.Listing {
	listing, err := o.l.Read(o.d, "")
	require.NoError(o.t, err)
	return listing
}

// A large directory that changed all the time was hot after each reading, so no copy of it was
// ever complete, and each change was answered with the whole listing.
func TestCatchUp(t *testing.T) {
	o := newOvertaken(t, "a", "b", "n", "z", ".dot")
	o.happen = func(reading int) {
		if reading < readTries {
			o.stamp()
		}
		if reading == readTries {
			o.remove("a")    // it was looked at
			o.remove("n")    // it will be, in vain
			o.write("b")     // its entry is old
			o.write("A")     // new: before all, between, behind all
			o.write("c")     //
			o.write("zz")    //
			o.write("out")   // left out by a rule, and counted
			o.write(".x")    // hidden, and counted
			o.remove(".dot") // hidden, and no longer counted
			o.names = []string{".dot", ".x", "A", "a", "b", "c", "gone", "n", "out", "zz"}
		}
	}
	got, want := o.read(), o.still()
	require.False(t, got.Hot)
	require.Equal(t, readTries, o.reading, "only what changed is looked at again")
	got.Now, want.Now = mtree.Stamp{}, mtree.Stamp{}
	require.Equal(t, want, got)
	require.Equal(t, mtree.Unix(o.at, 0), got.Stamp)
	require.EqualValues(t, 2, got.Hidden)
	require.EqualValues(t, 1, got.Excluded)
	require.Equal(t, []mtree.Stamp{mtree.Unix(1003, 0)}, o.asked, "since the stamp that was read first")
}

// Where it is not known what changed, the listing is hot as ever.
func TestCatchUpWhereNothingIsKnown(t *testing.T) {
	o := newOvertaken(t, "a")
	o.happen = func(int) { o.stamp() }
	o.err = errors.New("no journal")
	l := o.read()
	require.True(t, l.Hot)
	require.Equal(t, mtree.Unix(1003, 0), l.Stamp)
	require.Len(t, o.asked, 1)
	o.l.Changed = nil
	o.read()
	require.True(t, o.read().Hot)
}

// The names are written down a moment after the change.
func TestCatchUpWaits(t *testing.T) {
	o := newOvertaken(t, "a")
	o.happen = func(int) { o.write("new") }
	o.err = ErrEarly
	o.l.Changed = func(string, mtree.Stamp) ([]string, error) {
		if len(o.asked) == 3 {
			o.names, o.err = []string{"new"}, nil
		}
		o.asked = append(o.asked, mtree.Stamp{})
		return o.names, o.err
	}
	l := o.read()
	require.False(t, l.Hot)
	require.Len(t, l.Entries, 3)
	require.Len(t, o.asked, 4)

	o.l.Changed = func(string, mtree.Stamp) ([]string, error) { return nil, ErrEarly }
	require.True(t, o.read().Hot, "it waits for a moment only")
}

// A look that is overtaken, too, proves nothing. The next one asks for all names since the first
// stamp again.
func TestCatchUpTriesAgain(t *testing.T) {
	o := newOvertaken(t, "a", "m2", "m3")
	o.happen = func(int) { o.write("new") }
	tries := 0
	o.l.Changed = func(_ string, stamp mtree.Stamp) ([]string, error) {
		tries++
		switch tries {
		case 1:
			o.happen = func(reading int) {
				if reading == readTries+1 {
					o.remove("m3")
				}
			}
			return []string{"m", "new"}, nil
		case 2:
			return []string{"m", "m3", "new"}, nil
		}
		return nil, fmt.Errorf("asked %d times", tries)
	}
	l := o.read()
	require.False(t, l.Hot)
	require.Equal(t, 2, tries)
	require.Len(t, l.Entries, 4)
	require.Equal(t, mtree.Unix(o.at, 0), l.Stamp)
}

// The time of a directory that refuses its stamp says nothing.
func TestCatchUpWithExceptions(t *testing.T) {
	o := newOvertaken(t, "a")
	o.happen = func(int) { o.stamp() }
	info, err := o.d.Self()
	require.NoError(t, err)
	stamps := map[string]state.Refusal{}
	o.l.Exceptions = func() (*state.Exceptions, error) {
		return &state.Exceptions{Stamps: stamps}, nil
	}
	require.False(t, o.read().Hot)
	o.l.Changed = func(string, mtree.Stamp) ([]string, error) {
		if len(stamps) > 0 {
			return nil, nil
		}
		stamps[""] = state.Refusal{Inode: info.Node.Ino, Stamp: mtree.Unix(5000, 0)}
		return nil, ErrEarly
	}
	require.True(t, o.read().Hot)

	// An entry refused its stamp when the reading began, and shows it now: no line tells of that.
	clear(stamps)
	stamps["a"] = state.Refusal{Inode: 1, Stamp: mtree.Unix(5000, 0)}
	o.l.Changed = func(string, mtree.Stamp) ([]string, error) {
		clear(stamps)
		return nil, nil
	}
	o.reading = 0
	calls := 0
	o.l.Exceptions = func() (*state.Exceptions, error) {
		if calls++; calls > 2*readTries-1 {
			return nil, nil
		}
		return &state.Exceptions{Stamps: map[string]state.Refusal{"a": stamps["a"]}}, nil
	}
	require.True(t, o.read().Hot)

	// Nor if it refused it only while the reading caught up: the journal may say nothing at the next try.
	o.reading, calls = 0, 0
	o.l.Changed = func(string, mtree.Stamp) ([]string, error) { return nil, nil }
	o.l.Exceptions = func() (*state.Exceptions, error) {
		if calls++; calls != 2*readTries+1 {
			return nil, nil
		}
		return &state.Exceptions{Stamps: map[string]state.Refusal{"a": {Inode: 1, Stamp: mtree.Unix(5000, 0)}}}, nil
	}
	require.True(t, o.read().Hot)
	require.Equal(t, 2*readTries+1, calls)
}

// A copy fell into doubt while it was read, and was trusted again by the end. No journal tells what
// came with the options that it has now.
func TestCatchUpInDoubt(t *testing.T) {
	for _, doubted := range []bool{false, true} {
		o := newOvertaken(t, "a")
		doubt := func(in bool) {
			stamp := mtree.MinStamp.Add(2 << 8)
			if in {
				stamp = stamp.Add(records.DoubtBelow)
			}
			require.NoError(t, records.Set(o.d, records.Record{Stamp: stamp}))
		}
		o.l.MayBeCopy, o.l.Root = true, o.d
		o.happen = func(reading int) {
			o.stamp()
			doubt(doubted && reading == readTries)
		}
		o.l.Changed = func(string, mtree.Stamp) ([]string, error) {
			doubt(false)
			return nil, nil
		}
		require.Equal(t, doubted, o.read().Hot)
	}
}

// What cannot be read while a reading catches up is no listing, and is not tried until the time is over.
func TestCatchUpThatFails(t *testing.T) {
	for _, fails := range []int{2*readTries + 1, 2*readTries + 2} {
		o := newOvertaken(t, "a")
		o.happen = func(int) { o.stamp() }
		calls := 0
		o.l.Exceptions = func() (*state.Exceptions, error) {
			if calls++; calls == fails {
				return nil, errors.New("unreadable")
			}
			return nil, nil
		}
		_, err := o.l.Read(o.d, "")
		require.ErrorContains(t, err, "unreadable")
		require.Equal(t, fails, calls)
	}
}

// A large directory is not read three times before.
func TestCatchUpOfManyNames(t *testing.T) {
	o := newOvertaken(t)
	for i := range manyNames - 1 { // and m
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/f%d", o.top, i), nil, 0o644))
	}
	o.stamp()
	o.happen = func(int) { o.write("new") }
	o.names = []string{"new"}
	l := o.read()
	require.False(t, l.Hot)
	require.Equal(t, 1, o.reading)
	require.Len(t, l.Entries, manyNames+1)

	asked := len(o.asked)
	o.still()
	require.Len(t, o.asked, asked, "it is at rest")
}

// What is seen of some names takes the place of what was seen before, in the order of names.
func TestReplace(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 0))
		have, by := seen(r, 12), seen(r, 12)
		want := map[string]mtree.Entry{}
		for _, p := range []*present{have, by} {
			for i, n := range p.names.names {
				name := string(p.names.bytes(n))
				if delete(want, name); n.disposition == listed {
					want[name] = p.entries[i]
				}
			}
		}
		have.replace(by)
		var listing mtree.Listing
		have.store(&listing)
		got := map[string]mtree.Entry{}
		for _, e := range listing.Entries {
			got[e.Name] = e
		}
		require.Equal(t, want, got, seed)
		require.Equal(t, slices.Sorted(maps.Keys(want)), namesOf(listing.Entries), seed)
	}
}

// seen returns some names of n, and some of what they may be.
func seen(r *rand.Rand, n int) *present {
	t, p := &nameTable{}, &present{}
	for i := range n {
		if r.IntN(2) == 0 {
			t.add(fmt.Sprintf("name-%02d", i))
		}
	}
	t.sort()
	for i := range t.names {
		e := mtree.Entry{}
		if t.names[i].disposition = []disposition{vanished, listed, listed, excluded}[r.IntN(4)]; t.names[i].disposition == listed {
			e = mtree.Entry{Name: string(t.bytes(t.names[i])), Size: r.Int64N(1000)}
		}
		p.entries = append(p.entries, e)
	}
	p.names = t
	return p
}

func namesOf(entries []mtree.Entry) (names []string) {
	for i := range entries {
		names = append(names, entries[i].Name)
	}
	return names
}
