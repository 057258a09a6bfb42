package journal

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tidemark/pkg/mtree"
)

// newIndex returns an index that is at the beginning of a run.
func newIndex(bytes int64) (*index, View) {
	x := &index{max: bytes}
	x.reset("run", 0)
	return x, View{x, "run"}
}

func at(n int) mtree.Stamp { return mtree.Unix(int64(n), 0) }

// model is an index without any cleverness: all batches that have no gap, and no floor that
// fell.
type model struct {
	batches []Batch
	behind  uint64
}

func (m *model) add(b Batch) {
	if n := len(m.batches); n > 0 {
		last := m.batches[n-1]
		if b.Number <= last.Number {
			return
		}
		if b.Number != last.Number+1 || b.Floor.Before(last.Floor) {
			m.batches = nil
		}
	} else if b.Number <= m.behind {
		return
	}
	if len(m.batches) == 0 {
		m.behind = b.Number - 1
	}
	m.batches = append(m.batches, b)
}

// counts returns the batches that may have given a stamp above s.
func (m *model) counts(s mtree.Stamp) (batches []Batch, ok bool) {
	if len(m.batches) == 0 || s.Before(m.batches[0].Floor) {
		return nil, false
	}
	for i, b := range m.batches {
		next := slices.IndexFunc(m.batches[i:], func(n Batch) bool { return n.Floor != b.Floor })
		if next < 0 || m.batches[i+next].Floor.After(s) {
			batches = append(batches, b)
		}
	}
	return batches, true
}

func (m *model) told(dir string, s mtree.Stamp) (t Told) {
	counts, ok := m.counts(s)
	if !ok {
		return Told{Whole: true, Below: true}
	}
	from := counts[0].Number // of the first batch of which a line is told
	defer func() { t.MayHide = !t.Below && m.stars(dir, from) }()
	var mine []Line
	var numbers []uint64 // of their batches
	var since int        // of mine, those that count
	for _, b := range m.batches {
		for _, l := range b.Lines {
			if l.Below && isBelow(dir, l.Path) && b.Number >= counts[0].Number {
				return Told{Whole: true, Below: true}
			}
			if l.Path == dir {
				mine, numbers = append(mine, l), append(numbers, b.Number)
				if b.Number >= counts[0].Number {
					since++
				}
			}
		}
	}
	first := len(mine) - since
	told := mine[first:]
	if since == 0 {
		return t
	}
	// Those before with the same To as the first one that has any.
	if i := slices.IndexFunc(told, func(l Line) bool { return l.Known }); i >= 0 {
		for j := first - 1; j >= 0; j-- {
			if mine[j].Known && mine[j].To != told[i].To {
				break
			}
			if mine[j].Known {
				first = j
			}
		}
		told = mine[first:]
	}
	from = min(from, numbers[first])
	unique := map[string]bool{}
	for _, l := range told {
		if l.Unknown {
			return Told{Whole: true}
		}
		for _, name := range l.Names {
			unique[bare(name)] = true
		}
		if n := len(t.Spans); l.Known && n > 0 && t.Spans[n-1].To == l.To {
			t.Spans[n-1].From = mtree.Earlier(t.Spans[n-1].From, l.From)
		} else if l.Known {
			t.Spans = append(t.Spans, mtree.Span{From: l.From, To: l.To})
		}
	}
	for name := range unique {
		t.Names = append(t.Names, name)
	}
	slices.Sort(t.Names)
	if len(told) > maxLines || len(unique) > MaxNames || len(t.Spans) == 0 {
		return Told{Whole: true}
	}
	return t
}

// stars reports whether somebody may have set who may read the directory, or one above it, in a batch
// from this number on.
func (m *model) stars(dir string, from uint64) bool {
	for _, b := range m.batches {
		for _, l := range b.Lines {
			if b.Number >= from && l.Unknown && (l.Below || !l.Known) && isBelow(dir, l.Path) {
				return true
			}
		}
	}
	return false
}

