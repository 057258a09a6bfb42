package links

import (
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// rig is the marker of a copy, and its index.
type rig struct {
	t      *testing.T
	root   string
	marker *state.Marker
	*Index
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, root: t.TempDir()}
	dir, err := disk.OpenRoot(r.root)
	require.NoError(t, err)
	r.marker, err = state.CreateMarker(dir, "")
	require.NoError(t, err)
	r.open("root")
	t.Cleanup(func() {
		r.Close()
		_ = r.marker.Close()
		_ = dir.Close()
	})
	return r
}

func (r *rig) open(root string) {
	r.Index.close()
	var err error
	r.Index, err = Open(r.marker, root, slog.New(slog.DiscardHandler))
	require.NoError(r.t, err)
}

func (x *Index) close() {
	if x != nil {
		x.Close()
	}
}

func (r *rig) path() string { return filepath.Join(r.root, mtree.MarkerName, Name) }

// file is a name of a file that the copy has under an inode number.
func file(path string, same, node uint64) File {
	at := mtree.Unix(1_700_000_000, 5)
	return File{Path: path, Same: same, Size: 7, MTime: at, CTime: at, Node: node, Kept: mtree.Unix(1_800_000_000, int64(node))}
}

func (r *rig) requireFile(same uint64, want File) {
	r.t.Helper()
	f, ok := r.Find(same)
	require.True(r.t, ok)
	require.Equal(r.t, want, f)
}

func (r *rig) requireNone(same uint64) {
	r.t.Helper()
	_, ok := r.Find(same)
	require.False(r.t, ok)
}

func TestLines(t *testing.T) {
	for _, f := range []File{
		file("a", 1, 2),
		file("d/e "+"\xff\n", 1<<63, 1<<63),
		{Path: "x", Size: 1<<63 - 1, MTime: mtree.MinStamp, CTime: mtree.MaxStamp},
	} {
		line := string(appendLine(nil, &f, 77))
		got, before, ok := parseLine(strings.TrimSuffix(line, "\n"))
		require.True(t, ok, line)
		require.EqualValues(t, 77, before)
		require.Equal(t, f, got)
	}
	for _, path := range []string{"", "..", "/a", "a//b"} {
		f := file(path, 1, 2)
		_, _, ok := parseLine(strings.TrimSuffix(string(appendLine(nil, &f, 0)), "\n"))
		require.False(t, ok, path)
	}
	summed := func(text string) string { return fmt.Sprintf("%s %x", text, crc32.ChecksumIEEE([]byte(text))) }
	const good = "1 2 7 5.000000000 5.000000000 5.000000000 0 a"
	_, _, ok := parseLine(summed(good))
	require.True(t, ok)
	for _, line := range []string{
		"", " ", "x", " 0", good, good + " ", good + " x", summed(good) + " ", summed(good + " b"), summed(good[2:]),
		summed("x" + good), summed(strings.Replace(good, " 2 ", " x ", 1)), summed(strings.Replace(good, " 7 ", " x ", 1)),
		summed(strings.Replace(good, "5.000000000", "x", 1)), summed(strings.Replace(good, " 0 ", " x ", 1)), summed(good + "%2"),
	} {
		_, _, ok := parseLine(line)
		require.False(t, ok, line)
	}
}

func FuzzLine(f *testing.F) {
	line := file("d/e", 1, 2)
	f.Add(string(appendLine(nil, &line, 9)))
	f.Add("0 0 0 0 0 0 0 a 0")
	f.Fuzz(func(t *testing.T, text string) {
		file, before, ok := parseLine(text)
		if !ok {
			return
		}
		again, at, ok := parseLine(strings.TrimSuffix(string(appendLine(nil, &file, before)), "\n"))
		require.True(t, ok)
		require.Equal(t, file, again)
		require.Equal(t, before, at)
	})
}

