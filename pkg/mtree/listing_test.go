package mtree_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// example is what testdata/example.listing says.
var example = mtree.Listing{
	Stamp:  mtree.Unix(1707019506, 123456789),
	ID:     "9f2c4e6a8b0d1f35",
	Now:    mtree.Unix(1707019510, 0),
	HasNow: true,
	Hidden: 3, Excluded: 2, Covered: 1,
	Entries: []mtree.Entry{
		{Name: "a b.txt", Kind: mtree.File, Size: 5, MTime: mtree.Unix(1707019506, 123456789), Has: mtree.HasMode | mtree.HasCTime, Mode: 0o644, CTime: mtree.Unix(1707019506, 123456789)},
		{Name: "before-1970", Kind: mtree.File, MTime: mtree.Unix(-1, 500000000), Has: mtree.HasMode | mtree.HasCTime, Mode: 0o600, CTime: mtree.Unix(1707019506, 0)},
		{Name: "d", Kind: mtree.Dir, MTime: mtree.Unix(1707019400, 0), Has: mtree.HasMode | mtree.HasCTime, Mode: 0o755, CTime: mtree.Unix(1707019400, 0)},
		{Name: "latest", Kind: mtree.Symlink, MTime: mtree.Unix(1707019300, 0), Has: mtree.HasMode | mtree.HasCTime, Mode: 0o777, CTime: mtree.Unix(1707019300, 0), Link: "d/a b.txt"},
		{Name: "year-2446", Kind: mtree.File, Size: 1<<63 - 1, MTime: mtree.Unix(15032385535, 999999999), Has: mtree.HasMode | mtree.HasCTime | mtree.HasOwner, Mode: 0o644, CTime: mtree.Unix(1707019506, 0), UID: 1000, GID: 100},
		{Name: "\xff", Kind: mtree.File, Size: 1, MTime: mtree.Unix(1707019506, 0), Has: mtree.HasMode | mtree.HasCTime, Mode: 0o4755, CTime: mtree.Unix(1707019506, 0)},
	},
}

func TestListingVector(t *testing.T) {
	text, err := os.ReadFile("testdata/example.listing")
	require.NoError(t, err)
	require.Equal(t, string(text), string(mtree.FormatListing(example)))
	got, err := mtree.ParseListing(text)
	require.NoError(t, err)
	require.Equal(t, example, got)
}

// TestVectors reads testdata/good and testdata/bad, which other implementations can
// use too: a reader accepts all of the first and none of the second.
func TestVectors(t *testing.T) {
	for _, kind := range []string{"good", "bad"} {
		files, err := filepath.Glob("testdata/" + kind + "/*.listing")
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			_, err = mtree.ParseListing(text)
			if kind == "good" {
				require.NoError(t, err, file)
			} else {
				require.ErrorIs(t, err, mtree.ErrListing, file)
			}
		}
	}
}

func TestListingCutAnywhereIsAnError(t *testing.T) {
	text := mtree.FormatListing(example)
	for cut := range text {
		_, err := mtree.ParseListing(text[:cut])
		require.ErrorIs(t, err, mtree.ErrListing, "cut after %d bytes", cut)
	}
	_, err := mtree.ParseListing(text)
	require.NoError(t, err)
}

func TestEmptyDirectory(t *testing.T) {
	l := mtree.Listing{Stamp: mtree.Unix(1, 0)}
	text := mtree.FormatListing(l)
	require.Equal(t, "1.000000000 ./\t-\n#end 0\n", string(text))
	got, err := mtree.ParseListing(text)
	require.NoError(t, err)
	require.Equal(t, l, got)
}

// The client of 2008 finds "MTIME NAME" by a regular expression: it must still read
// plain names, and find no names that are not there.
func TestOldRegularExpressionReadsPlainNames(t *testing.T) {
	old := regexp.MustCompile(`([\d.]+?) +([\w/]+)`)
	text := mtree.FormatListing(mtree.Listing{
		Stamp: mtree.Unix(9, 0), Now: mtree.Unix(9, 5), HasNow: true, Hidden: 3, ID: "0011223344556677",
		Entries: []mtree.Entry{
			{Name: "dir", Kind: mtree.Dir, MTime: mtree.Unix(8, 1), Has: mtree.HasMode | mtree.HasCTime},
			{Name: "file", Kind: mtree.File, Size: 7, MTime: mtree.Unix(7, 0), Has: mtree.HasMode | mtree.HasCTime},
		},
	})
	require.Equal(t, [][]string{{"8.000000001 dir/", "8.000000001", "dir/"}, {"7.000000000 file", "7.000000000", "file"}},
		old.FindAllStringSubmatch(string(text), -1))
}

