package journal

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tidemark/pkg/mtree"
)

var someHead = Head{Tree: Tree{ID: strings.Repeat("a1", 16), Epoch: 1700000000}, Boot: "0b6f2c1e-8c1a-4a61-9c57-0d8a8d9e0f11", Run: "0123456789abcdef", Number: 7}

func TestFormat(t *testing.T) {
	b := Batch{Number: 7, Floor: mtree.Unix(100, 5), Lines: []Line{
		{Path: "", Known: true, From: mtree.Unix(99, 0), To: mtree.Unix(100, 5), Names: []string{"a/", "b b"}},
		{Path: "a/c d", Known: true, From: mtree.Unix(-1, 0), To: mtree.Unix(-1, 0), Names: []string{"*"}},
		{Path: "a", Unknown: true},
		{Path: "e", Unknown: true, Below: true},
		{Path: "f"},
	}}
	text := AppendBatch(AppendHead(nil, someHead), b)
	require.Equal(t, "#journal 1\ta1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1\t1700000000\t0b6f2c1e-8c1a-4a61-9c57-0d8a8d9e0f11\t0123456789abcdef\t7\n"+
		"+7\t100.000000005\n"+
		"./\t99.000000000\t100.000000005\ta/\tb%20b\n"+
		"./a/c%20d/\t-1.000000000\t-1.000000000\t%2A\n"+
		"./a/\t-\t-\t*\n"+
		"./e/\t-\t-\t**\n"+
		"./f/\t-\t-\n"+
		"-fa6515e9\n", string(text))
	h, n, err := ParseHead(text)
	require.NoError(t, err)
	require.Equal(t, someHead, h)
	got, m, err := ParseBatch(text[n:])
	require.NoError(t, err)
	require.Equal(t, len(text), n+m)
	require.Equal(t, b, got)
}

// What is read is what was written, whatever the names are.
func TestFormatOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBatch(t)
		text := AppendBatch(nil, b)
		got, n, err := ParseBatch(append(bytes.Clone(text), "+8\t1.0"...))
		require.NoError(t, err, "%q", text)
		require.Equal(t, len(text), n)
		require.Equal(t, b, got)
		require.Equal(t, text, AppendBatch(nil, got))
	})
}

func drawBatch(t *rapid.T) Batch {
	stamp := rapid.Custom(func(t *rapid.T) mtree.Stamp {
		return mtree.Unix(rapid.Int64Range(-5, 5).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "nsec"))
	})
	component := rapid.OneOf(rapid.SampledFrom([]string{"a", "b", "*", "**", "-", "+1", "#x", "a b", "a\nb", "\xff", "a\tb", "..x", "é"}),
		rapid.StringN(1, 20, 255).Filter(func(s string) bool { return mtree.CheckName(s) == nil }))
	b := Batch{Number: rapid.Uint64Range(0, 1<<62).Draw(t, "number"), Floor: stamp.Draw(t, "floor"), Lines: []Line{}}
	for range rapid.IntRange(0, 5).Draw(t, "lines") {
		l := Line{Path: strings.Join(rapid.SliceOfN(component, 0, 3).Draw(t, "path"), "/")}
		if l.Known = rapid.Bool().Draw(t, "known"); l.Known {
			l.From, l.To = stamp.Draw(t, "from"), stamp.Draw(t, "to")
			if l.To.Before(l.From) {
				l.From, l.To = l.To, l.From
			}
		}
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			l.Unknown = true
		case 1:
			l.Unknown, l.Below = true, true
		case 2:
		default:
			for _, name := range rapid.SliceOfN(component, 1, 4).Draw(t, "names") {
				l.Names = append(l.Names, name+rapid.SampledFrom([]string{"", "/"}).Draw(t, "slash"))
			}
			l.Names = inOrder(l.Names)
		}
		b.Lines = append(b.Lines, l)
	}
	return b
}

