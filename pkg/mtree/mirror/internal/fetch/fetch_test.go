package fetch

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/limits"
	"tidemark/pkg/mtree/mirror/internal/links"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/autoindex"
	"tidemark/pkg/mtree/wire"
)

// roughly is a listing that knows no more of these names than that they are files.
func roughly(names ...string) *source.Approx {
	files := map[string]autoindex.Bounds{}
	for _, name := range names {
		files[name] = autoindex.Bounds{High: -1}
	}
	return autoindex.NewApprox("", nil, files, nil, 0, autoindex.Questions{})
}

type edit = func(listed *mtree.Entry, f *source.File)

func failing(err error) edit { return func(_ *mtree.Entry, f *source.File) { f.Err = err } }

func again(_ *mtree.Entry, f *source.File)   { f.Got.CTime = changed }
func later(_ *mtree.Entry, f *source.File)   { f.Got.MTime, f.Got.CTime = changed, changed }
func hot(_ *mtree.Entry, f *source.File)     { f.Got.Hot = true }
func unsized(_ *mtree.Entry, f *source.File) { f.Got.Size = -1 }
func empty(e *mtree.Entry, f *source.File) {
	e.Size, f.Got.Size, f.Body = 0, 0, strings.NewReader("")
}

// What a fetch says of one file, of which the copy has none, another one, or a directory.
func TestWhatAFetchSays(t *testing.T) {
	for name, test := range map[string]struct {
		over  string // a path of the copy, if something has the name
		edits []edit
		says  string
	}{
		"new":           {says: "bytes 5, came f, made 1, verified f"},
		"over a file":   {over: "d/f", says: "bytes 5, came f, over f, verified f"},
		"for a dir":     {over: "d/f/g", says: "bytes 5, came f, deletions 1"},
		"equal":         {over: "d/f", edits: []edit{failing(source.ErrSame)}},
		"denied":        {edits: []edit{failing(source.ErrDenied)}, says: "denied 1, unread f"},
		"gone":          {edits: []edit{failing(source.ErrGone)}, says: "changed 1, gone 1"},
		"gone, and had": {over: "d/f", edits: []edit{failing(source.ErrGone)}, says: "gone 1"},
		"it goes on":    {edits: []edit{failing(errors.Join(source.ErrMoved, source.ErrChanging))}, says: "gone 1"},
		"another error": {edits: []edit{failing(errAway)}, says: "failed 1"},

		"hot":                   {edits: []edit{hot}, says: "bytes 5, came f, made 1, unsettled 1"},
		"another, and hot":      {edits: []edit{later, hot}, says: "bytes 5, came f, made 1, unsettled 1"},
		"another":               {edits: []edit{later}, says: "bytes 5, came f, changed 1, made 1, moved 1"},
		"another that looks so": {edits: []edit{again}, says: "bytes 5, came f, made 1, moved 1"},
		"another for a dir":     {over: "d/f/g", edits: []edit{later}, says: "bytes 5, came f, deletions 1, moved 1"},
		"of a size that shows":  {edits: []edit{unsized}, says: "bytes 5, came f, made 1, verified f"},
		"empty":                 {edits: []edit{empty}, says: "came f, made 1, verified f"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "d/")
			if test.over != "" {
				b.Make(t, "/copy/"+test.over)
			}
			was, c := b.text("d/f"), b.gives("d/f", "12345", test.edits...)
			h := b.fetch("d", c)
			require.Equal(t, test.says, said(h))
			got := b.files["d/f"].Got
			for _, f := range h.changed {
				want := changedFile{want: *c.Want, got: got}
				if h.Gone > 0 {
					want = changedFile{want: *c.Want, gone: true}
				}
				require.Equal(t, want, f)
			}
			if h.Names == nil || len(h.Deletions) > 0 {
				require.Equal(t, was, b.text("d/f"))
			} else {
				require.Equal(t, "12345"[:c.Want.Size], b.text("d/f"))
				require.Equal(t, got.MTime, b.has("d/f").MTime)
				require.EqualValues(t, 0o644, b.has("d/f").Mode)
			}
			for _, f := range h.Failed {
				require.Equal(t, Failure{"d/f", errAway}, f)
			}
			doubts, begun := b.doubts("d")
			require.Equal(t, h.Names != nil, begun)
			require.Equal(t, name == "another that looks so", doubts&replica.DoubtBytes != 0)
		})
	}
}

