package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Fetch brings files, small ones of several directories with one request, and returns
// one result for each group. A file is written in the staging directory and gets its
// name when it is whole (disk.TempFile). System calls for one file:
//
//	openat, write..., utimensat(fd), [fchmod], [fsync], linkat or renameat
//
// If the directory is filled in the staging directory, the last of these is done once
// for all its files.
func (env Env) Fetch(ctx context.Context, groups []Group) []Result {
	f := &fetching{env: env, ctx: ctx, results: make([]Result, len(groups))}
	f.bring(groups)
	end := confirming{env: &f.env}
	for i := range groups {
		end.confirm(ctx, &groups[i], &f.results[i])
	}
	return f.results
}

// fetching is a fetch under way.
type fetching struct {
	env     Env
	ctx     context.Context
	results []Result
	items   []item        // by the indices of the files
	at      *item         // a file of the directory that is open
	dir     *disk.Dir     // that directory; nil: none is open
	tempDir *disk.TempDir // the same, if it is in the staging directory; else nil
}

// item is one file of a fetch, and where it belongs.
type item struct {
	group  *Group
	change mtree.Change
	result *Result
	old    *oldFile // what the copy has of it; nil: nothing that helps
}

// bring asks for the files of all groups and stores them as they arrive.
func (f *fetching) bring(groups []Group) {
	files := 0
	for i := range groups {
		files += len(groups[i].Changes)
	}
	want := make([]source.Wanted, 0, files)
	f.items = make([]item, 0, files)
	for i := range groups {
		g := &groups[i]
		for _, c := range g.Changes {
			w := source.Wanted{Entry: c.Want, Path: mtree.JoinPath(g.Target.Path, c.Want.Name), Approx: g.Approx}
			f.env.offerPartial(g.Target.Path, &w)
			old := f.env.offerOld(c, &w, f.arriving)
			want = append(want, w)
			f.items = append(f.items, item{g, c, &f.results[i], old})
		}
	}
	defer f.leave()
	errs := make([]error, len(want))
	for i, o := range f.env.Source.Fetch(f.ctx, want) {
		if errs[i] = o.Err; o.Err == nil {
			errs[i] = f.take(&f.items[i], &want[i], o)
		}
	}
	for i, err := range errs {
		if f.items[i].old.close(); want[i].Whole != nil && err == nil {
			f.env.Log.Warn("fetched whole: what differs could not be told", "path", mtree.QuotePath(want[i].Path), "error", want[i].Whole,
				"remedy", "none is needed: the file is right; if it comes again and again, let mirror past the proxy, or read DEST")
		}
		switch h := f.items[i].result; {
		case err == nil, errors.Is(err, source.ErrSame):
		case errors.Is(err, errRefused):
			h.Refused++
			if f.items[i].change.Have != nil {
				h.Older++
			}
		case errors.Is(err, source.ErrDenied):
			h.Denied++
			h.Unread = append(h.Unread, strings.Clone(f.items[i].change.Want.Name))
		case errors.Is(err, source.ErrGone), errors.Is(err, source.ErrChanging):
			h.Gone++
			if c := f.items[i].change; errors.Is(err, source.ErrGone) && c.Have == nil { // guard: TestAFileThatVanishesBeforeItIsFetched
				h.changed = append(h.changed, changedFile{want: *c.Want, gone: true})
			}
		default:
			h.Failed = append(h.Failed, Failure{want[i].Path, err})
		}
	}
}

// take stores one file that arrives, and counts it.
func (f *fetching) take(it *item, w *source.Wanted, o source.File) error {
	if err := f.env.refuseArrived(w, &o); err != nil {
		return err
	}
	if err := f.enter(it); err != nil {
		return replica.Local(err)
	}
	o.Body = f.arriving(o.Body) // nil for a patch: offerOld sees to its bytes
	h := it.result
	came, err := f.env.put(f.ctx, f.dir, it, w, &o)
	if err != nil {
		return err
	}
	h.Names = append(h.Names, strings.Clone(o.Got.Name)) // else it keeps the whole listing in memory
	h.Bytes += came
	h.Copied += max(0, o.Got.Size-o.From-came) // guard: TestBytesThatWereInTheCopy
	switch have := it.change.Have; {
	case have == nil:
		h.Made++
	case have.Kind != mtree.Dir:
		h.Updated = append(h.Updated, h.Names[len(h.Names)-1])
	}
	return nil
}

// arriving limits and counts what comes over the network.
func (f *fetching) arriving(in io.Reader) io.Reader {
	if f.env.Limiter != nil {
		in = &limitedReader{f.ctx, in, f.env.Limiter}
	}
	if f.env.Arriving != nil {
		in = &countedReader{in, f.env.Arriving}
	}
	return in
}

// countedReader counts the bytes that are read from it.
type countedReader struct {
	in    io.Reader
	count *atomic.Int64
}

func (r *countedReader) Read(buf []byte) (int, error) {
	n, err := r.in.Read(buf)
	r.count.Add(int64(n))
	return n, err
}

