package fetch

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// teller is a source that tells what changed in a directory, each answer once, the last one
// for good.
type teller struct {
	Source
	answers []source.Dir
	err     error
	asked   []string
}

func (s *teller) Part(_ context.Context, path string, since mtree.Stamp) (source.Dir, error) {
	s.asked = append(s.asked, path+" "+since.String())
	if s.err != nil || len(s.answers) == 0 {
		return source.Dir{}, s.err
	}
	part := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	if part.Part == nil {
		return part, source.ErrNoPart
	}
	return part, nil
}

// ofAFile is the end of a fetch that brought f in another version than was listed.
type ofAFile struct {
	t      *testing.T
	target Target
	file   changedFile
	part   source.Dir
	env    Env
}

func newOfAFile(t *testing.T) *ofAFile {
	f := file("f")
	f.Has, f.CTime = f.Has|mtree.HasCTime, longAgo
	is := f
	is.Size, is.MTime, is.CTime = 7, changed, changed
	c := &ofAFile{t: t, file: changedFile{want: f, got: is}}
	c.file.got.Mode, c.file.got.Has = 0, mtree.HasCTime // what an answer says of a file
	c.target = Target{Path: "d"}
	c.target.Begun.Stamp, c.target.Begun.ID = now, ours
	c.part = source.Dir{Tree: source.Tree{ID: "t", Epoch: 5}, Fingerprint: "e", Direct: true}
	c.part.Stamp, c.part.ID, c.part.Part = changed, ours, []mtree.Span{{From: now, To: now}}
	c.part.Entries = []mtree.Entry{dir("a"), is, file("z")}
	c.env.Root = &source.Root{State: wire.Watched}
	c.env.Root.Tree, c.env.Root.Fingerprint = c.part.Tree, "e"
	return c
}

// confirm returns whether f is confirmed, by the source's answers, and what that was asked for.
func (c *ofAFile) confirm(ctx context.Context, err error, answers ...source.Dir) (confirmed bool, asked []string) {
	from := &teller{answers: answers, err: err}
	c.env.Source = from
	end := confirming{env: &c.env}
	h := c.result()
	end.confirm(ctx, &Group{Target: c.target, Completes: true}, h)
	confirmed = h.Moved == 0 && h.Gone == 0
	require.Equal(c.t, confirmed, h.Told != nil)
	return confirmed, from.asked
}

// result returns what the fetch brought.
func (c *ofAFile) result() *Result {
	h := &Result{changed: []changedFile{c.file}}
	if c.file.gone {
		h.Gone = 1
	} else {
		h.Moved = 1
	}
	return h
}

// A file that changed after it was listed is right if a later part of the same directory has it as
// it arrived. In each of the other cases it may be an older one out of a cache, one of another
// directory, or one with another mode.
func TestWhatConfirmsAFile(t *testing.T) {
	for name, change := range map[string]func(c *ofAFile){
		"it is": nil,

		"it is, at a copy": func(c *ofAFile) { c.env.Root.State = wire.Mirrored },

		"another tree":              func(c *ofAFile) { c.part.Tree.ID = "u" },
		"another epoch":             func(c *ofAFile) { c.part.Tree.Epoch++ },
		"another directory":         func(c *ofAFile) { c.part.ID = theirs },
		"other options":             func(c *ofAFile) { c.part.Fingerprint = "f" },
		"hot":                       func(c *ofAFile) { c.part.Hot = true },
		"not later":                 func(c *ofAFile) { c.part.Stamp = now },
		"another size":              func(c *ofAFile) { c.part.Entries[1].Size++ },
		"another time":              func(c *ofAFile) { c.part.Entries[1].MTime = now },
		"another ctime":             func(c *ofAFile) { c.part.Entries[1].CTime = now },
		"no ctime":                  func(c *ofAFile) { c.file.got.Has = 0 },
		"none is told":              func(c *ofAFile) { c.part.Entries[1].Has, c.file.want.Has = mtree.HasMode, mtree.HasMode },
		"another mode":              func(c *ofAFile) { c.part.Entries[1].Mode = 0o600 },
		"another owner":             func(c *ofAFile) { c.part.Entries[1].UID = 5 },
		"another kind":              func(c *ofAFile) { c.part.Entries[1].Kind = mtree.Symlink },
		"the file is hot":           func(c *ofAFile) { c.part.Entries[1].Hot = true },
		"an attribute to come":      func(c *ofAFile) { c.part.Entries[1].NotUnderstood = "New" },
		"gone":                      func(c *ofAFile) { c.part.Entries, c.part.Gone = nil, []string{"f"} },
		"not told":                  func(c *ofAFile) { c.part.Entries = c.part.Entries[:1] },
		"below a listing of before": func(c *ofAFile) { c.target.Past = true },
		"by another clock":          func(c *ofAFile) { c.target.Doubts = replica.DoubtClock },
		"no id":                     func(c *ofAFile) { c.part.ID, c.target.Begun.ID = "", "" },
		"unknown options":           func(c *ofAFile) { c.part.Fingerprint, c.env.Root.Fingerprint = "", "" },
		"nobody watches":            func(c *ofAFile) { c.env.Root.State = wire.Unwatched },
		"nobody watches any more":   func(c *ofAFile) { c.env.Root.State = wire.Audited },
		"a copy that stands still":  func(c *ofAFile) { c.env.Root.State = wire.Stale },
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newOfAFile(t)
			if change != nil {
				change(c)
			}
			confirmed, asked := c.confirm(t.Context(), nil, c.part)
			require.Equal(t, strings.HasPrefix(name, "it is"), confirmed, name)
			for _, one := range asked {
				require.Equal(t, "d "+now.String(), one)
			}
		})
	}
}