// doubts returns what is doubted in a directory of the copy, and whether its record says that it is unfinished.
func (b *bench) doubts(path string) (replica.Doubts, bool) {
	r := b.env.Copy.Replica
	dir, err := r.Dir(path)
	require.NoError(b.t, err)
	defer dir.Close()
	record, ok, err := r.Record(dir, path)
	require.NoError(b.t, err)
	doubts, begun := replica.DoubtsOf(record)
	return doubts, ok && begun
}

// A file that comes short, too long or not to its end gets no name, and nothing of it stays.
func TestWhatDoesNotComeWhole(t *testing.T) {
	for name, test := range map[string]struct {
		edit edit
		err  error
	}{
		"short":     {func(_ *mtree.Entry, f *source.File) { f.Got.Size = 6 }, source.ErrMoved},
		"long":      {func(_ *mtree.Entry, f *source.File) { f.Got.Size = 4 }, source.ErrMoved},
		"not empty": {func(_ *mtree.Entry, f *source.File) { f.Got.Size = 0 }, source.ErrMoved},
		"continued": {func(_ *mtree.Entry, f *source.File) { f.From = 1 }, source.ErrMoved},
		"broke off": {func(_ *mtree.Entry, f *source.File) {
			f.Body = io.MultiReader(f.Body, iotest.ErrReader(errAway))
		}, errAway},
	} {
		for _, over := range []string{"", "d/f", "d/f/g"} {
			b := newBench(t, "d/")
			if over != "" {
				b.Make(t, "/copy/"+over)
			}
			was := b.has("d/f")
			err := b.failed(b.fetch("d", b.gives("d/f", "12345", test.edit)))
			require.ErrorIs(t, err, test.err, name)
			require.False(t, replica.IsLocal(err), name)
			require.Equal(t, was, b.has("d/f"), name)
			require.Empty(t, b.staging(), name)
		}
	}
}

// Limits hold for what only the answer tells of a file. One that is refused now, and was not as it was
// listed, is listed again.
func TestLimitsOfAnAnswer(t *testing.T) {
	small, large, old := limits.Limits{MinSize: 6}, limits.Limits{MaxSize: 4}, limits.Limits{MaxAge: time.Hour}
	for name, test := range map[string]struct {
		limits  limits.Limits
		roughly bool
		over    bool
		edits   []edit
		says    string
	}{
		"none":                     {roughly: true, says: "bytes 5, came f, made 1, verified f"},
		"it fits":                  {limits.Limits{MinSize: 5, MaxSize: 5}, true, false, nil, "bytes 5, came f, made 1, verified f"},
		"it fits at the end":       {limits.Limits{MinSize: 5, MaxSize: 5}, true, false, []edit{unsized}, "bytes 5, came f, made 1, verified f"},
		"nothing fits":             {limits.Limits{MinSize: 1}, true, false, []edit{empty}, "refused 1"},
		"small":                    {small, true, false, nil, "refused 1"},
		"small, and had":           {small, true, true, nil, "older 1, refused 1"},
		"small at the end":         {small, true, false, []edit{unsized}, "refused 1"},
		"large":                    {large, true, false, nil, "refused 1"},
		"large at the end":         {large, true, false, []edit{unsized}, "refused 1"},
		"old":                      {old, true, false, nil, "refused 1"},
		"old, of no size":          {old, true, false, []edit{unsized}, "refused 1"},
		"as listed":                {large, false, false, nil, "bytes 5, came f, made 1, verified f"},
		"another that is large":    {large, false, false, []edit{later}, "gone 1"},
		"another that is right":    {small, false, false, []edit{func(e *mtree.Entry, _ *source.File) { e.Size = 7 }}, "gone 1"},
		"another without a size":   {large, false, false, []edit{later, unsized}, "refused 1"},
		"another that is not old":  {old, false, false, []edit{func(_ *mtree.Entry, f *source.File) { f.Got.MTime = mtree.MaxStamp }}, "bytes 5, came f, changed 1, made 1, moved 1"},
		"another that is not much": {limits.Limits{MaxSize: 5}, false, false, []edit{later}, "bytes 5, came f, changed 1, made 1, moved 1"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "d/")
			if test.over {
				b.Make(t, "/copy/d/f")
			}
			b.env.Limits = test.limits
			g := group("d", b.gives("d/f", "12345", test.edits...))
			if test.roughly {
				g.Approx = roughly("f")
			}
			require.Equal(t, test.says, said(&b.fetchAll(g)[0]))
			require.Empty(t, b.staging())
			if test.limits == large && len(test.edits) > 0 {
				require.LessOrEqual(t, int64(len(b.text("d/f"))), int64(5))
			}
		})
	}
}