// enter opens the directory of a file, unless it is already open.
func (f *fetching) enter(it *item) (err error) {
	if f.dir != nil && f.at.group.Target.Path == it.group.Target.Path {
		return nil
	}
	f.leave()
	f.at = it
	if it.group.Staged && !it.result.staged {
		it.result.staged = true
		if f.tempDir = f.openStaged(&it.group.Target); f.tempDir != nil {
			f.dir = f.tempDir.Dir
			return nil
		}
	}
	f.dir, err = f.env.Copy.OpenToChange(&it.group.Target)
	return err
}

// leave closes the open directory. If it was filled in the staging directory, it gets its
// name.
func (f *fetching) leave() {
	switch {
	case f.tempDir != nil:
		f.place(f.tempDir, f.at)
	case f.dir != nil:
		_ = f.dir.Close()
	}
	f.dir, f.tempDir = nil, nil
}

// leastAsked is the least size in bytes of a new file of which it is asked before it comes whether the
// directory takes its name for that of another entry. Of smaller ones Place says so.
const leastAsked = 64 << 10

// put writes one file in the staging directory and moves it into place. It returns how many bytes of
// it came over the network.
func (env *Env) put(ctx context.Context, dir *disk.Dir, it *item, want *source.Wanted, f *source.File) (came int64, err error) {
	t, c := &it.group.Target, it.change
	if c.Have == nil && c.Want.Size >= leastAsked && dir.Respelled(c.Want.Name) { // guard: TestALargeTwinIsNotFetched
		return 0, replica.Local(disk.ErrCollides)
	}
	replaces := c.Have != nil && c.Have.Kind == mtree.Dir
	if replaces && c.Want.Size >= leastAsked { // guard: TestALargeFileThatMayReplaceNothing
		if _, err := env.Copy.mayReplace(dir, want.Path, t.Nested); err != nil {
			return 0, replica.Local(err)
		}
	}
	got, mode := &f.Got, env.Copy.FileMode(c)
	temp, kept, err := env.tempFile(dir, t.Path, c, want, f, mode)
	if err != nil {
		return 0, replica.Local(err)
	}
	defer temp.Discard()
	size, came, err := env.fill(ctx, temp, f, it.old)
	if err != nil {
		if kept && !replica.IsLocal(err) {
			return 0, errors.Join(err, replica.Local(temp.Keep()))
		}
		return 0, err
	}
	if got.Size < 0 {
		got.Size = f.From + size
		if env.Limits.RefuseSize(got.Size, got.Size) {
			return 0, errRefused
		}
	}
	if f.From+size != got.Size {
		return 0, fmt.Errorf("%w: %d bytes arrived, %d were announced", source.ErrMoved, f.From+size, got.Size)
	}
	err = env.Copy.applyMetadata(temp, c, got, mode)
	if err == nil && kept {
		err = temp.Chmod(mode)
	}
	if err != nil {
		return 0, replica.Local(err)
	}
	return came, env.place(dir, temp, it, want, f, replaces)
}

// place gives a file its name that is whole, and counts it.
func (env *Env) place(dir *disk.Dir, temp *disk.TempFile, it *item, want *source.Wanted, f *source.File, replaces bool) error {
	t, c, h, got := &it.group.Target, it.change, it.result, &f.Got
	if want.LooksLike(got) {
		// The next listing may show the file that was listed now, which equals this one
		// in size and time.
		if err := env.Copy.Replica.Begin(dir, t.Path, t.Begun, t.Doubts|replica.DoubtBytes); err != nil {
			return replica.Local(err)
		}
	}
	var err error
	switch {
	case replaces:
		err = env.stageFile(dir, want.Path, temp, t.Nested, h)
	case f.Patch != nil:
		err = env.placePatched(dir, temp, want, f.Patch)
	default:
		err = env.Copy.Replica.Place(temp, dir, want.Path)
	}
	if err == nil && !replaces {
		env.Copy.NoteName(dir, t, c.Want, want.Is(got))
	}
	switch {
	case err != nil:
		return replica.Local(err)
	case got.Hot:
		h.Unsettled++
	case !want.Is(got):
		h.Moved++
		if !replaces && !want.LooksLike(got) { // guard (always): TestWhatIsNotConfirmed
			h.changed = append(h.changed, changedFile{want: *c.Want, got: *got})
		}
	case !replaces: // else it does not have its name yet
		h.Verified = append(h.Verified, c.Want)
	}
	return nil
}

// stageFile keeps a file in the staging directory, because a directory has its name. It is
// flushed at once: the pass may commit before that directory goes, and then flushes what has
// the name until then.
func (env *Env) stageFile(dir *disk.Dir, path string, temp *disk.TempFile, nested bool, h *Result) error {
	if err := temp.Sync(); err != nil {
		return err
	}
	name, err := temp.Stage()
	if err != nil {
		return err
	}
	d, err := env.Copy.Replacement(dir, path, name, nested)
	if err != nil {
		return err
	}
	if err := temp.Keep(); err != nil { // guard: TestEachCallOfAFetchThatFails
		env.Copy.Replica.Abandon(&d)
		return err
	}
	h.Deletions = append(h.Deletions, d)
	return nil
}