// What was committed is there after a restart, and what was not is lost.
func TestCommit(t *testing.T) {
	r := newRig(t)
	r.Note(file("a", 1, 10))
	r.Note(file("b", 1, 10))
	r.Note(file("c", 2, 11))
	r.requireFile(1, file("b", 1, 10))
	r.Commit(false)
	r.Note(file("d", 2, 11))
	r.requireFile(2, file("d", 2, 11))
	size := r.file.size + int64(len(r.file.pending))
	r.Note(file("d", 2, 11))
	require.Equal(t, size, r.file.size+int64(len(r.file.pending)), "it is known")
	r.Note(file("b", 1, 10))
	r.Note(file("a", 1, 10))
	require.Equal(t, size, r.file.size+int64(len(r.file.pending)), "so is each name, whichever was noted last")
	r.open("root")
	r.requireFile(1, file("b", 1, 10))
	r.requireFile(2, file("c", 2, 11))
	f, ok := r.Of("a")
	require.True(t, ok)
	require.Equal(t, file("b", 1, 10), f, "as it is now")
	r.Leave("a")
	_, ok = r.Of("a")
	require.False(t, ok)
	r.Commit(false)
	r.open("root")
	_, ok = r.Of("a")
	require.False(t, ok)
}

func TestAnIndexOfAnotherRoot(t *testing.T) {
	r := newRig(t)
	r.Note(file("a", 1, 10))
	r.Commit(false)
	r.open("root")
	r.requireFile(1, file("a", 1, 10))
	r.open("another root")
	r.requireNone(1)
	r.open("root")
	r.requireNone(1)
}

// Whatever is cut off or damaged, what is left is what was written before it.
func TestAnIndexThatWasCut(t *testing.T) {
	r := newRig(t)
	for i := range uint64(4) {
		r.Note(file(fmt.Sprintf("f%d", i), i+1, i+100))
	}
	r.Commit(false)
	whole, err := os.ReadFile(r.path())
	require.NoError(t, err)
	for cut := range len(whole) {
		require.NoError(t, os.WriteFile(r.path(), whole[:cut], 0o644))
		r.open("root")
		is := 0
		for is < 4 {
			if _, ok := r.Find(uint64(is + 1)); !ok {
				break
			}
			is++
		}
		for i := is; i < 4; i++ {
			r.requireNone(uint64(i + 1))
		}
		require.Equal(t, max(0, strings.Count(string(whole[:cut]), "\n")-1), is)
		r.Note(file("new", 99, 999))
		r.Commit(false)
		r.open("root")
		r.requireFile(99, file("new", 99, 999))
	}
}

func TestALineThatIsDamaged(t *testing.T) {
	r := newRig(t)
	r.Note(file("a", 1, 10))
	r.Note(file("b", 2, 11))
	r.Note(file("c", 3, 12))
	r.Commit(false)
	whole, err := os.ReadFile(r.path())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(r.path(), []byte(strings.Replace(string(whole), "\n2 b ", "\n2 c ", 1)), 0o644))
	r.open("root")
	r.requireFile(1, file("a", 1, 10))
	r.requireNone(2)
	r.requireNone(3)
}

// A line that somebody made leads into no circle.
func TestLinesThatPointForward(t *testing.T) {
	r := newRig(t)
	f := file("a", 1, 10)
	at := r.file.add(&f, 1<<20)
	r.file.recent = nil
	r.index(&f, at)
	r.requireNone(1)
	_, is := r.named("a")
	require.False(t, is)
	require.False(t, r.isName("a")(at))
	_, place := r.files.find(r.hashFile(1), r.isFile(1))
	require.Zero(t, place)
	r.addBehind(behind{1, 10})
	require.Empty(t, r.Behind(everything))

	at = r.file.add(&f, r.file.size+int64(len(r.file.pending)))
	r.file.recent = nil
	_, _, err := r.file.at(at)
	require.ErrorIs(t, err, errLine, "it points at itself")
	for _, before := range []int64{0, 1} { // at itself, and beyond
		r.open("root")
		size := r.file.size
		require.NoError(t, os.WriteFile(r.path(), appendLine([]byte(r.file.head), &f, size+before), 0o644))
		r.open("root")
		require.Equal(t, size, r.file.size)
		info, err := os.Stat(r.path())
		require.NoError(t, err)
		require.Equal(t, size, info.Size(), "it is cut off")
	}
}