// What has no size until it has come is read as far as it may be large, and no further; another one has the size
// that was announced.
func TestHowMuchIsReadOfALargeFile(t *testing.T) {
	for name, test := range map[string]struct {
		limits limits.Limits
		size   int64 // announced
		text   string
		says   string
		most   int // bytes that are read
	}{
		"no size":          {limits.Limits{MaxSize: 4}, -1, strings.Repeat("x", 1<<20), "refused 1", 256 << 10},
		"no limit":         {limits.Limits{MinSize: 1}, -1, strings.Repeat("x", 1<<20), "bytes 1048576, came f, made 1, verified f", 1 << 20},
		"more than it has": {limits.Limits{MaxSize: 5}, 4, "123456", "failed 1", 6},
		"not empty":        {limits.Limits{MaxSize: 5}, 0, "123456", "failed 1", 6},
	} {
		b := newBench(t, "d/")
		b.env.Limits = test.limits
		body := &counted{Reader: strings.NewReader(test.text)}
		g := group("d", b.gives("d/f", test.text, func(_ *mtree.Entry, f *source.File) { f.Got.Size, f.Body = test.size, body }))
		g.Approx = roughly("f")
		require.Equal(t, test.says, said(&b.fetchAll(g)[0]), name)
		require.LessOrEqual(t, body.bytes, test.most, name)
	}
}

// Why a file came whole is told, if it came.
func TestWhyAFileCameWhole(t *testing.T) {
	for name, test := range map[string]struct {
		whole error
		edits []edit
		told  bool
	}{
		"it is told":      {whole: errAway, told: true},
		"nothing is":      {},
		"it did not come": {whole: errAway, edits: []edit{failing(source.ErrGone)}},
	} {
		b := newBench(t, "d/")
		b.whole = test.whole
		b.fetch("d", b.gives("d/f", "12345", test.edits...))
		require.Equal(t, test.told, strings.Contains(b.log.String(), "fetched whole"), name)
	}
}

// What comes over the network is limited and counted.
func TestWhatComesIsCounted(t *testing.T) {
	b := newBench(t, "d/")
	b.env.Limiter, b.env.Arriving = rate.NewLimiter(1e-6, 1000), new(atomic.Int64)
	require.Equal(t, "bytes 9, came f, came g, made 2, verified f, verified g", said(b.fetch("d", b.gives("d/f", "12345"), b.gives("d/g", "1234"))))
	require.EqualValues(t, 9, b.env.Arriving.Load())
	require.InDelta(t, 991, b.env.Limiter.Tokens(), 0.1)
}

