package pass

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/actions"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// listen lets passes tell what they do, and returns what the last ones told since it was called last.
func (r *rig) listen() func() string {
	var told []string
	r.options.Tell = func(lines []actions.Line) {
		for _, l := range lines {
			require.Equal(r.t, r.top, l.Stamp)
			told = append(told, string(l.Action)+" "+l.Path)
		}
	}
	return func() string {
		is := strings.Join(told, ", ")
		told = nil
		return is
	}
}

// What failed is not told, and told when it is done. Of a directory that was deleted in part, it is told that
// something in it is gone.
func TestWhatFailedIsNotTold(t *testing.T) {
	for call, c := range map[string]struct {
		change     func(r *rig)
		told, then string
	}{
		"mkdir d":   {func(r *rig) { r.write("a/d/f") }, "", "create a/d/, create a/d/f"},
		"rename l":  {func(r *rig) { r.Tree.Link("a/l") }, "", "create a/l"},
		"chmod g":   {func(r *rig) { r.Tree.Chmod("a/g") }, "", "mode a/g"},
		"rename f":  {func(r *rig) { r.write("a/f") }, "", "update a/f"},
		"chmod old": {func(r *rig) { r.Tree.Chmod("a/old") }, "", "mode a/old/"},
		"unlink g":  {func(r *rig) { r.remove("a/g") }, "", "delete a/g"},
		"chmod d":   {func(r *rig) { r.write("a/d/f") }, "create a/d/", "mode a/d/, create a/d/f"}, // it is there
		"unlink x":  {func(r *rig) { r.remove("a/old") }, "update a/old/", "delete a/old/"},
		"open old":  {func(r *rig) { r.remove("a/old") }, "", "delete a/old/"},
		"write a":   {func(r *rig) { r.write("a/n") }, "", "create a/n"},
	} {
		simulate(t, call, "a/f a/g a/old/x a/old/y", func(t *testing.T, r *rig) {
			told := r.listen()
			c.change(r)
			r.Tree.Publish()
			failed := false
			r.Fail = func(is string) error {
				if is == call {
					failed = true
					return unix.EIO
				}
				return nil
			}
			r.pass()
			require.True(t, failed)
			require.Equal(t, c.told, told())
			r.Fail = nil
			r.pass()
			require.Equal(t, c.then, told())
		})
	}
}

// A directory that somebody made in the copy at the same moment is not told as made.
func TestADirThatWasThereIsNotTold(t *testing.T) {
	simulate(t, "", "a/f", func(t *testing.T, r *rig) {
		told := r.listen()
		r.write("a/d/f")
		r.Tree.Publish()
		r.Fail = func(call string) error {
			if call == "mkdir d" {
				r.Fail = nil
				require.NoError(t, r.Shell.Mkdir("/copy/a/d", 0o700))
			}
			return nil
		}
		r.pass()
		require.Empty(t, told())
		r.pass()
		require.Equal(t, "mode a/d/, create a/d/f", told())
	})
}

// What the source may not read is left out, and that is told.
func TestWhatIsNotReadIsTold(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		told := r.listen()
		r.write("a/n")
		r.Tree.Deny("a/n")
		r.Tree.Deny("b")
		r.Tree.Publish()
		r.pass()
		require.Equal(t, "skip b/, skip a/n", told())
		r.Tree.Allow("a/n")
		r.Tree.Allow("b")
		r.write("b/f")
		r.complete()
		require.Equal(t, "create a/n, update b/f", told())
	})
}

// Nothing is asked for before changes by a pass that changes nothing.
func TestWhatIsCalledBeforeChanges(t *testing.T) {
	simulate(t, "", "a/f", func(t *testing.T, r *rig) {
		calls := 0
		r.options.Changing = func() { calls++ }
		r.complete()
		require.Zero(t, calls)
		r.write("a/n")
		r.Fail = func(call string) error {
			if call == "setxattr a" {
				require.Positive(t, calls)
			}
			return nil
		}
		r.complete()
		require.Positive(t, calls)
		begun := 0
		p := newPass(&r.env, &r.options)
		p.options.Changing = func() { begun++ }
		p.beforeChange()()
		require.Equal(t, 1, begun)
		var o replica.Outcome
		p.guard.gate.End(&o)
		require.True(t, o.Begun, "what the guard has to know after a kill is written down, too")
	})
}

// Where case does not count, a visit renames what got another spelling.
func TestARenameOfCaseIsTold(t *testing.T) {
	simulate(t, "", "d/f", func(t *testing.T, r *rig) {
		var told []actions.Line
		p := r.begun("d")
		p.root = p.ready[1]
		r.options.Tell = func(lines []actions.Line) { told = append(told, lines...) }
		p.tellVisit(p.ready[0], &work.VisitResult{Respelled: []work.Respelled{{Old: "Dir", New: "dir", Kind: mtree.Dir}, {Old: "README", New: "readme"}}})
		require.Equal(t, []actions.Line{
			{Stamp: later, Action: actions.Rename, Path: "d/dir/", From: "d/Dir/"},
			{Stamp: later, Action: actions.Rename, Path: "d/readme", From: "d/README"},
		}, told)
	})
}
