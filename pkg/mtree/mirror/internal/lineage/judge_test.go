package lineage

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// What a copy may follow: what it is a copy of, or with --adopt anything, once. Where that is
// not certain, nothing is deleted.
func TestWhatACopyFollows(t *testing.T) {
	nameless := func(t *state.Tree) { t.NoID, t.Place = true, "here" }
	for name, c := range map[string]struct {
		adopt bool
		copy  func(*state.Tree)
		root  func(*source.Root)
		hold  string // part of why nothing may be deleted
		code  exit.Code
		says  string // part of the error
	}{
		"its source":                       {},
		"a copy that is new":               {copy: func(t *state.Tree) { *t = state.Tree{} }, root: func(r *source.Root) { r.Tree.ID, r.OtherServer = theirs, true }},
		"adopted":                          {adopt: true, root: func(r *source.Root) { r.Tree.ID = theirs }},
		"another tree":                     {root: func(r *source.Root) { r.Tree.ID = theirs }, code: exit.Refused, says: "give the right source, or --adopt"},
		"another, adopted before":          {adopt: true, copy: func(t *state.Tree) { t.Adopted = from }, root: func(r *source.Root) { r.Tree.ID = theirs }, code: exit.Refused, says: "--adopt was carried out before"},
		"another, adopted elsewhere":       {adopt: true, copy: func(t *state.Tree) { t.Adopted = "http://b" }, root: func(r *source.Root) { r.Tree.ID = theirs }},
		"adopted where it was":             {adopt: true, copy: func(t *state.Tree) { t.Adopted = from; t.Inode++ }, root: func(r *source.Root) { r.Tree.ID = theirs }},
		"its tree, elsewhere":              {copy: func(t *state.Tree) { t.Upstream = "http://b" }},
		"another server":                   {root: func(r *source.Root) { r.OtherServer, r.Tree.ID = true, "" }, code: exit.Unreachable, says: "something else than serve"},
		"its id was lost":                  {root: func(r *source.Root) { r.Tree.ID = "" }, hold: "lost its tree id"},
		"another directory of the tree":    {copy: func(t *state.Tree) { t.Path = "/a" }, root: func(r *source.Root) { r.TreePath = "/b" }, code: exit.Refused, says: `one of "/a"`},
		"the same directory":               {copy: func(t *state.Tree) { t.Path = "/a" }, root: func(r *source.Root) { r.TreePath = "/a" }},
		"no directory known to it":         {copy: func(t *state.Tree) { t.Path = "/a" }, root: func(r *source.Root) { r.TreePath = "" }},
		"no directory known":               {copy: func(t *state.Tree) { t.Path = "" }, root: func(r *source.Root) { r.TreePath = "/b" }},
		"an older lineage":                 {root: func(r *source.Root) { r.Tree.Epoch = 4 }, hold: "older lineage"},
		"a later lineage":                  {root: func(r *source.Root) { r.Tree.Epoch = 6 }},
		"no epoch":                         {root: func(r *source.Root) { r.Tree.Epoch = 0 }},
		"without an id":                    {copy: nameless, root: func(r *source.Root) { r.Tree.ID, r.Place = "", "here" }},
		"it has an id now":                 {copy: nameless, root: func(r *source.Root) { r.Tree.ID, r.Place = theirs, "here" }},
		"a server without ids":             {copy: nameless, root: func(r *source.Root) { r.Tree.ID, r.OtherServer = "", true }},
		"without an id, named otherwise":   {copy: func(t *state.Tree) { nameless(t); t.Upstream = "http://u:p@A/" }, root: func(r *source.Root) { r.Tree.ID = "" }},
		"without an id, elsewhere":         {copy: func(t *state.Tree) { nameless(t); t.Upstream = "http://b" }, code: exit.Refused, says: "give that source, or --adopt"},
		"without an id, another directory": {copy: func(t *state.Tree) { nameless(t); t.Path = "/a" }, root: func(r *source.Root) { r.Tree.ID, r.TreePath = "", "/b" }, code: exit.Refused, says: `one of "/a"`},
		"with an id, another directory":    {copy: func(t *state.Tree) { nameless(t); t.Path = "/a" }, root: func(r *source.Root) { r.Tree.ID, r.TreePath = theirs, "/b" }},
		"replaced":                         {copy: nameless, root: func(r *source.Root) { r.Tree.ID, r.Place = "", "there" }, hold: "replaced, or not mounted"},
		"replaced by a tree":               {copy: nameless, root: func(r *source.Root) { r.Tree.ID, r.Place = theirs, "there" }, code: exit.Refused, says: "check what is mounted there"},
		"its place was not known":          {copy: func(t *state.Tree) { nameless(t); t.Place = "" }, root: func(r *source.Root) { r.Tree.ID, r.Place = "", "there" }},
		"its place is not known":           {copy: nameless, root: func(r *source.Root) { r.Tree.ID, r.Place = "", "" }},
		"its tree moved":                   {copy: func(t *state.Tree) { t.Place = "here" }, root: func(r *source.Root) { r.Place = "there" }},
	} {
		b := made(t, Options{})
		b.Adopt = c.adopt
		if c.copy != nil {
			b.set(c.copy)
		}
		b.adopted = false
		if c.root == nil {
			c.root = func(*source.Root) {}
		}
		hold, err := b.mayFollow(rootOf(c.root))
		require.Equal(t, c.code, exit.Of(err), "%s: %v", name, err)
		if c.says != "" {
			require.ErrorContains(t, err, c.says, name)
		}
		require.Contains(t, hold, c.hold, name)
		require.Equal(t, c.hold == "", hold == "", name)
	}
	b := made(t, Options{Adopt: true})
	_, err := b.mayFollow(rootOf(func(r *source.Root) { r.Tree.ID = theirs }))
	require.Equal(t, exit.Refused, exit.Of(err), "it was carried out by this start")
	b.set(func(t *state.Tree) { t.Adopted = "" })
	_, err = b.mayFollow(rootOf(func(r *source.Root) { r.Tree.ID = theirs }))
	require.Equal(t, exit.Refused, exit.Of(err), "also if the copy no longer says so")
}

// A copy that met itself, in a ring or below the root of its source, is refused.
func TestACopyThatMeetsItself(t *testing.T) {
	b := made(t, Options{})
	b.set(func(t *state.Tree) { t.Copy = "0123456789abcdef" })
	tree := b.replica.Tree()
	up := (&state.Published{Tree: tree, Status: state.Status{Root: &rootOf(func(*source.Root) {}).Stamp}}).Upstreams()
	_, err := b.mayFollow(rootOf(func(r *source.Root) { r.Upstreams = wire.FormatUpstreams(up) }))
	require.Equal(t, exit.Refused, exit.Of(err))
	require.ErrorContains(t, err, "a ring")
	below := newBench(t, b.path+"/below", Options{}, replica.Options{})
	_, err = below.mayFollow(rootOf(func(*source.Root) {}))
	require.Equal(t, exit.Refused, exit.Of(err))
	require.ErrorContains(t, err, "lies within the source")
}