// TestIndexAgainstAModel: whatever comes, the index answers as all batches would that it
// still has.
func TestIndexAgainstAModel(t *testing.T) {
	dirs := []string{"", "a", "a/b", "a/b/c", "a-", "a-/b", "d"}
	rapid.Check(t, func(t *rapid.T) {
		bytes := rapid.SampledFrom([]int64{1 << 20, 6000}).Draw(t, "max")
		x, view := newIndex(bytes)
		m := &model{}
		var number uint64
		floor := 0
		for range rapid.IntRange(1, 25).Draw(t, "batches") {
			step := rapid.SampledFrom([]string{"next", "next", "next", "next", "next", "next", "next", "gap", "again", "back"}).Draw(t, "step")
			b := Batch{Number: number + 1}
			switch step {
			case "gap":
				b.Number++
			case "again":
				b.Number = max(number, 1)
			case "back":
				floor = rapid.IntRange(0, floor).Draw(t, "floor")
			}
			floor += rapid.IntRange(0, 3).Draw(t, "rise")
			b.Floor, number = at(floor), max(number, b.Number)
			for range rapid.IntRange(0, 4).Draw(t, "lines") {
				b.Lines = append(b.Lines, drawLine(t, dirs, floor))
			}
			text := AppendBatch(nil, b)
			parsed, n, err := ParseBatch(text)
			require.NoError(t, err)
			x.add(parsed, n)
			m.add(parsed)
			for m.batches != nil && len(m.batches) > len(x.batches) { // it may forget, but the oldest only
				m.behind, m.batches = m.batches[0].Number, m.batches[1:]
			}
			if bytes > 10000 {
				require.Equal(t, m.behind, x.behind, "nothing was forgotten")
			}
			require.LessOrEqual(t, x.size, bytes)
			compare(t, view, m, dirs, floor)
		}
	})
}