func TestHostileNamesRefuseTheWholeListing(t *testing.T) {
	for _, name := range []string{"..", ".", "%2E%2E", "a%2Fb", "%00", ".tidemark", "%2Etidemark", "", "a/b", strings.Repeat("x", 256)} {
		text := "1.0 ./\t-\n1.0 aaa\t1\n1.0 " + name + "\t1\n#end 2\n"
		_, err := mtree.ParseListing([]byte(text))
		require.ErrorIs(t, err, mtree.ErrListing, "%q", name)
	}
}

// Names of one file have one id, on files only. What is no id spoils the listing.
func TestSame(t *testing.T) {
	l, err := mtree.ParseListing([]byte("1.0 ./\t-\n1.0 a\t1\tsame=00000000000000ff\n1.0 d/\t-\tsame=00000000000000ff\n#end 2\n"))
	require.NoError(t, err)
	require.Equal(t, mtree.Entry{Name: "a", Kind: mtree.File, Size: 1, MTime: mtree.Unix(1, 0), Has: mtree.HasSame, Same: 255}, l.Entries[0])
	require.Equal(t, mtree.Entry{Name: "d", Kind: mtree.Dir, MTime: mtree.Unix(1, 0)}, l.Entries[1])
	require.Equal(t, "1.000000000 a\t1\tsame=00000000000000ff\n", string(mtree.AppendEntry(nil, &l.Entries[0])))
	for _, bad := range []string{"", "ff", "00000000000000fg", "00000000000000ff0", "0000000%20000ff"} {
		_, err := mtree.ParseListing([]byte("1.0 ./\t-\n1.0 a\t1\tsame=" + bad + "\n#end 1\n"))
		require.ErrorIs(t, err, mtree.ErrListing, bad)
	}
}

func TestCapitalAttributeMustBeUnderstood(t *testing.T) {
	l, err := mtree.ParseListing([]byte("1.0 ./\t-\tnew=1\n1.0 a\t1\tnew=1\n1.0 b\t1\tSparse=1\n#end 2\n"))
	require.NoError(t, err)
	require.Empty(t, l.Entries[0].NotUnderstood, "others are skipped")
	require.Equal(t, "Sparse", l.Entries[1].NotUnderstood)
	_, err = mtree.ParseListing([]byte("1.0 ./\t-\tPartial=1\n#end 0\n"))
	require.ErrorIs(t, err, mtree.ErrListing, "about the directory it concerns all of it")
}

func TestDecoderReadsBlocks(t *testing.T) {
	root := mtree.Listing{Stamp: mtree.Unix(3, 0), Entries: []mtree.Entry{{Name: "a", Kind: mtree.Dir, MTime: mtree.Unix(3, 0)}}}
	below := mtree.Listing{Path: "a/b c", Stamp: mtree.Unix(2, 0), Hot: true}
	text := mtree.AppendListing(mtree.FormatListing(root), below)

	d := mtree.NewDecoder(strings.NewReader(string(mtree.AppendTrailer(text, mtree.Trailer{Stamp: mtree.Unix(3, 0)}))))
	for _, want := range []mtree.Listing{root, below} {
		got, err := d.Next()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, told := d.Trailer()
	require.False(t, told, "not reached yet")
	_, err := d.Next()
	require.Equal(t, io.EOF, err)
	trailer, told := d.Trailer()
	require.True(t, told)
	require.Equal(t, mtree.Trailer{Stamp: mtree.Unix(3, 0)}, trailer)

	cut := mtree.Trailer{Stamp: mtree.Unix(3, 0), More: true, After: "a/b c"}
	d = mtree.NewDecoder(strings.NewReader(string(mtree.AppendTrailer(text, cut))))
	for range 2 {
		_, err := d.Next()
		require.NoError(t, err)
	}
	_, err = d.Next()
	require.Equal(t, io.EOF, err)
	trailer, _ = d.Trailer()
	require.Equal(t, cut, trailer)
}

// The path of a trailer can stand in a query as it is.
func TestTrailerIsForAQuery(t *testing.T) {
	cut := mtree.Trailer{Stamp: mtree.Unix(3, 0), More: true, After: "a&b/&&c=d+e#f %/g&"}
	line := string(mtree.AppendTrailer(nil, cut))
	require.Equal(t, "#more 3.000000000 a%26b/%26%26c=d+e%23f%20%25/g%26\n", line)
	d := mtree.NewDecoder(strings.NewReader(line))
	_, err := d.Next()
	require.Equal(t, io.EOF, err)
	trailer, _ := d.Trailer()
	require.Equal(t, cut, trailer)
}

func TestDecoderBoundsEntries(t *testing.T) {
	var many strings.Builder
	many.WriteString("1.0 ./\t-\n")
	for i := range 11 {
		fmt.Fprintf(&many, "1.0 n%02d\t0\n", i)
	}
	many.WriteString("#end 11\n")
	d := mtree.NewDecoder(strings.NewReader(many.String()))
	d.MaxEntries = 10
	_, err := d.Next()
	require.ErrorIs(t, err, mtree.ErrListing)
	require.ErrorContains(t, err, "more than 10")
}

func FuzzListing(f *testing.F) {
	f.Add(mtree.FormatListing(example))
	f.Add([]byte("1.0 ./\t-\n#end 0\n"))
	f.Add([]byte("1 ./a/\t-\tX=\n1 a\t-\tlink=%2F\n#end 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := mtree.ParseListing(text)
		if err != nil {
			return
		}
		for i := range l.Entries {
			l.Entries[i].NotUnderstood = ""
			if l.Entries[i].Kind == mtree.Symlink && l.Entries[i].Link == "" {
				l.Entries[i].Link = "x" // only an attribute we do not know can leave it out
			}
		}
		back, err := mtree.ParseListing(mtree.FormatListing(l))
		require.NoError(t, err)
		require.Equal(t, l, back)
	})
}

// BenchmarkParseListing is what a mirror does for each directory that changed.
func BenchmarkParseListing(b *testing.B) {
	l := mtree.Listing{Stamp: mtree.Unix(1_700_000_000, 1), Now: mtree.Unix(1_700_000_001, 0), HasNow: true}
	for i := range 100 {
		l.Entries = append(l.Entries, mtree.Entry{
			Name: fmt.Sprintf("section-%02d.txt", i), Kind: mtree.File, Has: mtree.HasMode | mtree.HasCTime, Mode: 0o644,
			MTime: mtree.Unix(1_700_000_000, int64(i)), CTime: mtree.Unix(1_700_000_000, int64(i)), Size: int64(i),
		})
	}
	text := mtree.FormatListing(l)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mtree.ParseListing(text); err != nil {
			b.Fatal(err)
		}
	}
}