// Files come in any order, and each goes into its directory, which is begun once for those that come one
// after another. A new directory gets its name with all files of the fetch in it, or is filled in place.
func TestFilesOfSeveralDirectories(t *testing.T) {
	for name, test := range map[string]struct {
		order  []int
		staged bool
		place  bool // directories are filled in place
		begun  int
		says   string // of the first directory
	}{
		"in order":             {begun: 2, says: "bytes 5, came f, came g, made 2, verified f, verified g"},
		"in turns":             {order: []int{0, 2, 1, 3}, begun: 4, says: "bytes 5, came f, came g, made 2, verified f, verified g"},
		"staged":               {staged: true, begun: 2, says: "bytes 5, came f, came g, made 2, replaced, verified f, verified g"},
		"staged, in turns":     {order: []int{0, 2, 1, 3}, staged: true, begun: 4, says: "bytes 5, came f, came g, made 2, replaced, verified f, verified g"},
		"staged, but in place": {staged: true, place: true, begun: 2, says: "bytes 5, came f, came g, made 2, verified f, verified g"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "d/", "e/")
			b.order = test.order
			b.env.Copy.Replica.InPlace.Store(test.place)
			d := group("d", b.gives("d/f", "12"), b.gives("d/g", "345"))
			d.Staged = test.staged
			results := b.fetchAll(d, group("e", b.gives("e/f", "6"), b.gives("e/h", "7")))
			require.Equal(t, test.says, said(&results[0]))
			require.Equal(t, "bytes 2, came f, came h, made 2, verified f, verified h", said(&results[1]))
			require.Equal(t, []string{"12", "345", "6", "7"}, []string{b.text("d/f"), b.text("d/g"), b.text("e/f"), b.text("e/h")})
			require.Equal(t, test.begun, b.begun)
			require.Equal(t, test.place, b.env.Copy.Replica.InPlace.Load())
			require.Empty(t, b.staging())
		})
	}
}

// A directory that cannot be opened fails each of its files, and no other one.
func TestADirectoryThatCannotBeOpened(t *testing.T) {
	b := newBench(t, "d/", "e/", "z/")
	staged := group("d", b.gives("d/f", "12"))
	staged.Staged = true
	groups := []Group{staged, group("e", b.gives("e/f", "6"), b.gives("e/h", "7")), group("z", b.gives("z/f", "8"))}
	b.Refuse("open e", unix.EIO, 2)
	results := b.fetchAll(groups...)
	require.Equal(t, "bytes 2, came f, made 1, replaced, verified f", said(&results[0]))
	require.Len(t, results[1].Failed, 2)
	for _, f := range results[1].Failed {
		require.ErrorIs(t, f.Err, unix.EIO)
		require.True(t, replica.IsLocal(f.Err))
	}
	require.Equal(t, "bytes 1, came f, made 1, verified f", said(&results[2]))
	require.Empty(t, b.env.Fetch(t.Context(), nil))
}

// At the end the source is asked which version it has of what changed.
func TestTheEndOfAFetch(t *testing.T) {
	b := newBench(t, "d/")
	c := b.gives("d/f", "12345", later)
	b.env.Root.State, b.env.Root.Fingerprint = wire.Watched, "e"
	b.part.Stamp, b.part.ID, b.part.Part, b.part.Fingerprint, b.part.Direct = changed, ours, []mtree.Span{{From: now, To: now}}, "e", true
	is := *c.Want
	is.MTime, is.CTime = changed, changed
	b.part.Entries = []mtree.Entry{is}
	h := b.fetch("d", c)
	require.Equal(t, "bytes 5, came f, made 1", said(h))
	require.NotNil(t, h.Told)

	b.part.Part = nil // a whole listing is no answer to that
	h = b.fetch("d", b.gives("d/f", "12345", later))
	require.Equal(t, "bytes 5, came f, changed 1, moved 1, over f", said(h))
	require.Nil(t, h.Told)
}

