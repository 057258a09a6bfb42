package lineage

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// ways are the sources of these tests; the copy was made from the second.
var ways = []string{"http://first", from, "http://third"}

// ofSeveral returns a bench whose copy was made from the second of three sources.
func ofSeveral(t *testing.T, o Options) *bench {
	o.Sources = ways
	return made(t, o)
}

// Only what proves by id, epoch and stamp that it shows the tree of the copy, and not as it was before, is
// used. A source that fails for good carries exit.Refused.
func TestWhichSourcesMayBeUsed(t *testing.T) {
	copyOf := func(r *source.Root) { r.State, r.Upstreams = wire.Mirrored, "a 100.000000000 -" }
	for name, c := range map[string]struct {
		number int
		adopt  bool
		copy   func(*state.Tree)
		status func(*state.Status)
		root   func(*source.Root)
		says   string
		code   exit.Code
		stays  bool // the source that is used stays so, all the same
	}{
		"the same":                  {},
		"the same, the third":       {number: 2},
		"later":                     {number: 2, root: func(r *source.Root) { r.Stamp = mtree.Unix(200, 0) }},
		"a copy":                    {number: 2, root: copyOf},
		"a copy in mid-pass":        {number: 2, root: func(r *source.Root) { copyOf(r); r.Hot, r.Stamp = true, mtree.Unix(9_000, 0) }},
		"another server":            {root: func(r *source.Root) { r.OtherServer = true }, says: "no tree id", code: exit.Refused},
		"without an id yet":         {root: func(r *source.Root) { r.Tree.ID = "" }, says: "no tree id yet", code: exit.Failed},
		"another tree":              {root: func(r *source.Root) { r.Tree.ID = theirs }, says: "another tree", code: exit.Refused},
		"another tree, adopted":     {adopt: true, root: func(r *source.Root) { r.Tree.ID = theirs }},
		"adopted, without an id":    {adopt: true, root: func(r *source.Root) { r.Tree.ID = "" }, says: "no tree id yet", code: exit.Failed},
		"the copy is new":           {copy: func(t *state.Tree) { *t = state.Tree{} }, root: func(r *source.Root) { r.Tree.ID = theirs }},
		"the copy had no id":        {copy: func(t *state.Tree) { t.NoID = true }, root: func(r *source.Root) { r.Tree.ID = theirs }},
		"another directory of it":   {root: func(r *source.Root) { r.TreePath = "/a" }, says: "another directory", code: exit.Refused},
		"its directory unknown":     {root: func(r *source.Root) { r.TreePath = "" }},
		"an earlier epoch":          {root: func(r *source.Root) { r.Tree.Epoch = 4 }, says: "epoch 4", code: exit.Failed},
		"no epoch":                  {root: func(r *source.Root) { r.Tree.Epoch = 0 }, says: "epoch 0", code: exit.Failed},
		"a later epoch, preferred":  {number: 0, root: func(r *source.Root) { r.Tree.Epoch, r.Stamp = 6, mtree.Unix(1, 0) }},
		"a later epoch, its own":    {number: 1, root: func(r *source.Root) { r.Tree.Epoch = 6 }},
		"a later epoch, a stand-in": {number: 2, root: func(r *source.Root) { r.Tree.Epoch = 6 }, says: "another lineage", code: exit.Failed, stays: true},
		"the epoch of an older lineage that is followed": {
			copy: func(t *state.Tree) { t.Epoch, t.Older = 9, 5 },
		},
		"a ring":                 {root: func(r *source.Root) { r.Upstreams = "third#0123456789abcdef 100.000000000 -" }, copy: func(t *state.Tree) { t.Copy = "0123456789abcdef" }, says: "made from it", code: exit.Refused},
		"not complete":           {root: func(r *source.Root) { r.State = wire.Filling }, says: "not complete", code: exit.Failed, stays: true},
		"stamps without a proof": {number: 2, root: func(r *source.Root) { r.State = wire.Unwatched }, says: "stamps prove nothing", code: exit.Failed, stays: true},
		"the first has no proof": {number: 0, root: func(r *source.Root) { r.State = wire.Degraded }},
		"before":                 {root: func(r *source.Root) { r.Stamp = mtree.Unix(99, 0) }, says: "older state", code: exit.Failed},
		"before, nothing new":    {root: func(r *source.Root) { r.Stamp, r.Unchanged = mtree.Stamp{}, true }, says: "older state", code: exit.Failed, stays: true},
		"a copy, before":         {number: 2, root: func(r *source.Root) { copyOf(r); r.Stamp = mtree.Unix(99, 0) }, says: "older state", code: exit.Failed},
		"a copy in mid-pass, before": {number: 2, root: func(r *source.Root) { copyOf(r); r.Hot, r.Upstreams = true, "a 99.000000000 -" },
			says: "older state", code: exit.Failed},
		"a copy that is hot, of nobody knows when": {number: 2, root: func(r *source.Root) { r.Hot, r.Upstreams = true, "?" }, says: "older state", code: exit.Failed},
		"before what came since": { // a directory below the root was listed with a later stamp
			status: func(s *state.Status) { at := mtree.Unix(150, 0); s.SourceSure = &at },
			root:   func(r *source.Root) { r.Stamp = mtree.Unix(149, 0) }, says: "older state", code: exit.Failed, stays: true,
		},
		"of a version without runs": {
			status: func(s *state.Status) {
				at := mtree.Unix(150, 0)
				s.SourceRun, s.SourceSure, s.SourceWhole, s.Root = "", nil, nil, &at
			},
			root: func(r *source.Root) { r.Stamp = mtree.Unix(149, 0) }, says: "older state", code: exit.Failed,
		},
		"an earlier run": { // its stamp is the same, but watch was started since
			copy:   func(t *state.Tree) { t.Runs = append(runsOf("0000000000000001"), runsOf("0000000000000002")...) },
			status: func(s *state.Status) { s.SourceRun = "0000000000000002" },
			root:   copyOf, number: 2, says: "older state", code: exit.Failed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := ofSeveral(t, Options{})
			if b.Adopt = c.adopt; c.adopt {
				b.adopted = false
			}
			if c.copy != nil {
				b.set(c.copy)
			}
			require.NoError(t, b.replica.UpdateStatus(func(s *state.Status) bool {
				if c.status != nil {
					c.status(s)
				}
				return true
			}))
			root := rootOf(func(r *source.Root) { r.HasNow, r.Now = true, mtree.Unix(300, 0) })
			if c.root != nil {
				c.root(root)
			}
			err := b.MayUse(root, c.number)
			if c.says == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.says)
				require.Equal(t, c.code, exit.Of(err))
			}
			if stays := b.MayStay(root) == nil; c.stays || c.says == "" {
				require.True(t, stays)
			} else {
				require.False(t, stays)
			}
		})
	}
	require.NoError(t, new(Lineage).MayUse(rootOf(func(*source.Root) {}), 0), "there is no copy yet")
}