func drawLine(t *rapid.T, dirs []string, floor int) Line {
	l := Line{Path: rapid.SampledFrom(dirs).Draw(t, "dir")}
	if l.Known = rapid.IntRange(0, 3).Draw(t, "known") > 0; l.Known {
		to := rapid.IntRange(max(0, floor-2), floor+1).Draw(t, "to")
		l.From, l.To = at(rapid.IntRange(max(0, to-2), to).Draw(t, "from")), at(to)
	}
	switch rapid.IntRange(0, 15).Draw(t, "kind") {
	case 0:
		l.Unknown = true
	case 1:
		l.Unknown, l.Below = true, true
	default:
		l.Names = inOrder(rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y", "y/", "z", "a b"}), 0, 3).Draw(t, "names"))
	}
	return l
}

func compare(t *rapid.T, view View, m *model, dirs []string, floor int) {
	for s := -1; s <= floor+1; s++ {
		counts, ok := m.counts(at(s))
		require.Equal(t, ok, view.Reaches(at(s)))
		since, ok2 := view.Since(at(s))
		require.Equal(t, ok, ok2)
		require.ElementsMatch(t, counts, since)
		for _, dir := range dirs {
			require.Equal(t, m.told(dir, at(s)), normal(view.Told(dir, at(s))), "%q since %d", dir, s)
			var want []string
			for _, b := range counts {
				for _, l := range b.Lines {
					if isBelow(l.Path, dir) && !slices.Contains(want, l.Path) {
						want = append(want, l.Path)
					}
				}
			}
			slices.SortFunc(want, mtree.TreeOrder)
			got, ok2 := view.Dirs(dir, at(s))
			require.Equal(t, ok, ok2)
			require.ElementsMatch(t, want, got)
			require.True(t, slices.IsSortedFunc(got, mtree.TreeOrder))
		}
	}
	run, last := view.Last()
	require.Equal(t, "run", run)
	for n := uint64(0); n <= last+1; n++ {
		got, ok := view.After("run", n)
		require.Equal(t, n >= m.behind && n <= last, ok)
		for i, b := range got {
			require.Equal(t, n+1+uint64(i), b.Number)
		}
		if ok {
			require.Len(t, got, int(last-n))
		}
	}
}

// normal is an answer without the difference between no names and none.
func normal(t Told) Told {
	if len(t.Names) == 0 {
		t.Names = nil
	}
	return t
}

// A batch that does not follow the last one, or whose floor fell, begins the index anew.
func TestIndexWithAGap(t *testing.T) {
	line := func(name string, to int) []Line {
		return []Line{{Path: "d", Known: true, From: at(to), To: at(to), Names: []string{name}}}
	}
	for _, second := range []Batch{{Number: 3, Floor: at(20), Lines: line("y", 15)}, {Number: 2, Floor: at(9), Lines: line("y", 8)}} {
		x, view := newIndex(DefaultMemory)
		x.add(Batch{Number: 1, Floor: at(10), Lines: line("x", 5)}, 100)
		require.Equal(t, []string{"x"}, view.Told("d", at(10)).Names)
		x.add(second, 100)
		require.Equal(t, second.Floor == at(9), view.Reaches(at(10)))
		require.False(t, view.Reaches(second.Floor.Add(-1)))
		require.Equal(t, []string{"y"}, view.Told("d", second.Floor).Names)
		_, ok := view.After("run", 1)
		require.Equal(t, second.Number == 2, ok)
	}
}

// An index does not speak for a time from which it has nothing.
func TestIndexReachesBack(t *testing.T) {
	x, view := newIndex(DefaultMemory)
	refused := func(s mtree.Stamp) {
		t.Helper()
		require.False(t, view.Reaches(s))
		require.Equal(t, Told{Whole: true, Below: true}, view.Told("d", s))
		_, ok := view.Dirs("", s)
		require.False(t, ok)
		_, ok = view.Since(s)
		require.False(t, ok)
	}
	refused(at(10)) // an empty one knows no floor
	x.add(Batch{Number: 1, Floor: at(10), Lines: []Line{{Path: "d", Known: true, Names: []string{"x"}}}}, 100)
	refused(at(10).Add(-1))
	require.Equal(t, []string{"x"}, view.Told("d", at(10)).Names)
}

// Batches that gave stamps to one directory twice: a reader may have listed it in between.
func TestStampInTheMiddleOfABatch(t *testing.T) {
	x, view := newIndex(DefaultMemory)
	for i, floor := range []int{10, 20, 30} {
		x.add(Batch{Number: uint64(i + 1), Floor: at(floor), Lines: []Line{{Path: "d", Known: true, From: at(floor - 5), To: at(floor - 5), Names: []string{fmt.Sprint(floor)}}}}, 100)
	}
	names := func(s mtree.Stamp) []string { return view.Told("d", s).Names }
	require.Equal(t, []string{"10", "20", "30"}, names(at(10)))
	require.Equal(t, []string{"10", "20", "30"}, names(at(15)), "between what the first batch stamped")
	require.Equal(t, []string{"20", "30"}, names(at(20)))
	require.Equal(t, []string{"30"}, names(at(30)))
	require.Equal(t, []string{"30"}, names(at(99)), "the last one always counts")
}

// Names that are not known are no sign that others were hidden, where the line has a span.
func TestStarsThatHideNothing(t *testing.T) {
	for _, known := range []bool{true, false} {
		x, view := newIndex(DefaultMemory)
		x.add(Batch{Number: 1, Floor: at(10), Lines: []Line{
			{Path: "a/b", Known: true, Names: []string{"x"}}, {Path: "a", Known: known, Unknown: true},
		}}, 100)
		require.Equal(t, !known, view.Told("a/b", at(10)).MayHide)
		require.Equal(t, !known, view.IsStarred("a/b", 0))
		require.True(t, view.Told("a", at(10)).Whole)
	}
}

// A line that is told with a later one, because both have the same To, is from before somebody set
// who may read the directory.
func TestStarsSinceTheFirstLine(t *testing.T) {
	x, view := newIndex(DefaultMemory)
	x.add(Batch{Number: 1, Floor: at(10), Lines: []Line{{Path: "a/b", Known: true, From: at(5), To: at(5), Names: []string{"x"}}}}, 100)
	x.add(Batch{Number: 2, Floor: at(20), Lines: []Line{{Path: "a", Unknown: true}}}, 100)
	x.add(Batch{Number: 3, Floor: at(30), Lines: []Line{{Path: "a/b", Known: true, From: at(5), To: at(5), Names: []string{"y"}}}}, 100)
	told := view.Told("a/b", at(30))
	require.Equal(t, []string{"x", "y"}, told.Names)
	require.True(t, told.MayHide)
}

// All batches of one pass of a mirror have the floor of that pass.
func TestBatchesWithOneFloor(t *testing.T) {
	x, view := newIndex(DefaultMemory)
	for i, floor := range []int{10, 20, 20, 20, 30} {
		x.add(Batch{Number: uint64(i + 1), Floor: at(floor), Lines: []Line{{Path: fmt.Sprint(i), Known: true}}}, 100)
	}
	dirs, ok := view.Dirs("", at(20))
	require.True(t, ok)
	require.Equal(t, []string{"1", "2", "3", "4"}, dirs)
}

// A stamp that was not written between two lines does not tell which of them a reader has.
func TestLinesWithOneToAreToldTogether(t *testing.T) {
	x, view := newIndex(DefaultMemory)
	for i, l := range []Line{
		{Known: true, From: at(1), To: at(1), Names: []string{"before"}},
		{Known: true, From: at(3), To: at(5), Names: []string{"a"}},
		{Names: []string{"b"}},
		{Known: true, From: at(4), To: at(5), Names: []string{"c"}},
	} {
		l.Path = "d"
		x.add(Batch{Number: uint64(i + 1), Floor: at(10 * (i + 1)), Lines: []Line{l}}, 100)
	}
	require.Equal(t, Told{Spans: []mtree.Span{{From: at(3), To: at(5)}}, Names: []string{"a", "b", "c"}}, view.Told("d", at(40)))
}

func TestToldIsBounded(t *testing.T) {
	x, view := newIndex(DefaultMemory)
	n := 0
	add := func(names ...string) {
		n++
		x.add(Batch{Number: uint64(n), Floor: at(n), Lines: []Line{{Path: "d", Known: true, From: at(n), To: at(n), Names: names}}}, 100)
	}
	for range maxLines {
		add("x")
	}
	require.Len(t, view.Told("d", at(1)).Spans, maxLines)
	add("x")
	require.Equal(t, Told{Whole: true}, view.Told("d", at(1)))

	x, view = newIndex(DefaultMemory)
	n = 0
	for i := range MaxNames / 10 {
		var names []string
		for j := range 10 {
			names = append(names, fmt.Sprintf("%04d", 10*i+j))
		}
		add(names...)
	}
	require.Len(t, view.Told("d", at(1)).Names, MaxNames)
	add("x")
	require.Equal(t, Told{Whole: true}, view.Told("d", at(1)))
}

// Readers ask for many directories while others wait: what has too many names is given up early.
func TestToldGivesUpEarly(t *testing.T) {
	x, view := newIndex(1 << 30)
	for n := range maxLines {
		var names []string
		for i := range MaxNames {
			names = append(names, fmt.Sprintf("%03d-%03d", n, i))
		}
		x.add(Batch{Number: uint64(n + 1), Floor: at(n), Lines: []Line{{Path: "d", Known: true, From: at(n), To: at(n), Names: names}}}, 100)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.Equal(t, Told{Whole: true}, view.Told("d", at(0)))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

// The index stays within its bytes, and forgets nothing but the oldest batches.
func TestIndexIsBounded(t *testing.T) {
	x, view := newIndex(100_000)
	for i := range 1000 {
		b := Batch{Number: uint64(i + 1), Floor: at(i), Lines: []Line{{Path: fmt.Sprint("d", i%50), Known: true, Names: []string{"x"}}, {Path: "", Known: true, Names: []string{"d/"}}}}
		text := AppendBatch(nil, b)
		parsed, n, err := ParseBatch(text)
		require.NoError(t, err)
		x.add(parsed, n)
		require.LessOrEqual(t, x.memory(), int64(100_000))
	}
	require.Greater(t, x.memory(), int64(80_000))
	require.Greater(t, len(x.batches), 100)
	batches, ok := view.Since(at(1000))
	require.True(t, ok)
	require.Len(t, batches, 1)
	for range 2 { // one that is too large for the index leaves nothing
		x.add(Batch{Number: x.last + 1, Floor: at(1000), Lines: []Line{{Path: "d"}}}, 100_000)
		require.Zero(t, x.memory())
		require.Empty(t, x.dirs)
		require.False(t, view.Reaches(at(2000)))
	}
	batches, ok = view.After("run", x.last)
	require.True(t, ok)
	require.Empty(t, batches)
}

// What is forgotten leaves no "**", no key and no bytes behind.
func TestIndexForgets(t *testing.T) {
	x, _ := newIndex(4000)
	for i := range 200 {
		x.add(Batch{Number: uint64(i + 1), Floor: at(i), Lines: []Line{{Path: strings.Repeat("d", i%7), Unknown: true, Below: true}}}, 100)
	}
	var paths []string
	for _, b := range x.batches {
		paths = append(paths, b.Lines[0].Path)
	}
	slices.Sort(paths)
	require.Len(t, x.dirs, len(slices.Compact(paths)))
	require.Len(t, x.covers, len(x.dirs))

	x, _ = newIndex(DefaultMemory)
	for i := range 3 {
		x.add(Batch{Number: uint64(i + 1), Floor: at(i), Lines: []Line{{Path: strings.Clone("a/directory")}}}, 100)
	}
	refs := x.dirs["a/directory"] // the key is that of the last line, and must not keep its batch's text
	require.Same(t, unsafe.StringData(refs[0].line.Path), unsafe.StringData(refs[2].line.Path))

	x, _ = newIndex(2000)
	first := Batch{Number: 1, Floor: at(1), Lines: []Line{{Unknown: true}}}
	x.add(first, 100)
	line := x.dirs[""][0].line
	x.add(Batch{Number: 2, Floor: at(2), Lines: []Line{{Unknown: true}}}, 100)
	array := x.dirs[""] // of the lines, with the first that goes
	require.Same(t, line, array[0].line)
	for i := 3; x.batches[0].Number == 1; i++ {
		x.add(Batch{Number: uint64(i), Floor: at(i), Lines: []Line{{Path: "d", Unknown: true}}}, 100)
	}
	require.Nil(t, array[0].line, "its array keeps no line that went")
	require.Same(t, array[1].line, x.dirs[""][0].line)
}

func TestViewOfAnotherRun(t *testing.T) {
	x, view := newIndex(DefaultMemory)
	x.add(Batch{Number: 1, Floor: at(1), Lines: []Line{{Path: "d", Known: true}}}, 100)
	require.True(t, view.Reaches(at(1)))
	x.reset("next", 0)
	x.add(Batch{Number: 1, Floor: at(1), Lines: []Line{{Path: "d", Known: true}}}, 100)
	for _, v := range []View{view, {}} {
		require.False(t, v.Reaches(at(1)))
		require.True(t, v.Told("d", at(1)).Whole)
		_, ok := v.Dirs("", at(1))
		require.False(t, ok)
		_, ok = v.Since(at(1))
		require.False(t, ok)
		_, ok = v.After("run", 0)
		require.False(t, ok)
		_, ok = v.After(v.run, 0)
		require.False(t, ok)
		_, last := v.Last()
		require.Zero(t, last)
	}
	now := View{x, "next"}
	_, ok := now.After("run", 0)
	require.False(t, ok, "a number of another run")
	require.True(t, now.Reaches(at(1)))
}