// everything says that the copy has each name as it was.
func everything(string, uint64) bool { return true }

// Names, and files, whose hashes are the same are told apart by their lines.
func TestLinesWithOneHash(t *testing.T) {
	r := newRig(t)
	r.Note(file("a", 1, 10))
	none := func(int64) bool { return false }
	at := r.newest(1).at
	require.True(t, r.isName("a")(at))
	require.False(t, r.isName("b")(at))
	r.names.put(r.hashName("b"), at, none)
	r.files.put(r.hashFile(2), at, none)
	r.requireNone(2)
	_, ok := r.Of("b")
	require.False(t, ok)
	_, place := r.files.find(r.hashFile(2), r.isFile(2))
	require.Zero(t, place)
	r.Note(file("b", 2, 11))
	require.Empty(t, r.Behind(everything))
	require.Empty(t, r.Left())
	r.requireFile(1, file("a", 1, 10))
	r.requireFile(2, file("b", 2, 11))
}

// The names of a file that still are what its newest name is.
func TestNamesOfAFile(t *testing.T) {
	r := newRig(t)
	require.Empty(t, r.Names(1, 10))
	for _, path := range []string{"a", "b", "c", "gone", "other"} {
		r.Note(file(path, 1, 10))
	}
	r.Leave("gone")
	r.Note(file("other", 2, 20))
	later := file("b", 1, 10)
	later.CTime = later.CTime.Add(1)
	r.Note(later)
	names := func(most int) (paths []string) {
		for _, f := range r.Names(1, most) {
			require.Equal(t, later.CTime, f.CTime, "as its newest name has it")
			paths = append(paths, f.Path)
		}
		return paths
	}
	require.Equal(t, []string{"b", "c", "a"}, names(10))
	require.Equal(t, []string{"b", "c"}, names(2))
	later.Node = 11
	r.Note(later)
	require.Equal(t, []string{"b"}, names(10), "the others are another file of the copy")
	r.Note(file("b", 1, 12))
	require.Empty(t, names(10), "its one name had a version that was not the last")
}

// Of a file with very many lines only the newest are looked at.
func TestAFileWithManyLines(t *testing.T) {
	r := newRig(t)
	r.Note(file("first", 1, 7))
	for node := range uint64(mostNames - 1) {
		r.Note(file("a", 1, 1000+node))
	}
	r.Note(file("a", 1, 7))
	require.Len(t, r.Names(1, 10), 1)
	clear(r.behind)
	r.addBehind(behind{1, 7})
	require.Empty(t, r.Behind(func(path string, _ uint64) bool { return path == "first" }))
}

// Names that left their files, and those that could not be looked at, are told once, by their directories.
func TestNamesThatLeft(t *testing.T) {
	r := newRig(t)
	one := file("new/d", 3, 30)
	one.CTime = mtree.Unix(-5, 0)
	r.Note(one)
	r.Note(file("new/d", 3, 31))
	r.Behind(everything)
	require.Empty(t, r.Left(), "it has the same file at the source")
	for _, path := range []string{"a/f", "b/f", "c/f"} {
		r.Note(file(path, 1, 10))
	}
	require.Empty(t, r.Behind(everything))
	require.Empty(t, r.Left())
	size := len(r.file.pending)
	r.Leave("nothing")
	require.Len(t, r.file.pending, size)
	require.Empty(t, r.Left())
	r.Leave("a/f")
	_, known := r.Find(0)
	require.False(t, known)
	r.Note(file("b/f", 2, 20))
	require.Equal(t, map[string]bool{"a": true, "b": true}, r.Left())
	require.Empty(t, r.Left())
	r.Note(file("a/f", 1, 10))
	require.Empty(t, r.Left(), "it had left before")

	require.Equal(t, map[string]bool{"a": true, "c": true}, r.Behind(everything))
	r.Doubt("u/f")
	require.Equal(t, map[string]bool{"u": true}, r.Behind(everything))
	require.Empty(t, r.Behind(everything))
	r.Leave("a/f")
	r.Doubt("u/f")
	r.Forget()
	require.Empty(t, r.left)
	require.Empty(t, r.behind)
	require.Empty(t, r.Behind(everything))
}