// Another source of the same tree makes no walk due, and no clock doubted; one that shows it with other
// options does. What is not one of the given ones is another source as ever.
func TestClaimOfAnotherSource(t *testing.T) {
	b := ofSeveral(t, Options{})
	b.Use("http://third")
	b.claim(rootOf(func(*source.Root) {}))
	require.Zero(t, b.log.Len(), "%s", b.log)
	require.Equal(t, "http://third", b.replica.Tree().Upstream)
	require.Equal(t, ways, b.replica.Tree().Sources)

	b.Use("http://first")
	b.claim(rootOf(func(r *source.Root) { r.Fingerprint = "other" }))
	require.Contains(t, b.log.String(), "which shows the tree with other options")
	require.False(t, b.replica.IsDoubted(replica.DoubtClock))
	b.complete()
	for range 3 { // no serves at one address answer by turns
		b.Use(from)
		b.claim(rootOf(func(*source.Root) {}))
		b.Use("http://first")
		b.claim(rootOf(func(r *source.Root) { r.Fingerprint = "other" }))
	}
	require.NotContains(t, b.log.String(), "by turns")
}

// A start with one of the sources goes on without a walk, and still knows that the others left records. A
// start with a source that was none of them does neither.
func TestRestartWithOtherSources(t *testing.T) {
	b := ofSeveral(t, Options{})
	b.Sources, b.Upstream = nil, "http://third"
	b.claim(rootOf(func(*source.Root) {}))
	require.Zero(t, b.log.Len(), "%s", b.log)
	require.Equal(t, []string{"http://third", "http://first", from}, b.replica.Tree().Sources)
	b.claim(rootOf(func(*source.Root) {}))
	require.Equal(t, []string{"http://third", "http://first", from}, b.replica.Tree().Sources)

	b.Use("http://fourth")
	b.claim(rootOf(func(*source.Root) {}))
	require.Contains(t, b.log.String(), "another SOURCE")
	require.Empty(t, b.replica.Tree().Sources)
	b.complete()

	b.Sources, b.Upstream = []string{"http://fourth", "http://fifth"}, "http://fifth"
	b.claim(rootOf(func(*source.Root) {}))
	require.Zero(t, b.log.Len(), "%s", b.log)
}

// --adopt stayed in a unit with several sources. A start that found another one of them counted as one
// for another source: it would have adopted whatever tree was there.
func TestAdoptActsOnceForAllSources(t *testing.T) {
	b := ofSeveral(t, Options{Adopt: true})
	r := b.replica
	b.Lineage = New(b.Options, nowhere{}) // the next start
	b.Upstream = "http://third"
	require.NoError(t, b.SetReplica(r))
	require.ErrorContains(t, b.MayUse(rootOf(func(r *source.Root) { r.Tree.ID = theirs }), 2), "another tree")
	b.Sources = ways[:2]
	require.NoError(t, b.MayUse(rootOf(func(r *source.Root) { r.Tree.ID = theirs }), 1), "these are others")
}
