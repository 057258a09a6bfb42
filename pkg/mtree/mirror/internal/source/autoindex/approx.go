package autoindex

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"tidemark/pkg/mtree"
)

// Approx is what the listing of one directory leaves open. It is nil for an exact
// listing; the methods of nil do nothing.
type Approx struct {
	dir        string
	skew       time.Duration // by how much our clock is ahead of the server's
	ask        Questions
	files      map[string]Bounds
	ifModified map[string]bool
}

// Questions are what a server is asked where a listing does not say it. Each costs one request, or two.
type Questions struct {
	// Date returns the date of the file at path; ok is false if the server gives none.
	Date func(ctx context.Context, path string) (date mtree.Stamp, ok bool)
	// Gone returns nil if the server has nothing at path, and otherwise what it says.
	Gone func(ctx context.Context, path string, kind mtree.Kind) error
}

// NewApprox returns what the listing of the directory dir leaves open, as Parse
// returned it. zones belongs to the server, and so does skew: by how much our clock is ahead of
// the server's, rather too much than too little; 0 if that is not known.
func NewApprox(dir string, entries []mtree.Entry, files map[string]Bounds, zones *Zones, skew time.Duration, ask Questions) *Approx {
	for i := range entries {
		b := files[entries[i].Name]
		b.listed, b.zones = entries[i].MTime, zones
		files[entries[i].Name] = b
	}
	return &Approx{dir: dir, skew: skew, ask: ask, files: files}
}

// Of returns how well the listing knows a file; ok is false if the listing knows it
// exactly.
func (a *Approx) Of(name string) (b Bounds, ok bool) {
	if a != nil {
		b, ok = a.files[name]
	}
	return b, ok
}

// IfModified reports whether a file is to be fetched only if it changed since its
// mtime, as Resolve left it.
func (a *Approx) IfModified(name string) bool { return a != nil && a.ifModified[name] }

// Resolve settles what the listing leaves open against have, the entries of the copy's
// directory. An entry gets size and time of the copy's file where it may be that file,
// and another time where the file must be asked for. Such a file is then fetched only
// if it changed, provided that trusted says that size and time prove the copy's file.
// Cost: at most three requests for each month of a run, none where times agree.
func (a *Approx) Resolve(ctx context.Context, l *mtree.Listing, have []mtree.Entry, trusted bool) {
	if a == nil {
		return
	}
	a.learnZones(ctx, l, have)
	if a.resolve(l, have); !trusted {
		a.ifModified = nil
	}
}

// resolve changes the entries of l and notes which files to fetch only if they changed.
func (a *Approx) resolve(l *mtree.Listing, have []mtree.Entry) {
	a.ifModified = map[string]bool{}
	a.eachFile(l, have, func(e *mtree.Entry, b Bounds, h *mtree.Entry) {
		switch {
		case !b.Fits(h.MTime, h.Size):
			if e.MTime == h.MTime {
				e.MTime = e.MTime.Add(1)
			}
		case isYoung(h, b.Step, a.skew):
			e.Size, e.MTime = h.Size, h.MTime.Add(1)
		case b.Step == 0, !b.zones.allow(e.MTime, b.ahead(h.MTime)):
			e.Size, e.MTime = h.Size, h.MTime.Add(1)
			a.ifModified[e.Name] = true
		default:
			e.Size, e.MTime = h.Size, h.MTime
		}
	})
}

// Assume gives an entry size and time of the copy's file wherever it may be that file, as
// if nothing had changed: for those who compare the bytes then.
func (a *Approx) Assume(l *mtree.Listing, have []mtree.Entry) {
	a.eachFile(l, have, func(e *mtree.Entry, b Bounds, h *mtree.Entry) {
		if b.Fits(h.MTime, h.Size) {
			e.Size, e.MTime = h.Size, h.MTime
		}
	})
}

// goneAtOnce is how many entries are asked for at once.
const goneAtOnce = 8

// AreGone returns nil if the server has none of the entries that it does not list. Otherwise the
// listing is not whole, whatever it looks like: Caddy drops what is beyond its limit, and Apache,
// lighttpd and Caddy leave out what they may not read. Cost: a request for each, fewer if one is there.
func (a *Approx) AreGone(ctx context.Context, extra []*mtree.Entry) error {
	if a == nil || a.ask.Gone == nil {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(goneAtOnce)
	for _, e := range extra {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			if err := a.ask.Gone(ctx, mtree.JoinPath(a.dir, e.Name), e.Kind); err != nil {
				return fmt.Errorf("%q is no longer listed, but not gone, so nothing is deleted here: %w", e.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// learnZones asks for the dates of some files that may be those of the copy if the
// server lists them in its own time zone.
func (a *Approx) learnZones(ctx context.Context, l *mtree.Listing, have []mtree.Entry) {
	a.eachFile(l, have, func(e *mtree.Entry, b Bounds, h *mtree.Entry) {
		if !b.ServerZone || b.ahead(h.MTime) == 0 || !b.Fits(h.MTime, h.Size) || !b.zones.ask(e.MTime) {
			return
		}
		if date, ok := a.ask.Date(ctx, mtree.JoinPath(a.dir, e.Name)); ok {
			b.Learn(date)
		}
	})
}

// eachFile calls yield for each file of the listing that is a file in the copy, too.
func (a *Approx) eachFile(l *mtree.Listing, have []mtree.Entry, yield func(e *mtree.Entry, b Bounds, h *mtree.Entry)) {
	if a == nil {
		return
	}
	byName := make(map[string]*mtree.Entry, len(have))
	for i := range have {
		byName[have[i].Name] = &have[i]
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		b, ok := a.files[e.Name]
		h := byName[e.Name]
		if ok && h != nil && h.Kind == mtree.File && e.Kind == mtree.File {
			yield(e, b, h)
		}
	}
}

// isYoung reports whether a file of the copy was fetched so soon after its last
// change that a later change may bear the same time. Its ctime is of our clock, which is
// ahead of the server's by skew. The skew may be wrong: another clock wrote the file than
// answers, or a cache gave an old Date. So a file is young if it is by either clock.
func isYoung(have *mtree.Entry, step, skew time.Duration) bool {
	young := func(changed mtree.Stamp) bool {
		age := have.CTime.Sub(changed)
		return age > -youngMost && age < max(step, time.Second)+time.Second
	}
	return young(have.MTime) || // guard (without young(have.MTime)): TestYoungFilesAreFetchedAgain
		young(have.MTime.Add(skew)) // guard: TestYoungFilesAreFetchedAgain
}

// youngMost is how far ahead of our clock the time of a young file may be: clocks differ
// by that much, or more than the skew says. A time further ahead is a date in the future, or in
// another zone; if such a file counted as young, every pass would fetch it.
const youngMost = 10 * time.Minute
