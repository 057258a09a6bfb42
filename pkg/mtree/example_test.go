package mtree_test

import (
	"fmt"
	"os"

	"tidemark/pkg/mtree"
)

func ExampleFormatListing() {
	_, _ = os.Stdout.Write(mtree.FormatListing(mtree.Listing{
		Stamp: mtree.Unix(1707019506, 123456789),
		Entries: []mtree.Entry{
			{Name: "a b.txt", Kind: mtree.File, Size: 5, MTime: mtree.Unix(1707019506, 123456789)},
			{Name: "d", Kind: mtree.Dir, MTime: mtree.Unix(1707019400, 0)},
		},
	}))
	// Output:
	// 1707019506.123456789 ./	-
	// 1707019506.123456789 a%20b.txt	5
	// 1707019400.000000000 d/	-
	// #end 2
}

func ExampleDiff() {
	have := []mtree.Entry{{Name: "old", Kind: mtree.File}}
	want := []mtree.Entry{{Name: "new", Kind: mtree.File}}
	for change := range mtree.Diff(have, want, nil) {
		fmt.Println(change.What == mtree.Absent, change.What == mtree.Extra)
	}
	// Output:
	// true false
	// false true
}