// Of a directory one name that shows what its file was is enough: the others are not looked at.
func TestNamesOfADirectory(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"d/a", "d/b", "e/c"} {
		r.Note(file(path, 1, 10))
	}
	r.Note(file("e/c", 1, 11))
	asked := 0
	require.Equal(t, map[string]bool{"d": true}, r.Behind(func(path string, _ uint64) bool { asked++; return path != "e/c" }))
	require.Equal(t, 2, asked)
}

// What waits to be told is bounded.
func TestNamesThatWaitAreBounded(t *testing.T) {
	r := newRig(t)
	for i := range mostBehind - 1 {
		path := fmt.Sprint(i)
		r.left[path], r.unsure[path], r.behind[behind{uint64(i), 1}] = true, true, true
	}
	for range 2 {
		for _, path := range []string{"a", "b"} {
			r.leave(&File{Path: path, Same: 1 << 40})
			r.Doubt(path + "/f")
		}
		require.Len(t, r.left, mostBehind)
		require.Len(t, r.unsure, mostBehind)
		r.addBehind(behind{1, 2})
		require.Len(t, r.behind, mostBehind)
	}
}

// The other names of a file are behind if one of them becomes another file, or one of another file.
func TestNamesThatAreBehind(t *testing.T) {
	r := newRig(t)
	r.Note(file("d/a", 1, 10))
	r.Note(file("e/b", 1, 10))
	r.Note(file("f/c", 1, 10))
	r.Note(file("g/other", 2, 20))
	all := func(path string, node uint64) bool { return node == 10 }
	require.Empty(t, r.Behind(all))

	r.Note(file("e/b", 1, 11))
	require.Equal(t, map[string]bool{"d": true, "f": true}, r.Behind(func(path string, node uint64) bool { return node == 10 && path != "e/b" }))
	require.Empty(t, r.Behind(all), "once")
	r.Note(file("e/b", 1, 12))
	require.Empty(t, r.Behind(func(string, uint64) bool { return false }))

	r.Note(file("f/c", 2, 20))
	require.Equal(t, map[string]bool{"d": true, "e": true}, r.Behind(func(path string, node uint64) bool { return node == 12 }))
	r.Leave("d/a")
	require.Equal(t, map[string]bool{"e": true}, r.Behind(func(path string, node uint64) bool { return node == 12 }))
}

// Two names of one file were listed at different times. What was listed last, by the ctime at the source,
// counts, and the other name is behind.
func TestANameOfAnEarlierVersion(t *testing.T) {
	r := newRig(t)
	first := file("old", 2, 20)
	first.CTime = mtree.Unix(-5, 0)
	r.Note(first)
	require.Empty(t, r.behind, "nothing was known of it")
	later := file("a", 1, 10)
	later.CTime = later.CTime.Add(1)
	r.Note(later)
	r.Note(file("d/b", 1, 11))
	r.requireFile(1, later)
	require.Equal(t, map[string]bool{"d": true}, r.Behind(func(path string, node uint64) bool { return path == "d/b" && node == 11 }))
	r.Note(file("a", 1, 12))
	r.requireFile(1, later)
	r.Commit(false)
	r.open("root")
	r.requireFile(1, later)
	f := file("c", 1, 10)
	r.Note(f)
	f.CTime = later.CTime
	r.requireFile(1, f)
}