// A large file is not read if its name is taken for that of another entry, or if it may not replace the
// directory that has its name. A small one is, and then nothing comes of it.
func TestLargeFilesThatGetNoName(t *testing.T) {
	for size, read := range map[int]int{leastAsked - 1: leastAsked - 1, leastAsked: 0, leastAsked + 1: 0} {
		body := &counted{}
		give := func(b *bench) mtree.Change {
			c := b.gives("d/f", strings.Repeat("x", size))
			f := b.files["d/f"]
			*body = counted{Reader: f.Body}
			f.Body = body
			b.files["d/f"] = f
			return c
		}
		b := newBench(t, "d/")
		require.NoError(t, b.Shell.Fold("/copy/d"))
		b.Make(t, "/copy/d/F")
		c := give(b)
		c.Have = nil
		err := b.failed(b.fetch("d", c))
		require.ErrorIs(t, err, disk.ErrCollides)
		require.True(t, replica.IsLocal(err))
		require.Equal(t, read, body.bytes)
		require.Equal(t, []string{"F"}, b.Shell.Names("/copy/d"))
		require.Empty(t, b.staging())

		c = give(b) // the other entry is this one, under another spelling
		require.NotNil(t, c.Have)
		require.Empty(t, b.fetch("d", c).Failed)
		require.Equal(t, size, body.bytes)

		b = newBench(t, "d/f/g")
		b.env.Copy.NoDelete = true
		err = b.failed(b.fetch("d", give(b)))
		require.ErrorContains(t, err, "--no-delete")
		require.True(t, replica.IsLocal(err))
		require.Equal(t, read, body.bytes)
		require.Empty(t, b.staging())
		require.Equal(t, "x", b.text("d/f/g"))

		b = newBench(t, "d/")
		b.env.Copy.NoDelete = true
		require.Empty(t, b.fetch("d", give(b)).Failed)
	}
}

// The file that replaces a directory stands aside, flushed, until the directory may go.
func TestAFileForADirectory(t *testing.T) {
	for _, size := range []int{5, leastAsked} {
		b := newBench(t, "d/f/g")
		b.Made("")
		h := b.fetch("d", b.gives("d/f", strings.Repeat("x", size)))
		require.Equal(t, 1, b.Made("fsync"))
		require.Len(t, h.Deletions, 1)
		d := h.Deletions[0]
		require.Equal(t, "d/f", d.Path)
		require.EqualValues(t, 2, d.Entries)
		require.Equal(t, []string{d.Staged}, b.staging())
		require.Len(t, b.text(".tidemark/tmp/"+d.Staged), size)
		require.Equal(t, "x", b.text("d/f/g"))
	}
}

// continued lets a part of a large file be kept, of which the source sends the last bytes.
func (b *bench) continued(path string, kept int64, end io.Reader) mtree.Change {
	c := b.gives(path, "", func(e *mtree.Entry, f *source.File) {
		e.Size, e.Mode = leastPartial, 0o640
		f.Got.Size, f.From, f.Body = leastPartial, kept, end
	})
	if kept > 0 {
		temp, _, err := b.env.Copy.Replica.Staging.Continue(partKey(mtree.ParentPath(path), c.Want), true)
		require.NoError(b.t, err)
		require.NoError(b.t, temp.AddHole(kept))
		require.NoError(b.t, temp.Keep())
	}
	return c
}

// A large file that broke off is continued, and kept again if it breaks off, unless the disk failed.
func TestALargeFileIsContinued(t *testing.T) {
	b := newBench(t, "d/")
	c := b.continued("d/f", 0, io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(errAway)))
	err := b.failed(b.fetch("d", c))
	require.ErrorIs(t, err, errAway)
	require.False(t, replica.IsLocal(err))
	require.EqualValues(t, 5, b.want[0].Kept())
	require.Len(t, b.staging(), 1)

	b = newBench(t, "d/")
	h := b.fetch("d", b.continued("d/f", leastPartial-5, strings.NewReader("12345")))
	require.Equal(t, "bytes 8388608, came f, made 1, verified f", said(h))
	require.Equal(t, strings.Repeat("\x00", leastPartial-5)+"12345", b.text("d/f"))
	require.Equal(t, longAgo, b.has("d/f").MTime)
	require.EqualValues(t, 0o640, b.has("d/f").Mode)
	require.Empty(t, b.staging())

	b = newBench(t, "d/")
	c = b.continued("d/f", leastPartial-5, strings.NewReader("12345"))
	b.Fail = func(call string) error {
		if strings.HasPrefix(call, "write part-") {
			return unix.EIO
		}
		return nil
	}
	err = b.failed(b.fetch("d", c))
	require.ErrorIs(t, err, unix.EIO)
	require.True(t, replica.IsLocal(err))
	require.Empty(t, b.staging(), "what the disk has of it is not known")
}

