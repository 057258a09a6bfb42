package fetch

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Only the version that was listed is continued. Another one goes into a file of its own.
func TestOnlyTheListedVersionIsContinued(t *testing.T) {
	env := &Env{Copy: newCopy(t)}
	e := mtree.Entry{Name: "f", Size: leastPartial, MTime: mtree.Unix(5, 0), CTime: mtree.Unix(6, 0), Has: mtree.HasCTime}
	want := &source.Wanted{Entry: &e, Path: "f"}
	env.offerPartial("", want)
	for _, change := range []struct {
		edit func(*mtree.Entry)
		kept bool
	}{
		{func(*mtree.Entry) {}, true},
		{func(e *mtree.Entry) { e.CTime = e.CTime.Add(1) }, false},
		{func(e *mtree.Entry) { e.MTime = e.MTime.Add(1) }, false},
		{func(e *mtree.Entry) { e.Hot = true }, false},
		{func(e *mtree.Entry) { e.Has = 0 }, false},
	} {
		f := &source.File{Got: e}
		change.edit(&f.Got)
		temp, kept, err := env.tempFile(env.Copy.Replica.Root, "", mtree.Change{Want: &e}, want, f, 0o644)
		require.NoError(t, err)
		require.Equal(t, change.kept, kept)
		temp.Discard()
	}
}