// A listing of several pieces is one of all its entries, in order and counted, and a
// Room whose error ends it is honoured.
func TestLargeListings(t *testing.T) {
	for _, n := range []int{pieceEntries - 1, pieceEntries, pieceEntries + 1, 2*pieceEntries + 5} {
		var text strings.Builder
		text.WriteString("1.500000000 ./\t-\n")
		for i := range n {
			fmt.Fprintf(&text, "1.500000000 %07d\t%d\n", i, i)
		}
		whole := text.String() + fmt.Sprintf("#end %d\n", n)
		l, err := mtree.NewDecoder(strings.NewReader(whole)).Next()
		require.NoError(t, err)
		again, err := mtree.ParseListing([]byte(whole))
		require.NoError(t, err)
		require.Equal(t, again, l)
		_, err = mtree.NewDecoder(strings.NewReader(text.String() + fmt.Sprintf("#end %d\n", n-1))).Next()
		require.ErrorIs(t, err, mtree.ErrListing)
		_, err = mtree.NewDecoder(strings.NewReader(text.String() + "1.500000000 0000001\t1\n" + fmt.Sprintf("#end %d\n", n+1))).Next()
		require.ErrorIs(t, err, mtree.ErrListing, "out of order")
		d := mtree.NewDecoder(strings.NewReader(whole))
		d.MaxEntries = n - 1
		_, err = d.Next()
		require.ErrorContains(t, err, "more than")
	}
	full := errors.New("full")
	taken := 0
	d := mtree.NewDecoder(io.MultiReader(strings.NewReader("1.5 ./\t-\n"), &endless{}))
	d.Room = func(bytes int) error {
		if taken += bytes; taken > 1<<20 {
			return full
		}
		return nil
	}
	_, err := d.Next()
	require.ErrorIs(t, err, full)
	require.Less(t, taken, 2<<20)
}

// pieceEntries is pieceSize.
const pieceEntries = 64 << 10

// endless gives entries without an end.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	e.n++
	return copy(p, fmt.Sprintf("1.5 %09d\t1\n", e.n)), nil
}

// Half a megabyte of gzip became 200 million comments, which took a minute to skip.
func TestCommentsAreBounded(t *testing.T) {
	const most = 100_000
	few, many := strings.Repeat("#\n", most-2), strings.Repeat("#\n", most+1)
	for _, decode := range []func(text string) error{
		func(text string) error { _, err := mtree.ParseListing([]byte(text)); return err },
		func(text string) error { _, err := mtree.NewDecoder(strings.NewReader(text)).Next(); return err },
	} {
		require.NoError(t, decode(few+"1.0 ./\t-\n#end 0\n"))
		require.NoError(t, decode("1.0 ./\t-\n"+few+"#end 0\n"))
		require.ErrorIs(t, decode(many+"1.0 ./\t-\n#end 0\n"), mtree.ErrListing)
		require.ErrorIs(t, decode("1.0 ./\t-\n"+many+"#end 0\n"), mtree.ErrListing)
	}
}
