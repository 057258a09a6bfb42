package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
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
	s = OldSums{}
	s.put("a", disk.Info{}, testBlock, make([]source.Digest, mostOldSums-1))
	s.put("b", disk.Info{}, testBlock, make([]source.Digest, 1))
	require.Len(t, s.files, 2, "as many as may be")
	s.put("a", disk.Info{}, testBlock, make([]source.Digest, mostOldSums))
	require.NotZero(t, s.block("a"))
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

// Which versions of a file a patch is made of: a file of which enough is there.
func TestWhatIsOffered(t *testing.T) {
	b := newBench(t)
	const least = wire.LeastPatched
	for name, test := range map[string]struct {
		have    *mtree.Entry
		want    int64
		offered bool
	}{
		"least":                 {&mtree.Entry{Kind: mtree.File, Size: least}, least, true},
		"small":                 {&mtree.Entry{Kind: mtree.File, Size: least}, least - 1, false},
		"none":                  {nil, least, false},
		"empty":                 {&mtree.Entry{Kind: mtree.File}, least, false},
		"no file":               {&mtree.Entry{Kind: mtree.Symlink, Size: least}, least, false},
		"had much less":         {&mtree.Entry{Kind: mtree.File, Size: least}, mostUnlike*least + 1, false},
		"had less":              {&mtree.Entry{Kind: mtree.File, Size: least}, mostUnlike * least, true},
		"had much more":         {&mtree.Entry{Kind: mtree.File, Size: mostUnlike*least + 1}, least, false},
		"had more":              {&mtree.Entry{Kind: mtree.File, Size: mostUnlike * least}, least, true},
		"bytes that are not so": {&mtree.Entry{Kind: mtree.File, Size: least, MTime: replica.Doubtful}, least, false},
	} {
		w := &source.Wanted{Entry: &mtree.Entry{Name: "f", Size: test.want}, Path: "f"}
		old := b.env.offerOld(mtree.Change{What: mtree.Content, Have: test.have, Want: w.Entry}, w, nil)
		require.Equal(t, test.offered, old != nil, name)
		require.Equal(t, test.offered, w.Old != nil, name)
	}
}

// oldBench returns a bench whose copy has the file d/f, and what is offered of that.
func oldBench(t *testing.T, text string) (*bench, *oldFile) {
	b := newBench(t, "d/")
	require.NoError(t, b.Shell.Write("/copy/d/f", text))
	b.env.OldSums = &OldSums{}
	o := &oldFile{env: &b.env, path: "d/f", size: int64(len(text)), known: true}
	t.Cleanup(o.close)
	b.Made("")
	return b, o
}

// The copy's file is opened once, and read behind a write that is under way. One that changed
// meanwhile is of no use; another name of it does not matter.
func TestTheCopysFileIsRead(t *testing.T) {
	text := strings.Repeat("x", 1000)
	for name, test := range map[string]struct {
		meanwhile func(b *bench)
		err       error
	}{
		"nothing": {},
		"a name":  {func(b *bench) { require.NoError(t, b.Shell.Link("/copy/d/f", "/copy/d/g")) }, nil},
		"a mode":  {func(b *bench) { require.NoError(t, b.Shell.Chmod("/copy/d/f", 0o600)) }, errOldChanged},
		"bytes":   {func(b *bench) { require.NoError(t, b.Shell.Append("/copy/d/f", "y")) }, errOldChanged},
		"a name and bytes": {func(b *bench) {
			mtime, _, err := b.Shell.Times("/copy/d/f")
			require.NoError(t, err)
			require.NoError(t, b.Shell.Link("/copy/d/f", "/copy/d/g"))
			require.NoError(t, b.Shell.Append("/copy/d/f", "y"))
			require.NoError(t, b.Shell.Touch("/copy/d/f", mtime, true))
		}, errOldChanged},
		"a name and a time": {func(b *bench) {
			require.NoError(t, b.Shell.Link("/copy/d/f", "/copy/d/g"))
			require.NoError(t, b.Shell.Touch("/copy/d/f", time.Unix(5, 0), true))
		}, errOldChanged},
	} {
		b, o := oldBench(t, text)
		done := false
		b.Fail = func(call string) error {
			if call == "read f" && !done && test.meanwhile != nil {
				done = true
				test.meanwhile(b)
			}
			return nil
		}
		_, err := o.sums(t.Context(), testBlock)
		require.ErrorIs(t, err, test.err, name)
		require.Equal(t, 2, b.Made("read f"), "one of them waits for whoever writes")
		if test.err == nil {
			_, err = o.read(make([]byte, 10), 0)
			require.NoError(t, err)
			require.Zero(t, b.Made("open f"))
		}
	}
	b, o := oldBench(t, text)
	b.RefuseNth("statx f", 3, unix.EIO)
	_, err := o.sums(t.Context(), testBlock)
	require.ErrorIs(t, err, unix.EIO)
}