// The source was rolled back, or its clock set back: the ctimes of its files are earlier than before. What a
// later pass lists counts all the same. Names stayed apart for ever.
func TestACTimeThatWentBack(t *testing.T) {
	r := newRig(t)
	later := file("a", 1, 10)
	later.CTime = later.CTime.Add(1)
	r.Note(later)
	b := file("b", 1, 11)
	listed := &mtree.Entry{Same: 1, CTime: b.CTime}
	require.True(t, r.KnowsLater(listed))
	r.Begin()
	require.False(t, r.KnowsLater(listed))
	r.Note(b)
	r.requireFile(1, b)
	require.Equal(t, map[string]bool{"": true}, r.Behind(func(path string, node uint64) bool { return path == "a" && node == 10 }))
	r.Note(later)
	r.Begin()
	r.Forget()
	r.Note(later)
	require.True(t, r.KnowsLater(listed), "it was noted in this pass")
	r.Begin()
	again := later
	again.Size++
	r.Note(again)
	require.True(t, r.KnowsLater(listed), "it is the first line of this pass")
	require.False(t, r.KnowsLater(&mtree.Entry{Same: 2}))
}

// A flush that failed, and a disk that is full: nothing is known then.
func TestForget(t *testing.T) {
	r := newRig(t)
	r.Note(file("a", 1, 10))
	r.Commit(false)
	r.Forget()
	r.requireNone(1)
	r.Note(file("b", 1, 10))
	r.Commit(false)
	r.open("root")
	r.requireFile(1, file("b", 1, 10))
	require.NoError(t, r.file.file.Close())
	r.Note(file("c", 2, 10))
	r.Commit(false)
	r.requireNone(1)
	r.Note(file("c", 2, 10))
	r.requireNone(2)
}

// The index against a map, over restarts. Most of its lines get out of date, so that it is written anew.
func TestIndexAgainstAModel(t *testing.T) {
	r := newRig(t)
	random := rand.New(rand.NewPCG(1, 1))
	names, nodes := map[string]uint64{}, map[uint64]uint64{}
	for step := range 40_000 {
		path, same := fmt.Sprintf("d%d/f", random.IntN(500)), uint64(1+random.IntN(300))
		switch random.IntN(10) {
		case 0:
			r.Leave(path)
			delete(names, path)
		case 1:
			nodes[same] = uint64(1 + step)
			fallthrough
		default:
			if nodes[same] == 0 {
				nodes[same] = uint64(1 + step)
			}
			r.Note(file(path, same, nodes[same]))
			names[path] = same
		}
		if step%10_000 == 9_999 {
			lines := r.file.size
			r.Commit(false)
			r.open("root")
			require.True(t, step < 30_000 || r.file.size < lines)
			require.Empty(t, r.behind)
		}
		if step%1000 != 0 {
			continue
		}
		for i := range 500 {
			path := fmt.Sprintf("d%d/f", i)
			f, ok := r.Of(path)
			same, is := names[path]
			require.Equal(t, is, ok)
			require.Equal(t, same, f.Same)
			require.True(t, !is || nodes[same] == f.Node)
		}
	}
}

// With too many names all are forgotten. The memory is bounded.
func TestTooManyNames(t *testing.T) {
	r := newRig(t)
	r.Note(file("a", 1, 10))
	r.names.n = mostSlots / 4 * 3
	r.Note(file("b", 2, 11))
	r.requireNone(1)
	r.requireFile(2, file("b", 2, 11))
	require.Len(t, r.names.slots, someSlots)
	r.files.n = mostSlots / 4 * 3 // each name was of many files
	r.Note(file("c", 3, 12))
	r.requireNone(2)

	// A file that somebody made.
	for _, n := range []*int{&r.names.n, &r.files.n} {
		r.Forget()
		*n = mostSlots / 4 * 3
		f := file("d", 4, 13)
		r.index(&f, r.file.add(&f, 0))
		*n = 0
		r.requireNone(4)
		_, is := r.named("d")
		require.False(t, is)
	}
}