// One small file costs these calls.
func TestCallsOfAFile(t *testing.T) {
	b := newBench(t, "d/")
	b.env.Copy.Replica.Umask = 0o022
	c := b.gives("d/f", "12345")
	b.Made("")
	require.Empty(t, b.fetch("d", c).Failed)
	calls := b.Calls
	for i, call := range calls {
		if call == "write d" {
			require.Equal(t, []string{"open d", "write d", "utimes d", "link f"}, calls[i-1:i+3])
			return
		}
	}
	require.Fail(t, "nothing was written", calls)
}

// A fetched name is noted if it is one of a file with several, and has its name.
func TestNamesThatAFetchNotes(t *testing.T) {
	linked := func(e *mtree.Entry, _ *source.File) { e.Has, e.Same = e.Has|mtree.HasSame, 7 }
	for name, test := range map[string]struct {
		over  string
		edits []edit
		fail  string
		was   bool // it was a name of another file
		nest  bool
		is    uint64
		doubt bool
	}{
		"a link":                       {edits: []edit{linked}, is: 7},
		"a link over a file":           {over: "d/f", edits: []edit{linked}, was: true, is: 7},
		"no link":                      {was: true},
		"never one":                    {},
		"another":                      {edits: []edit{linked, later}, was: true},
		"of a size that shows":         {edits: []edit{linked, unsized}, is: 7},
		"in another tree":              {edits: []edit{linked}, was: true, nest: true},
		"it got no name":               {over: "d/f", edits: []edit{linked}, fail: "rename f"},
		"it got no name, and was one":  {over: "d/f", fail: "rename f", was: true, is: 8},
		"it has not got its name yet":  {over: "d/f/g", was: true, is: 8},
		"it cannot be looked at again": {over: "d/f", edits: []edit{linked}, fail: "statx f", doubt: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "d/")
			if test.over != "" {
				b.Make(t, "/copy/"+test.over)
			}
			index := b.linked()
			if test.was {
				index.Note(links.File{Path: "d/f", Same: 8})
			}
			g := group("d", b.gives("d/f", "12345", test.edits...))
			g.Target.Nested = test.nest
			if test.fail != "" {
				b.Refuse(test.fail, unix.EIO, 1)
			}
			b.fetchAll(g)
			index.Commit(false)
			require.Equal(t, test.was || test.is != 0, strings.Contains(b.text(".tidemark/"+links.Name), "d/f"))
			f, ok := index.Of("d/f")
			require.Equal(t, test.is != 0, ok)
			require.Equal(t, test.is, f.Same)
			doubts := index.Behind(func(string, uint64) bool { return false })
			require.Equal(t, test.doubt, doubts["d"])
		})
	}
}

// linked opens the copy again, with an index of hard links.
func (b *bench) linked() *links.Index {
	was := b.env.Copy.Replica
	was.Close()
	r, err := replica.Open(&replica.Options{Path: "/copy", HardLinks: true, Adopt: true, Log: b.env.Log, Now: was.Now})
	require.NoError(b.t, err)
	b.t.Cleanup(r.Close)
	b.env.Copy.Replica = r
	return r.Links
}

// Whichever call fails, a file has its old or its new content, and what is said of it is true.
func TestEachCallOfAFetchThatFails(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T) (*bench, Group){
		"new": func(t *testing.T) (*bench, Group) {
			b := newBench(t, "d/")
			return b, group("d", b.gives("d/f", "12345"))
		},
		"over": func(t *testing.T) (*bench, Group) {
			b := newBench(t, "d/f")
			return b, group("d", b.gives("d/f", "12345"))
		},
		"looks like it": func(t *testing.T) (*bench, Group) {
			b := newBench(t, "d/f")
			return b, group("d", b.gives("d/f", "12345", again))
		},
		"flushed": func(t *testing.T) (*bench, Group) {
			b := newBench(t, "d/f")
			b.env.Copy.SyncEach = true
			return b, group("d", b.gives("d/f", "12345"))
		},
		"for a directory": func(t *testing.T) (*bench, Group) {
			b := newBench(t, "d/f/g")
			return b, group("d", b.gives("d/f", "12345"))
		},
		"continued": func(t *testing.T) (*bench, Group) {
			b := newBench(t, "d/f")
			return b, group("d", b.continued("d/f", leastPartial-5, strings.NewReader("12345")))
		},
		"staged": func(t *testing.T) (*bench, Group) {
			b := newBench(t, "d/")
			g := group("d", b.gives("d/f", "12345"))
			g.Staged = true
			return b, g
		},
	} {
		t.Run(name, func(t *testing.T) {
			for n, failed := 1, true; failed; n++ {
				b, g := prepare(t)
				failed = b.fetchWithout(n, g)
			}
		})
	}
}