// yielding returns a patch of pieces, which ends with an error unless that is nil.
func yielding(end error, pieces ...source.Piece) *source.Patch {
	return &source.Patch{Block: testBlock, Sums: []source.Digest{{1}}, Pieces: func(yield func(source.Piece, error) bool) {
		for _, p := range pieces {
			if !yield(p, nil) {
				return
			}
		}
		if end != nil {
			yield(source.Piece{}, end)
		}
	}}
}

func sent(text string, came int64) source.Piece { return source.Piece{Bytes: []byte(text), Came: came} }
func equal(offset, length int64) source.Piece   { return source.Piece{Offset: offset, Length: length} }

// A file is put together of pieces that came and of the copy's. What fails is told from what breaks off.
func TestAFileIsPutTogether(t *testing.T) {
	zeros := strings.Repeat("\x00", 100)
	for name, test := range map[string]struct {
		end    error
		pieces []source.Piece
		sparse bool
		fail   string
		then   func(b *bench)
		text   string // that is written
		came   int64
		err    error
		local  bool
		forget bool // the sums of the copy's file, so that it is read the next time, and then comes whole
	}{
		"pieces":            {pieces: []source.Piece{sent("ab", 2), equal(2, 3), sent("fg", 1), equal(0, 1)}, text: "ab234fg0", came: 3},
		"zeros, then equal": {pieces: []source.Piece{sent(zeros, 100), equal(2, 3)}, sparse: true, text: zeros + "234", came: 100},
		"zeros at the end":  {pieces: []source.Piece{equal(2, 3), sent(zeros, 7)}, sparse: true, text: "234" + zeros, came: 7},
		"nothing":           {},
		"broke off":         {pieces: []source.Piece{sent("ab", 2), equal(2, 3)}, end: errAway, text: "ab234", came: 2, err: errAway},
		"it is not written": {pieces: []source.Piece{sent("ab", 2)}, fail: "write d", err: unix.EIO, local: true},
		"it is not read":    {pieces: []source.Piece{equal(2, 3)}, fail: "read f", err: unix.EIO, local: true, forget: true},
		"no zeros":          {pieces: []source.Piece{sent(zeros, 1), equal(2, 3)}, sparse: true, fail: "write d", err: unix.EIO, local: true},
		"no zeros at last":  {pieces: []source.Piece{sent(zeros, 1)}, sparse: true, fail: "write d", err: unix.EIO, local: true},
		"it has less":       {pieces: []source.Piece{equal(8, 3)}, err: io.ErrUnexpectedEOF, local: true, forget: true},
		"it changed, and broke off": {pieces: []source.Piece{equal(2, 3)}, end: errAway,
			then: func(b *bench) { require.NoError(t, b.Shell.Chmod("/copy/d/f", 0o600)) }, err: errOldChanged, local: true},
		"it changed before": {pieces: []source.Piece{sent("ab", 2)},
			then: func(b *bench) { require.NoError(t, b.Shell.Chmod("/copy/d/f", 0o600)) }, err: errOldChanged, local: true},
	} {
		t.Run(name, func(t *testing.T) {
			b, o := oldBench(t, "0123456789")
			b.env.Copy.Sparse, b.env.Arriving = test.sparse, new(atomic.Int64)
			dir, err := b.env.Copy.Replica.Dir("d")
			require.NoError(t, err)
			defer dir.Close()
			temp, err := b.env.Copy.Replica.Staging.Create(dir, "new", true, 0o600)
			require.NoError(t, err)
			defer temp.Discard()
			require.NoError(t, o.open())
			b.env.OldSums.put("d/f", o.file.Info, testBlock, []source.Digest{{1}})
			b.Refuse(test.fail, unix.EIO, 1)
			if test.then != nil {
				test.then(b)
			}
			size, came, err := b.env.fill(t.Context(), temp, &source.File{Patch: yielding(test.end, test.pieces...)}, o)
			require.ErrorIs(t, err, test.err)
			require.Equal(t, test.local, replica.IsLocal(err))
			require.Equal(t, test.forget, b.env.OldSums.block("d/f") == 0)
			if test.local {
				return
			}
			require.Equal(t, test.came, came)
			require.EqualValues(t, len(test.text), size)
			if test.err == nil {
				require.NoError(t, temp.Place(dir, "new"))
				require.Equal(t, test.text, b.text("d/new"))
				require.Equal(t, int64(strings.Count(test.text, "2")*3+strings.Count(test.text, "0")), b.env.Arriving.Load())
			}
		})
	}
}

