package lineage

import (
	"errors"
	"fmt"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// One of several sources may only be used if its root proves that it shows the tree of the copy, and
// not as it was before. What it says is believed, as of a single source: who names a server as a
// SOURCE trusts it.

// MayUse returns why the copy must not be made from the source with that root, which is its first
// answer since another source was used; nil: it may. number counts the sources as they were given, from
// 0. The error carries exit.Refused if waiting does not help.
func (l *Lineage) MayUse(root *source.Root, number int) error {
	if err := l.MayStay(root); err != nil || l.replica == nil {
		return err
	}
	t := l.replica.Tree()
	if t.ID == "" || l.adopts() {
		return nil
	}
	is := slices.Index(l.Sources, state.SourceName(t.Upstream))
	epoch := followedEpoch(&t)
	switch {
	case root.State == wire.Filling: // guard: TestWhichSourcesMayBeUsed
		return errors.New("it is a copy that is not complete yet")
	case number > 0 && !root.State.Prunes(): // guard: TestWhichSourcesMayBeUsed
		return fmt.Errorf("its stamps prove nothing: it is %.20q", string(root.State))
	case is >= 0 && number > is && root.Tree.Epoch > epoch: // guard: TestWhichSourcesMayBeUsed
		return fmt.Errorf("it is in epoch %d, and the copy in %d: it may be another lineage of the tree, as a copy that was promoted is", root.Tree.Epoch, epoch)
	}
	return l.checkBehind(root)
}

// MayStay returns why the copy must no longer be made from the source that is used; nil: it may. A
// root that is unchanged tells of its tree only. Errors are as those of MayUse.
func (l *Lineage) MayStay(root *source.Root) error {
	switch {
	case root.OtherServer: // guard: TestWhichSourcesMayBeUsed
		return errNoProof
	case root.Tree.ID == "": // guard: TestWhichSourcesMayBeUsed
		return errNoID
	}
	if l.replica == nil {
		return nil // there is no copy yet
	}
	if err := l.guard.CheckRing(root.Upstreams); err != nil { // guard: TestWhichSourcesMayBeUsed
		return errRing
	}
	t := l.replica.Tree()
	switch {
	case t.ID == "" || l.adopts():
		return nil
	case root.Tree.ID != t.ID && !t.NoID: // guard: TestWhichSourcesMayBeUsed
		return refused(fmt.Errorf("it is of another tree, %s", root.Tree.ID))
	case t.Path != "" && root.TreePath != "" && root.TreePath != t.Path: // guard: TestWhichSourcesMayBeUsed
		return refused(fmt.Errorf("it is another directory of the tree, %.200q", root.TreePath))
	case root.Tree.Epoch < followedEpoch(&t): // guard: TestWhichSourcesMayBeUsed
		return fmt.Errorf("it is in epoch %d, and the copy in %d: it is an older lineage of the tree, or a copy that has not followed yet", root.Tree.Epoch, followedEpoch(&t))
	case root.Unchanged:
		return nil
	case l.isOlder(root), l.isBefore(root, l.wholeStamp()): // guard: TestWhichSourcesMayBeUsed
		return errBehind
	}
	return nil
}

// Why a source is not used.
var (
	errNoProof = refused(errors.New("it has no tree id: nothing proves that it shows the tree of the others"))
	errNoID    = errors.New("it has no tree id yet: nothing proves that it shows the tree of the others until watch runs there")
	errRing    = refused(errors.New("it is this copy, or made from it"))
	errBehind  = errors.New("it shows an older state of the tree than the copy has")
)

// refused returns the error for a source for which waiting does not help.
func refused(err error) error { return exit.With(exit.Refused, err, "") }

// checkBehind returns errBehind if the source may lack anything that the copy has.
func (l *Lineage) checkBehind(root *source.Root) error {
	s := l.replica.Status()
	if l.isBefore(root, mtree.Later(l.wholeStamp(), orMin(s.SourceSure))) { // guard (mtree.Later(l.wholeStamp(), orMin(s.SourceSure)) -> l.wholeStamp()): TestWhichSourcesMayBeUsed
		return errBehind
	}
	return nil
}

// isBefore reports whether the source does not show certainly everything up to a stamp of the root, in
// the epoch that the copy follows. In another epoch its clock may be another one.
func (l *Lineage) isBefore(root *source.Root, have mtree.Stamp) bool {
	t := l.replica.Tree()
	if have == mtree.MinStamp || root.Tree.Epoch != followedEpoch(&t) {
		return false
	}
	shown := root.Stamp
	if root.Hot && root.Upstreams != "" { // the time of an unfinished root is no stamp
		up := wire.ParseUpstreams(root.Upstreams)
		if len(up) == 0 {
			return true
		}
		shown = up[0].Root
	}
	return shown.Before(have)
}

// wholeStamp returns the latest stamp of a root of which the source showed everything below it, as far
// as the copy remembers.
func (l *Lineage) wholeStamp() mtree.Stamp {
	s := l.replica.Status()
	if s.SourceSure == nil && s.SourceWhole == nil && s.SourceRun == "" {
		return orMin(s.Root) // the source is of a version that does not tell its runs
	}
	return orMin(s.SourceWhole)
}

// orMin returns a stamp that may be missing; if it is, the lowest.
func orMin(s *mtree.Stamp) mtree.Stamp {
	if s == nil {
		return mtree.MinStamp
	}
	return *s
}