// A table finds what was put there, however many there are, and looks at no other.
func TestTable(t *testing.T) {
	const many = 10_000
	var x table
	hashes := map[int64]uint64{}
	random := rand.New(rand.NewPCG(1, 1))
	looked := 0
	is := func(at int64) func(int64) bool { return func(is int64) bool { looked++; return is == at } }
	for at := int64(1); at <= many; at++ {
		if hashes[at] = random.Uint64(); at == 2 {
			hashes[at] = hashes[1]
		}
		x.put(hashes[at], at, is(at))
		require.EqualValues(t, at, x.n)
	}
	require.Less(t, looked, 10)
	for at, hash := range hashes {
		if at <= 2 {
			continue
		}
		looked = 0
		_, found := x.find(hash, is(at))
		require.Equal(t, at, found)
		require.Equal(t, 1, looked)
		_, found = x.find(hash, func(int64) bool { return false })
		require.Zero(t, found)
		x.put(hash, at+many, is(at))
	}
	require.Equal(t, many, x.n, "those were replaced")
	for at := int64(1); at <= 2; at++ {
		_, found := x.find(hashes[at], is(at))
		require.Equal(t, at, found, "both have one hash")
	}
	require.LessOrEqual(t, many, len(x.slots)/4*3)
}

// Nor does the file grow for ever, while a few names change again and again.
func TestAFileThatIsMostlyOutOfDate(t *testing.T) {
	r := newRig(t)
	r.Note(file("a", 1, 10))
	r.Commit(false)
	r.file.size = mostIdle
	r.Note(file("b", 2, 11))
	r.requireFile(1, file("a", 1, 10))
	r.file.size++
	r.Note(file("c", 3, 12))
	r.requireNone(1)
	r.requireFile(3, file("c", 3, 12))
	r.Commit(false)
	info, err := os.Stat(r.path())
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(1000))

	r.names.n = mostIdle/1024 + 1
	r.file.size = mostIdle + 1
	r.Note(file("d", 4, 13))
	r.requireFile(3, file("c", 3, 12))
}

// A file of which only the number of links changed may have other bytes.
func TestLinksOfAnotherVersion(t *testing.T) {
	f := file("a", 1, 10)
	e := mtree.Entry{Kind: mtree.File, Has: mtree.HasSame | mtree.HasCTime, Same: 1, Size: 7, MTime: f.MTime, CTime: f.CTime}
	require.True(t, f.IsOf(&e))
	for _, change := range []func(e *mtree.Entry){
		func(e *mtree.Entry) { e.CTime = e.CTime.Add(1) },
		func(e *mtree.Entry) { e.Has &^= mtree.HasCTime },
		func(e *mtree.Entry) { e.Has &^= mtree.HasSame },
		func(e *mtree.Entry) { e.Size++ },
		func(e *mtree.Entry) { e.MTime = e.MTime.Add(1) },
		func(e *mtree.Entry) { e.Same++ },
	} {
		other := e
		change(&other)
		require.False(t, f.IsOf(&other))
	}
}

// On a full disk the file stays as it is, with all that is known.
func TestAnIndexThatCannotBeWrittenAnew(t *testing.T) {
	r := newRig(t)
	for i := range uint64(10_100) {
		r.Note(file("a", 1, 10+i))
	}
	r.Commit(false)
	size := r.file.size
	require.NoError(t, os.MkdirAll(filepath.Join(r.root, mtree.MarkerName, "."+Name+".new", "x"), 0o755))
	r.open("root")
	require.Equal(t, size, r.file.size)
	require.False(t, r.IsNew())
	r.requireFile(1, file("a", 1, 10+10_099))
	require.NoError(t, os.RemoveAll(filepath.Join(r.root, mtree.MarkerName, "."+Name+".new")))
	r.open("root")
	require.Less(t, r.file.size, size)
	require.False(t, r.IsNew())
}