// A file that is gone by the time that it is fetched, and that the copy has not, is right if a later
// part says that it is gone; not if it is there again.
func TestWhatConfirmsThatAFileIsGone(t *testing.T) {
	for name, change := range map[string]func(c *ofAFile){
		"it is": nil,

		"it is there again":         func(c *ofAFile) { c.part.Entries, c.part.Gone = []mtree.Entry{c.file.want}, nil },
		"it is there, and has none": func(c *ofAFile) { c.part.Entries, c.part.Gone = []mtree.Entry{file("f")}, nil },
		"not told":                  func(c *ofAFile) { c.part.Gone = []string{"g"} },
		"another directory":         func(c *ofAFile) { c.part.ID = theirs },
		"not later":                 func(c *ofAFile) { c.part.Stamp = now },
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newOfAFile(t)
			c.file.got, c.file.gone = mtree.Entry{}, true
			c.part.Entries, c.part.Gone = nil, []string{"a", "f"}
			if change != nil {
				change(c)
			}
			confirmed, _ := c.confirm(t.Context(), nil, c.part)
			require.Equal(t, change == nil, confirmed, name)
		})
	}
}

// What is not told yet is asked for again, but not for long. What is another one by then, or
// not told by name, is not.
func TestAFileThatIsToldLater(t *testing.T) {
	c := newOfAFile(t)
	nothing, others, another := source.Dir{}, c.part, c.part
	others.Entries = c.part.Entries[2:]
	another.Entries = []mtree.Entry{c.part.Entries[1]}
	another.Entries[0].CTime = changed.Add(1)
	for name, test := range map[string]struct {
		answers   []source.Dir
		err       error
		confirmed bool
		asked     int
	}{
		"at once":          {answers: []source.Dir{c.part}, confirmed: true, asked: 1},
		"then":             {answers: []source.Dir{nothing, c.part}, confirmed: true, asked: 2},
		"others before":    {answers: []source.Dir{others, nothing, c.part}, confirmed: true, asked: 3},
		"never":            {answers: []source.Dir{nothing}, asked: 1 + mostPauses},
		"another":          {answers: []source.Dir{another, c.part}, asked: 1},
		"nobody tells it":  {err: source.ErrMoved, asked: 1},
		"not by name":      {err: source.ErrWhole, asked: 1},
		"all that is told": {err: source.ErrNoPart, asked: 1 + mostPauses},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			confirmed, asked := newOfAFile(t).confirm(t.Context(), test.err, test.answers...)
			require.Equal(t, test.confirmed, confirmed, name)
			require.Len(t, asked, test.asked, name)
			if name == "at once" {
				require.Zero(t, time.Since(began))
			}
			require.LessOrEqual(t, time.Since(began), 3*confirmPause, name)
		})
	}
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("stopped"))
	confirmed, asked := newOfAFile(t).confirm(ctx, nil, nothing)
	require.False(t, confirmed)
	require.Len(t, asked, 1)
}

// A directory that stays unfinished whatever the source says is not asked for; nor is any after the
// source did not answer. The pauses are those of all directories.
func TestWhatIsNotAskedFor(t *testing.T) {
	for name, change := range map[string]func(g *Group, h *Result){
		"it is": nil,

		"it stays unfinished":     func(g *Group, _ *Result) { g.Completes = false },
		"listed roughly":          func(g *Group, _ *Result) { g.Approx = &source.Approx{} },
		"another looks as listed": func(_ *Group, h *Result) { h.Moved++ },
		"another is gone":         func(_ *Group, h *Result) { h.Gone++ },
		"another is not settled":  func(_ *Group, h *Result) { h.Unsettled++ },
		"another failed":          func(_ *Group, h *Result) { h.Failed = make([]Failure, 1) },
	} {
		c := newOfAFile(t)
		from := &teller{answers: []source.Dir{c.part}}
		c.env.Source = from
		g, h := &Group{Target: c.target, Completes: true}, c.result()
		if change != nil {
			change(g, h)
		}
		moved := h.Moved
		end := confirming{env: &c.env}
		end.confirm(t.Context(), g, h)
		if change == nil {
			require.Equal(t, &mtree.Listing{Stamp: changed}, h.Told)
			require.Zero(t, h.Moved)
			continue
		}
		require.Empty(t, from.asked, name)
		require.Equal(t, moved, h.Moved, name)
		require.Nil(t, h.Told, name)
	}
	c := newOfAFile(t)
	from := &teller{answers: []source.Dir{c.part}}
	c.env.Source = from
	end := confirming{env: &c.env}
	end.confirm(t.Context(), &Group{Target: c.target, Completes: true}, &Result{})
	require.Empty(t, from.asked, "nothing changed")
	for err, asked := range map[error]int{errAway: 1, source.ErrWhole: 3, source.ErrNoPart: 3 + mostPauses} {
		synctest.Test(t, func(t *testing.T) {
			c := newOfAFile(t)
			from := &teller{err: err}
			c.env.Source = from
			end := confirming{env: &c.env}
			for range 3 {
				end.confirm(t.Context(), &Group{Target: c.target, Completes: true}, c.result())
			}
			require.Len(t, from.asked, asked)
		})
	}
}
