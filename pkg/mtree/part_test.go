package mtree_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// part is an example of a part.
var part = mtree.Listing{
	Path: "a/b", Stamp: mtree.Unix(9, 5), ID: "9f2c4e6a8b0d1f35", Now: mtree.Unix(10, 0), HasNow: true,
	Part: []mtree.Span{{From: mtree.Unix(-1, 5), To: mtree.Unix(3, 0)}, {From: mtree.Unix(4, 0), To: mtree.Unix(4, 0)}},
	Entries: []mtree.Entry{
		{Name: "d", Kind: mtree.Dir, MTime: mtree.Unix(9, 4)},
		{Name: "f f", Kind: mtree.File, Size: 7, MTime: mtree.Unix(9, 4)},
	},
	Gone: []string{"#end 9", "e", "z"},
}

const partText = "9.000000005 ./a/b/\t-\tPart=-0.999999995:3.000000000,4.000000000\tid=9f2c4e6a8b0d1f35\tnow=10.000000000\n" +
	"#gone %23end%209\n9.000000004 d/\t-\n#gone e\n9.000000004 f%20f\t7\n#gone z\n#end 5\n"

// decodePart reads one listing where parts are understood.
func decodePart(text string) (mtree.Listing, error) {
	d := mtree.NewDecoder(strings.NewReader(text))
	d.Parts = true
	return d.Next()
}

func TestPart(t *testing.T) {
	require.Equal(t, partText, string(mtree.FormatListing(part)))
	got, err := decodePart(partText)
	require.NoError(t, err)
	require.Equal(t, part, got)
	require.True(t, got.IsPart())

	first, _, _ := strings.Cut(partText, "\n")
	self, err := mtree.ParseSelf([]byte(first + "\n"))
	require.NoError(t, err)
	require.Equal(t, part.Part, self.Part)
	require.Equal(t, part.Path, self.Path)
}

// Nobody takes a part for a listing who does not know what it is.
func TestPartMustBeUnderstood(t *testing.T) {
	_, err := mtree.ParseListing([]byte(partText))
	require.ErrorIs(t, err, mtree.ErrListing)
	_, err = mtree.NewDecoder(strings.NewReader(partText)).Next()
	require.ErrorIs(t, err, mtree.ErrListing)
}

func TestPartCutAnywhereIsAnError(t *testing.T) {
	for cut := 1; cut < len(partText); cut++ {
		_, err := decodePart(partText[:cut])
		require.ErrorIs(t, err, mtree.ErrListing, "cut after %d bytes", cut)
		_, err = mtree.ParseSelf([]byte(partText[:cut]))
		if !strings.HasSuffix(partText[:cut], "\n") {
			require.ErrorIs(t, err, mtree.ErrListing)
		}
	}
}

func TestBadParts(t *testing.T) {
	self := func(attrs string) string { return "1.0 ./\t-" + attrs + "\n#end 0\n" }
	body := func(lines string, count int) string {
		return fmt.Sprintf("1.0 ./\t-\tPart=0.5\n%s#end %d\n", lines, count)
	}
	for what, text := range map[string]string{
		"no span":             self("\tPart="),
		"an empty span":       self("\tPart=1.0,"),
		"an open span":        self("\tPart=1.0:"),
		"a span without FROM": self("\tPart=:1.0"),
		"no stamp":            self("\tPart=-"),
		"upside down":         self("\tPart=2.0:1.0"),
		"twice":               self("\tPart=1.0\tPart=1.0"),
		"many spans":          self("\tPart=1.0" + strings.Repeat(",1.0", mtree.MaxSpans)),
		"hidden":              self("\tPart=1.0\thidden=1"),
		"excluded":            self("\texcluded=1\tPart=1.0"),
		"covered":             self("\tPart=1.0\tcovered=1"),
		"mounts":              self("\tPart=1.0\tmounts=0a"),
		"out of order":        body("#gone b\n1.0 a\t1\n", 2),
		"gone out of order":   body("1.0 b\t1\n#gone a\n", 2),
		"there and gone":      body("1.0 a\t1\n#gone a\n", 2),
		"gone twice":          body("#gone a\n#gone a\n", 2),
		"miscounted":          body("#gone a\n", 0),
		"no name":             body("#gone \n", 1),
		"a path":              body("#gone a/\n", 1),
		"a name of two":       body("#gone a%2Fb\n", 1),
		"the marker":          body("#gone .tidemark\n", 1),
		"dots":                body("#gone ..\n", 1),
		"a bad escape":        body("#gone a%\n", 1),
	} {
		_, err := decodePart(text)
		require.ErrorIs(t, err, mtree.ErrListing, what)
	}
	_, err := decodePart(self("\tPart=1.0" + strings.Repeat(",1.0", mtree.MaxSpans-1)))
	require.NoError(t, err)
}

// In a whole listing "#gone" is a comment as any other.
func TestGoneOfAWholeListing(t *testing.T) {
	l, err := decodePart("1.0 ./\t-\n#gone a\n1.0 a\t1\n#end 1\n")
	require.NoError(t, err)
	require.False(t, l.IsPart())
	require.Empty(t, l.Gone)
	require.Len(t, l.Entries, 1)
}

func TestPartIsBounded(t *testing.T) {
	var many strings.Builder
	many.WriteString("1.0 ./\t-\tPart=0.5\n")
	for i := range 11 {
		fmt.Fprintf(&many, "#gone n%02d\n", i)
	}
	d := mtree.NewDecoder(strings.NewReader(many.String() + "#end 11\n"))
	d.Parts, d.MaxEntries = true, 10
	_, err := d.Next()
	require.ErrorContains(t, err, "more than 10")
}

func TestSuffices(t *testing.T) {
	for _, c := range []struct {
		stamp mtree.Stamp
		want  bool
	}{
		{mtree.Unix(-1, 4), false}, {mtree.Unix(-1, 5), true}, {mtree.Unix(2, 0), true}, {mtree.Unix(3, 0), true},
		{mtree.Unix(3, 1), false}, {mtree.Unix(4, 0), true}, {mtree.Unix(4, 1), false}, {mtree.Unix(9, 5), false},
	} {
		require.Equal(t, c.want, part.Suffices(c.stamp), "%v", c.stamp)
		require.True(t, example.Suffices(c.stamp), "a whole one")
	}
}

func FuzzPart(f *testing.F) {
	f.Add([]byte(partText))
	f.Add([]byte("1.0 ./\t-\tPart=-0.5:0.5,1.0\thot=1\n#gone a\n1.0 b\t1\n#gone c%0A\n#end 3\n"))
	f.Add([]byte("1 ./a/\t-\tX=\n1 a\t-\tlink=%2F\n#gone b\n#end 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := decodePart(string(text))
		if err != nil {
			return
		}
		for i := range l.Entries {
			l.Entries[i].NotUnderstood = ""
			if l.Entries[i].Kind == mtree.Symlink && l.Entries[i].Link == "" {
				l.Entries[i].Link = "x" // only an attribute we do not know can leave it out
			}
		}
		back, err := decodePart(string(mtree.FormatListing(l)))
		require.NoError(t, err)
		require.Equal(t, l, back)
		if l.IsPart() {
			_, err = mtree.ParseListing(text)
			require.ErrorIs(t, err, mtree.ErrListing)
		}
	})
}
