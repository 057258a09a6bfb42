package fetch

import (
	"context"
	"errors"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// A file that changed after its directory was listed arrives as it is by then, and a cache may have
// given it: an older one, perhaps. So it leaves its directory unfinished, and in a directory of a
// million entries in which one file changes all the time each pass would list them all. The next
// part of the listing shows which version the source has: if it is what arrived, the directory
// holds what was listed, and one change more, which has a later stamp. A listing may show such
// a change, too, before its stamp is there. So it is with a file that is gone before it is fetched,
// as temporary files are: if the part says that it is gone, the copy is right not to have it.

// confirming is the end of a fetch, in which the source is asked which version it has. What it did
// not tell yet is asked for again, with pauses that grow.
type confirming struct {
	env    *Env
	pauses int  // that were made, for all directories
	failed bool // the source did not answer: it is not asked again
}

const (
	mostPauses   = 2
	confirmPause = 10 * time.Millisecond
)

// confirm takes those files from h.Moved that the source has as they arrived, and those from h.Gone
// that it says are gone, if the group may complete its directory then. Cost: a request, and one more
// for each pause.
func (c *confirming) confirm(ctx context.Context, g *Group, h *Result) {
	if !g.Completes || g.Approx != nil || h.Moved+h.Gone != int64(len(h.changed)) || h.Unsettled+int64(len(h.Failed)) > 0 { // guard: TestWhatIsNotAskedFor
		return
	}
	for len(h.changed) > 0 && !c.failed && c.env.mayConfirm(&g.Target) {
		part, err := c.env.Source.Part(ctx, g.Target.Path, g.Target.Begun.Stamp)
		c.failed = err != nil && !errors.Is(err, source.ErrNoPart) && !errors.Is(err, source.ErrWhole) // guard: TestWhatIsNotAskedFor
		if err != nil && !errors.Is(err, source.ErrNoPart) || err == nil && !c.env.isNewsOf(&g.Target, &part) {
			return
		}
		h.changed = slices.DeleteFunc(h.changed, func(f changedFile) bool {
			told, same := f.toldBy(&part.Listing)
			if same {
				h.settle(&f)
				h.Told = &mtree.Listing{Stamp: part.Stamp, Now: part.Now, HasNow: part.HasNow}
			}
			return told
		})
		if len(h.changed) == 0 || c.pauses == mostPauses {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(confirmPause << c.pauses):
			c.pauses++
		}
	}
}

// mayConfirm reports whether a part can show anything of the files of a target: its source has
// parts, and it is known which directory was listed. By another clock, no stamp is later than one
// of before.
func (env *Env) mayConfirm(t *Target) bool {
	is := env.Root.State
	return (is == wire.Watched || is == wire.Mirrored) && env.Root.Fingerprint != "" &&
		t.Begun.ID != "" &&
		!t.Past && // guard: TestWhatConfirmsAFile
		t.Doubts&replica.DoubtClock == 0 // guard: TestWhatConfirmsAFile
}

// isNewsOf reports whether a part is of the directory that was listed, by a serve with the same
// options, and from after it was.
func (env *Env) isNewsOf(t *Target, part *source.Dir) bool {
	return part.IsPart() &&
		part.Tree == env.Root.Tree && // guard: TestWhatConfirmsAFile
		part.Fingerprint == env.Root.Fingerprint && // guard: TestWhatConfirmsAFile
		part.ID == t.Begun.ID && // guard: TestWhatConfirmsAFile
		!part.Hot && // guard: TestWhatConfirmsAFile
		part.Stamp.After(t.Begun.Stamp) // guard: TestWhatConfirmsAFile
}

// settle counts a file no more that the source has as the copy has it.
func (h *Result) settle(f *changedFile) {
	if f.gone {
		h.Gone--
	} else {
		h.Moved--
	}
}

// toldBy reports whether a part tells of the file, and whether the source has what arrived, with
// the mode and owner that were listed, or has none as the copy.
func (f *changedFile) toldBy(part *mtree.Listing) (told, same bool) {
	if slices.Contains(part.Gone, f.want.Name) {
		return true, f.gone
	}
	at := slices.IndexFunc(part.Entries, func(e mtree.Entry) bool { return e.Name == f.want.Name })
	if at < 0 {
		return false, false
	}
	is, want := &part.Entries[at], f.want
	want.Size, want.MTime, want.CTime = is.Size, is.MTime, is.CTime
	return true, *is == want && // guard (without *is == want): TestWhatConfirmsAFile
		is.Has&f.got.Has&mtree.HasCTime != 0 && // guard: TestWhatConfirmsAFile
		source.SameFile(is, &f.got) // guard: TestWhatConfirmsAFile
}