func TestNamesInOrder(t *testing.T) {
	require.Equal(t, []string{"a/", "a-b", "b/", "c"}, inOrder([]string{"c", "b", "a-b", "b/", "a/", "b", "c"}))
	given := []string{"b", "a"}
	require.Equal(t, []string{"a", "b"}, inOrder(given))
	require.Equal(t, []string{"b", "a"}, given, "the caller's stays as it is")
}

// A file may be called as what says that names are not known.
func TestFilesThatAreCalledStar(t *testing.T) {
	for _, name := range []string{"*", "**", "***", "*/", "**/"} {
		b := Batch{Number: 1, Lines: []Line{{Path: "d", Names: []string{name}}}}
		got, _, err := ParseBatch(AppendBatch(nil, b))
		require.NoError(t, err)
		require.Equal(t, b, got)
	}
}

// Names that no listing has, and more than 1,000 of them, are not told.
func TestNamesThatAreNotTold(t *testing.T) {
	many := func(n int) (names []string) {
		for i := range n {
			names = append(names, strings.Repeat("n", i/250)+string(rune('A'+i%250)))
		}
		return names
	}
	for _, c := range []struct {
		names   []string
		unknown bool
	}{
		{many(MaxNames), false}, {many(MaxNames + 1), true},
		{[]string{"a", strings.Repeat("x", 256)}, true}, {[]string{"a", ".."}, true}, {[]string{""}, true}, {[]string{"/"}, true}, {[]string{"a/b"}, true},
		{[]string{"a", mtree.MarkerName + "/"}, true},
	} {
		got, _, err := ParseBatch(AppendBatch(nil, Batch{Number: 1, Lines: []Line{{Path: "d", Names: c.names}}}))
		require.NoError(t, err)
		require.Equal(t, c.unknown, got.Lines[0].Unknown, "%.40q", c.names)
		require.False(t, got.Lines[0].Below)
	}
}

// A batch that is too large, or has a path that no listing has, says that nothing is known.
func TestBatchTooLarge(t *testing.T) {
	size := func(n int) Batch { // of which the text has n bytes
		b := Batch{Number: 1, Floor: mtree.Unix(1, 0)}
		line := Line{Path: strings.Repeat("p", 200), Names: []string{strings.Repeat("x", 200), strings.Repeat("y", 200)}}
		empty := len(AppendBatch(nil, b))
		each := len(AppendBatch(nil, Batch{Number: 1, Floor: b.Floor, Lines: []Line{line}})) - empty
		for n -= empty; n > 2*each; n -= each {
			b.Lines = append(b.Lines, line)
		}
		for ; n > 0; n -= min(n, 200) {
			at := min(n, 200)
			if n > 200 && n < 220 {
				at = 100
			}
			b.Lines = append(b.Lines, Line{Path: strings.Repeat("q", at-len("./\t-\t-\n")-1)})
			if at == 100 {
				n += 100
			}
		}
		return b
	}
	fits := size(maxBatch)
	text := AppendBatch(nil, fits)
	require.Len(t, text, maxBatch)
	got, _, err := ParseBatch(text)
	require.NoError(t, err)
	require.Equal(t, len(fits.Lines), len(got.Lines))
	whole := []Line{{Unknown: true, Below: true}}
	for _, b := range []Batch{
		size(maxBatch + 1), size(2 * maxBatch),
		{Number: 1, Lines: []Line{{Path: "a"}, {Path: "a/../b"}}}, {Number: 1, Lines: []Line{{Path: "/a"}}},
	} {
		got, _, err := ParseBatch(AppendBatch(nil, b))
		require.NoError(t, err)
		require.Equal(t, whole, got.Lines)
		require.Equal(t, b.Floor, got.Floor)
	}
}