// A part of the copy's file is copied in steps.
func TestALargePartOfTheCopysFile(t *testing.T) {
	f, path := oldFetch(t)
	const length = copyStep + 10
	require.NoError(t, os.Truncate(path, length-5))
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = out.WriteString("at the end")
	require.NoError(t, errors.Join(err, out.Close()))
	to := f.env.Copy.Replica
	temp, err := to.Staging.Create(to.Root, "new", true, 0o600)
	require.NoError(t, err)
	defer temp.Discard()
	o := &oldFile{env: &f.env, path: "f", size: length + 5}
	t.Cleanup(o.close)
	require.NoError(t, o.open())
	require.NoError(t, f.env.copyOld(t.Context(), temp, o, 5, length))
	require.NoError(t, temp.Place(to.Root, "new"))
	text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "new"))
	require.NoError(t, err)
	require.Len(t, text, length)
	require.Equal(t, "56789abc0123", string(text[:12]))
	require.Equal(t, "at the end", string(text[length-10:]))
}

// The sums of a file that was put together are known the next time, unless it is another file by then.
func TestSumsOfAFileThatWasPutTogether(t *testing.T) {
	for name, test := range map[string]struct {
		then func(b *bench)
		fail string
		err  error
		kept bool
	}{
		"it is": {kept: true},
		"another": {then: func(b *bench) {
			require.NoError(t, b.Shell.Remove("/copy/d/f"))
			require.NoError(t, b.Shell.Write("/copy/d/f", "another"))
		}},
		"it is gone":          {then: func(b *bench) { require.NoError(t, b.Shell.Remove("/copy/d/f")) }},
		"it cannot be seen":   {fail: "statx 3", err: unix.EIO, kept: true},
		"it got no name":      {fail: "rename f", err: unix.EIO, kept: true},
		"it is not looked at": {fail: "statx f"},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := oldBench(t, strings.Repeat("x", wire.LeastPatched))
			b.env.OldSums.put("d/f", disk.Info{}, testBlock, []source.Digest{{2}})
			c := b.gives("d/f", "", func(e *mtree.Entry, f *source.File) {
				e.Size, f.Got.Size, f.Body = wire.LeastPatched, wire.LeastPatched, nil
				f.Patch = yielding(nil, sent("ab", 1), equal(2, wire.LeastPatched-2))
			})
			b.sums = true
			placed, done := false, false
			b.Fail = func(call string) error {
				placed = placed || call == "rename f"
				if done || call != test.fail && !(placed && call == "statx f") || test.fail == "statx f" && !placed {
					return nil
				}
				done = true
				if test.then != nil {
					test.then(b)
				}
				if call == test.fail {
					return unix.EIO
				}
				return nil
			}
			h := b.fetch("d", c)
			require.True(t, done)
			known := b.env.OldSums.files["d/f"]
			require.Equal(t, test.kept, known.block != 0)
			if test.err != nil {
				require.ErrorIs(t, b.failed(h), test.err)
				require.Equal(t, []source.Digest{{2}}, known.sums, "those of what is still there")
				return
			}
			require.Equal(t, "bytes 1, came f, copied 4194303, over f, verified f", said(h))
			if test.kept {
				require.Equal(t, []source.Digest{{1}}, known.sums)
				require.Equal(t, "ab"+strings.Repeat("x", wire.LeastPatched-2), b.text("d/f"))
			}
		})
	}
}
