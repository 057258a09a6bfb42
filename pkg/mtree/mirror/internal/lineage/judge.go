package lineage

import (
	"fmt"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// lostID says why nothing is deleted while a source does not name its tree.
const lostID = "the source has lost its tree id"

// mayFollow decides whether the copy may become, or stay, a copy of the source with that
// root, as far as that can be decided without reading either.
func (l *Lineage) mayFollow(root *source.Root) (holdAll string, err error) {
	if err := l.guard.CheckPlace(root.Tree.ID); err != nil {
		return "", err
	}
	if holdAll, err = l.judge(root); err == nil {
		err = l.guard.CheckRing(root.Upstreams)
	}
	return holdAll, err
}

// judge compares the source with what the copy was made from. It returns why nothing may
// be deleted, or "", and refuses a source that the copy may not follow.
func (l *Lineage) judge(root *source.Root) (holdAll string, err error) {
	t, name := l.replica.Tree(), l.Upstream
	elsewhere := t.NoID && t.Place != "" && root.Place != "" && t.Place != root.Place
	otherDir := t.Path != "" && root.TreePath != "" && root.TreePath != t.Path
	switch {
	case t.ID == "" || l.adopts(): // any source will do
	case t.NoID && state.SourceName(t.Upstream) != name:
		return "", l.refuse(fmt.Errorf("the copy was made from %q, which had no tree id", t.Upstream), "give that source")
	case elsewhere && root.Tree.ID != "":
		return "", l.refuse(fmt.Errorf("%q is another directory than the copy was made from, and tree %s", name, root.Tree.ID), "check what is mounted there")
	case elsewhere: // guard: TestALocalSourceThatIsAnotherDirectory
		return fmt.Sprintf("%q is another directory than the copy was made from: replaced, or not mounted", name), nil
	case t.NoID && (!otherDir || root.Tree.ID != ""): // guard (always): TestAPageOfAnotherDirectoryOfAnUnwatchedTree
	case t.NoID:
		return "", l.refuseDir(t.Path, root.TreePath)
	case root.OtherServer:
		return "", exit.With(exit.Unreachable, fmt.Errorf("%w: something else than serve answers", mtree.ErrListing),
			"the copy was made from a tidemark tree")
	case root.Tree.ID == "": // guard: TestALostTreeIDDeletesNothing
		return lostID, nil
	case root.Tree.ID != t.ID: // guard: TestSimulatedGuards/another_tree
		return "", l.refuse(fmt.Errorf("the copy is of tree %s, the source is tree %s", t.ID, root.Tree.ID), "give the right source")
	case otherDir: // guard: TestACopyOfAnotherDirectoryOfTheTree
		return "", l.refuseDir(t.Path, root.TreePath)
	case root.Tree.Epoch != 0 && root.Tree.Epoch < t.Epoch: // guard: TestAnOlderLineageDeletesNothing
		return fmt.Sprintf("the source is of an older lineage of the tree, epoch %d: the copy has followed epoch %d", root.Tree.Epoch, t.Epoch), nil
	}
	return "", nil
}

// refuseDir returns the error for a source that is another directory of the tree.
func (l *Lineage) refuseDir(was, is string) error {
	return l.refuse(fmt.Errorf("the copy is one of %q in the tree, the source is %q", was, is), "give the right source")
}

// refuse returns the error for a source that the copy follows only with Adopt.
func (l *Lineage) refuse(err error, remedy string) error {
	if l.Adopt {
		remedy += "; --adopt was carried out before, and counts again after a start without it"
	} else {
		remedy += ", or --adopt to make the copy equal to this one"
	}
	return exit.With(exit.Refused, err, remedy)
}

// adopts reports whether Adopt is still to be carried out. That happens only once: if the
// option stays in a unit file, a later start must not make the copy equal to just any
// source.
func (l *Lineage) adopts() bool {
	t := l.replica.Tree()
	done := t.Adopted == l.given() && t.BoundTo(l.replica.Self) // guard (l.given() -> l.Upstream): TestAdoptActsOnceForAllSources
	return l.Adopt && !l.adopted && !done                       // guard (without !done): TestAdoptActsOnce
}