// Cut at any byte, a text is one that may go on; changed at any byte, it is none.
func TestCutAtAnyByte(t *testing.T) {
	b := Batch{Number: 12, Floor: mtree.Unix(100, 5), Lines: []Line{
		{Path: "a/b", Known: true, From: mtree.Unix(99, 0), To: mtree.Unix(100, 5), Names: []string{"x", "y/"}}, {Path: "c", Unknown: true}}}
	head, text := AppendHead(nil, someHead), AppendBatch(nil, b)
	for i := range text {
		_, _, err := ParseBatch(text[:i])
		require.ErrorIs(t, err, errCut, "%q", text[:i])
		for _, bit := range []byte{1, 16, 128} {
			changed := bytes.Clone(text)
			changed[i] ^= bit
			_, _, err := ParseBatch(changed)
			require.Error(t, err, "%q", changed)
		}
		_, _, err = ParseBatch(slices.Concat(text[:i], []byte("+13\t100.000000005\n-00000000\n")))
		require.Error(t, err)
	}
	for i := range head {
		_, _, err := ParseHead(head[:i])
		require.ErrorIs(t, err, errCut)
	}
}

// Memory is not spent on what has no end.
func TestBatchWithoutAnEnd(t *testing.T) {
	endless := append([]byte("+1\t1.000000000\n./"), bytes.Repeat([]byte("a"), maxBatch+10)...)
	_, _, err := ParseBatch(endless[:maxBatch-1])
	require.ErrorIs(t, err, errCut)
	_, _, err = ParseBatch(endless)
	require.ErrorIs(t, err, errBad)
	_, _, err = ParseHead(bytes.Repeat([]byte("#"), maxHead))
	require.ErrorIs(t, err, errBad)
}

func TestWhatIsNoJournal(t *testing.T) {
	good := strings.TrimSuffix(string(AppendHead(nil, someHead)), "\n")
	columns := strings.Split(good, "\t")
	for _, bad := range []string{
		"", "#journal 2\t" + strings.Join(columns[1:], "\t"), strings.Join(columns[:5], "\t"), good + "\t",
		strings.Replace(good, "a1a1", "a1", 1), strings.Replace(good, "a1a1", "zza1", 1), strings.Replace(good, "1700000000", "-1", 1),
		strings.Replace(good, "\t7", "\t07", 1), strings.Replace(good, "\t7", "\t0", 1), strings.Replace(good, columns[3], "", 1), strings.Replace(good, "cdef", "cde", 1),
	} {
		_, _, err := ParseHead([]byte(bad + "\n"))
		require.ErrorIs(t, err, errBad, "%q", bad)
	}
	for _, bad := range []string{
		"+1\n", "+x\t1.000000000\n", "+01\t1.000000000\n", "+1\t1.0\n", "+1\t1.000000000\nx\n",
		"+1\t1.000000000\n./\t-\n", "+1\t1.000000000\n.\t-\t-\n", "+1\t1.000000000\n./a\t-\t-\n", "+1\t1.000000000\n./../\t-\t-\n", "+1\t1.000000000\n.//\t-\t-\n",
		"+1\t1.000000000\n./\t-\t1.000000000\n", "+1\t1.000000000\n./\t2.000000000\t1.000000000\n",
		"+1\t1.000000000\n./\t-\t-\t\n", "+1\t1.000000000\n./\t-\t-\tb\ta\n", "+1\t1.000000000\n./\t-\t-\ta\ta/\n", "+1\t1.000000000\n./\t-\t-\ta%\n", "+1\t1.000000000\n./\t-\t-\t.tidemark\n",
		"+1\t1.000000000\n./\t-\t-" + strings.Repeat("\tx", MaxNames+1) + "\n",
	} {
		_, err := parseBody(bad)
		require.ErrorIs(t, err, errBad, "%q", bad)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(AppendHead(nil, someHead))
	f.Add(AppendBatch(nil, Batch{Number: 1, Floor: mtree.Unix(1, 0), Lines: []Line{{Path: "a b/c", Names: []string{"*"}}, {Unknown: true, Below: true}}}))
	f.Add([]byte("./\t1.000000000\t2.000000000\ta\tb/\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if h, n, err := ParseHead(text); err == nil {
			require.Equal(t, text[:n], AppendHead(nil, h))
		}
		_, _, _ = ParseBatch(text)
		// With a sum that is right the lines are what is tried.
		b, err := parseBody("+1\t1.000000000\n" + string(text))
		if err != nil {
			return
		}
		again, _, err := ParseBatch(AppendBatch(nil, b))
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}
