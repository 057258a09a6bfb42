package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

const testBlock = 64 << 10 // bytes

// oldFetch is a fetch of the file f, of which the copy has 130,000 bytes.
func oldFetch(t *testing.T) (f *fetching, path string) {
	to := newCopy(t)
	path = to.Replica.Root.Path() + "/f"
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("0123456789abc"), 10_000), 0o644))
	return &fetching{ctx: t.Context(), env: Env{Copy: to, OldSums: &OldSums{}}}, path
}

// offered returns the sums of the copy's file for a change.
func offered(t *testing.T, f *fetching, what mtree.Differs, size int64) (o *oldFile, known int64, sums []source.Digest, err error) {
	w := source.Wanted{Entry: &mtree.Entry{Name: "f", Kind: mtree.File, Size: size}, Path: "f"}
	o = f.env.offerOld(mtree.Change{What: what, Have: &mtree.Entry{Name: "f", Kind: mtree.File, Size: 130_000}, Want: w.Entry}, &w, f.arriving)
	require.NotNil(t, o)
	t.Cleanup(o.close)
	sums, err = w.Old.Sums(t.Context(), testBlock)
	return o, w.Old.Block, sums, err
}

// What is known of the sums of a file saves reading it, unless its bytes are in doubt.
func TestKeptSumsOfDoubtedBytes(t *testing.T) {
	f, path := oldFetch(t)
	o, known, real, err := offered(t, f, mtree.Content, 5<<20)
	require.NoError(t, err)
	require.Zero(t, known)
	require.Len(t, real, 2)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(text[testBlock:]), real[1])
	kept := []source.Digest{{1}, {2}}
	require.True(t, f.env.OldSums.keep("f", &o.file.Info, &o.file.Info, &source.Patch{Block: testBlock, Sums: kept}))
	_, known, sums, err := offered(t, f, mtree.Content, 5<<20)
	require.NoError(t, err)
	require.Equal(t, int64(testBlock), known)
	require.Equal(t, kept, sums)
	for _, what := range []mtree.Differs{0, mtree.Mode} { // size and mtime are equal: a sum of the whole differed
		_, known, sums, err = offered(t, f, what, 130_000+5<<20)
		require.NoError(t, err)
		require.Zero(t, known)
		require.Equal(t, real, sums)
	}
}

// Sums that are known of a file are not those of another version of it.
func TestKeptSumsOfAnotherVersion(t *testing.T) {
	f, path := oldFetch(t)
	o, _, real, err := offered(t, f, mtree.Content, 5<<20)
	require.NoError(t, err)
	info := o.file.Info
	for _, other := range []func(i *disk.Info){
		func(i *disk.Info) { i.Node.Ino++ }, func(i *disk.Info) { i.Node.Dev++ }, func(i *disk.Info) { i.Size++ },
		func(i *disk.Info) { i.MTime = i.MTime.Add(1) }, func(i *disk.Info) { i.CTime = i.CTime.Add(1) },
	} {
		was := info
		other(&was)
		f.env.OldSums.put("f", was, testBlock, []source.Digest{{1}})
		_, _, sums, err := offered(t, f, mtree.Content, 5<<20)
		require.NoError(t, err)
		require.Equal(t, real, sums)
	}
	f.env.OldSums.put("f", info, 2*testBlock, []source.Digest{{1}})
	_, _, sums, err := offered(t, f, mtree.Content, 5<<20)
	require.NoError(t, err)
	require.Equal(t, real, sums, "of other blocks")
	require.NoError(t, os.Truncate(path, 7))
	_, _, _, err = offered(t, f, mtree.Content, 5<<20)
	require.ErrorIs(t, err, errOldChanged)
}

// If the name is another file's by the time that it is looked at, or that was written to, nothing is known.
func TestKeptSumsOfAnotherFile(t *testing.T) {
	var s OldSums
	written := disk.Info{Node: disk.Node{Dev: 1, Ino: 2}, Size: 3, MTime: mtree.MaxStamp}
	patch := &source.Patch{Block: testBlock, Sums: []source.Digest{{1}}}
	for _, other := range []func(i *disk.Info){
		func(i *disk.Info) { i.Node.Ino++ }, func(i *disk.Info) { i.Size++ }, func(i *disk.Info) { i.MTime = mtree.Stamp{} },
	} {
		now := written
		other(&now)
		require.False(t, s.keep("f", &written, &now, patch))
		require.Zero(t, s.block("f"))
	}
	now := written
	now.CTime = mtree.MaxStamp // its name was given after it was written
	require.True(t, s.keep("f", &written, &now, patch))
	require.Equal(t, patch.Sums, s.get("f", &now, testBlock))
}

// The sums in memory are bounded.
func TestOldSumsAreBounded(t *testing.T) {
	var s OldSums
	for i := range 10 {
		path := fmt.Sprint(i)
		s.put(path, disk.Info{}, testBlock, make([]source.Digest, mostOldSums/4))
		require.Equal(t, int64(testBlock), s.block(path))
		require.LessOrEqual(t, s.held, mostOldSums)
	}
	s.put("9", disk.Info{}, testBlock, make([]source.Digest, 1))
	s.put("large", disk.Info{}, testBlock, make([]source.Digest, mostOldSums+1))
	require.Zero(t, s.block("large"))
	s.put("9", disk.Info{}, 0, nil)
	require.Equal(t, len(s.files)*mostOldSums/4, s.held)
	var none *OldSums
	none.put("f", disk.Info{}, testBlock, []source.Digest{{1}})
	require.Nil(t, none.get("f", &disk.Info{}, testBlock))
	require.Zero(t, none.block("f"))
}

// A stop does not wait until a large file is copied, and is no failure of the copy's disk.
func TestAStopWhileAFileIsPutTogether(t *testing.T) {
	f, _ := oldFetch(t)
	o, _, _, err := offered(t, f, mtree.Content, 5<<20)
	require.NoError(t, err)
	temp, err := f.env.Copy.Replica.Staging.Create(f.env.Copy.Replica.Root, "new", true, 0o600)
	require.NoError(t, err)
	defer temp.Discard()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	patch := &source.Patch{Pieces: func(yield func(source.Piece, error) bool) { yield(source.Piece{Length: 1000}, nil) }}
	_, _, err = f.env.assemble(ctx, temp, patch, o)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, replica.IsLocal(err))
}