// fetchWithout fetches one file while the n-th call fails. It returns false if there were not so many.
func (b *bench) fetchWithout(n int, g Group) (failed bool) {
	was, call := b.text("d/f"), ""
	b.Made("")
	b.Fail = func(made string) error {
		if n--; n == 0 {
			call = made
			return unix.EIO
		}
		return nil
	}
	h := b.env.Fetch(b.t.Context(), []Group{g})[0]
	b.Fail = nil
	for _, f := range h.Failed {
		require.True(b.t, replica.IsLocal(f.Err), call)
		require.ErrorIs(b.t, f.Err, unix.EIO, call)
	}
	lost := int64(len(h.Failed)) + h.Gone
	require.EqualValues(b.t, 1, lost+int64(len(h.Names)), call)
	if strings.HasPrefix(call, "fsync ") {
		require.NotZero(b.t, lost, "what is not on the disk did not come")
	}
	if _, begun := b.doubts("d"); len(h.Names) > 0 {
		require.True(b.t, begun, "%s: it is not known that the directory changed", call)
	}
	is, staged := b.text("d/f"), slices.DeleteFunc(b.staging(), func(name string) bool { return strings.HasPrefix(name, "part-") })
	switch {
	case len(h.Deletions) > 0:
		require.Zero(b.t, lost, call)
		require.NotRegexp(b.t, "^close [0-9]+$", call, "what was written may be lost")
		require.Equal(b.t, []string{h.Deletions[0].Staged}, staged, call)
		return call != ""
	case lost > 0:
		require.True(b.t, is == was || strings.HasSuffix(is, "12345"), call)
	default:
		require.True(b.t, strings.HasSuffix(is, "12345"), call)
		require.Equal(b.t, longAgo, b.has("d/f").MTime, call)
	}
	require.Empty(b.t, staged, call)
	return call != ""
}

// What was kept of a large file is not used if the source sends it from its beginning, and is an error if the
// source goes on elsewhere. It gets the group that a file made in its directory has.
func TestWhatWasKeptOfALargeFile(t *testing.T) {
	b := newBench(t, "d/")
	require.NoError(t, b.Shell.Chown("/copy/d", 5))
	require.NoError(t, b.Shell.Chmod("/copy/d", 0o2755))
	c := b.continued("d/f", 7, strings.NewReader(strings.Repeat("x", leastPartial)))
	f := b.files["d/f"]
	f.From = 0
	b.files["d/f"] = f
	require.Equal(t, "bytes 8388608, came f, made 1, verified f", said(b.fetch("d", c)))
	require.Equal(t, strings.Repeat("x", leastPartial), b.text("d/f"))
	require.EqualValues(t, 5, b.owned("d/f")[1])

	b = newBench(t, "d/")
	c = b.continued("d/f", 7, strings.NewReader("x"))
	f = b.files["d/f"]
	f.From = 6
	b.files["d/f"] = f
	require.ErrorContains(t, b.failed(b.fetch("d", c)), "changed its size")
	require.Empty(t, b.staging())
	_, kept, err := b.env.tempFile(b.env.Copy.Replica.Root, "d", c, &b.want[0], &f, 0o644)
	require.Error(t, err)
	require.False(t, kept)
	b.Fail = func(call string) error { return unix.EIO }
	_, kept, err = b.env.tempFile(b.env.Copy.Replica.Root, "d", c, &b.want[0], &f, 0o644)
	require.ErrorIs(t, err, unix.EIO)
	require.False(t, kept)
	b.Fail = nil

	c.Want.Has &^= mtree.HasCTime
	require.Empty(t, partKey("d", c.Want), "its versions cannot be told apart")
}
