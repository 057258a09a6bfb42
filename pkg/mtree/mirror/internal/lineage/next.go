package lineage

import (
	"slices"

	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// next returns what the copy is a copy of from now on; root is that of the source. more
// has new doubts about the copy.
func (l *Lineage) next(root *source.Root, more replica.Doubts) state.Tree {
	was := l.replica.Tree()
	is := was
	is.Role, is.Upstream, is.Filters = state.Copy, l.Upstream, l.Selection
	is.ID, is.NoID = root.Tree.ID, root.Tree.ID == ""
	if is.NoID {
		if is.ID = was.ID; !was.NoID || was.ID == "" {
			is.ID = state.NewTreeID()
		}
	}
	same := is.ID == was.ID && is.NoID == was.NoID && !l.adopts()
	switch {
	case len(l.Sources) > 0:
		is.Sources = l.Sources
	case !isOneTree(&was, &is): // guard (always): TestRestartWithOtherSources
		is.Sources = nil // of what is recorded nothing was of this source
	case len(was.Sources) > 0 && was.Sources[0] != is.Upstream: // the others may have left records
		others := slices.DeleteFunc(slices.Clone(was.Sources), func(name string) bool { return name == is.Upstream })
		is.Sources = append([]string{is.Upstream}, others...)
	}
	switch {
	case !same || root.Tree.Epoch >= was.Epoch:
		is.Epoch, is.Older = root.Tree.Epoch, 0
	case root.Tree.Epoch != 0:
		is.Older = root.Tree.Epoch
	}
	if !same || root.TreePath != "" {
		is.Path = root.TreePath
	}
	if !is.NoID {
		is.Place = ""
	} else if !same || was.Place == "" {
		is.Place = root.Place
	}
	// While the copy may have bytes from before the source was rolled back, copies of this
	// copy do not learn of the later run.
	if !same || root.Runs != nil && more == 0 && !l.older && !l.replica.IsDoubted(replica.DoubtBytes) {
		is.Runs = root.Runs
	}
	if root.Fingerprint != "" {
		is.Fingerprint = root.Fingerprint // otherwise a proxy removed it, or no stamp prunes and everything is compared anyway
	}
	if is.Copy == "" || !was.BoundTo(l.replica.Self) {
		is.Copy = state.NewTreeID()[:16] // the id in a copied copy belongs to the original
	}
	switch {
	case l.Adopt:
		is.Adopted = l.given()
	case !l.Repair: // guard (always): TestARepairIsNoStartWithoutAdopt
		is.Adopted = ""
	}
	is.Bind(l.replica.Self)
	return is
}

// newIn says which difference between was and is makes a full walk due; "": none.
func newIn(was, is *state.Tree) string {
	switch {
	case was.ID != is.ID || was.NoID != is.NoID:
		return "this copy is new to its source, or the other way round"
	case !isOneTree(was, is):
		return "another SOURCE"
	case was.Path != is.Path && was.Path != "":
		return "another directory of the tree"
	case was.Older != is.Older:
		return "the source is of another lineage of the tree"
	case was.Epoch != is.Epoch:
		return "the source is in another epoch: it cannot prove what changed"
	case !slices.Equal(was.Filters, is.Filters):
		return "other filters, --no-delete, --no-links, --owner, --hard-links, --chmod, --chown, --min-size, --max-size or --max-age"
	case was.Fingerprint != is.Fingerprint && state.SourceName(was.Upstream) != is.Upstream:
		return "another one of the SOURCEs, which shows the tree with other options or rights"
	case was.Fingerprint != is.Fingerprint:
		return "the source's serve has other options or rights, or so has a source further up"
	}
	return ""
}

// isOneTree reports whether the source is the one that the copy was made from, or another one that shows
// the same tree: it is one of several, each of which proves that (Lineage.MayUse) before it is used.
func isOneTree(was, is *state.Tree) bool {
	if state.SourceName(was.Upstream) == is.Upstream {
		return true
	}
	return was.ID == is.ID && !was.NoID && !is.NoID && slices.Contains(is.Sources, is.Upstream) // guard (returns false): TestClaimOfAnotherSource
}

// otherClock reports whether what the copy remembers of the source's clock may be of
// another one: a listing may then be later, though its `now` is lower.
func otherClock(was, is *state.Tree) bool {
	return was.ID != is.ID || was.NoID != is.NoID || was.Epoch != is.Epoch || was.Older != is.Older || !isOneTree(was, is)
}

// reason returns, for the log, why everything is compared.
func (l *Lineage) reason(was, is *state.Tree, more replica.Doubts) string {
	switch why := newIn(was, is); {
	case l.Sums && !l.summed:
		return "--adopt --verify: files of equal size and time are compared by sums"
	case more&replica.DoubtBytes != 0:
		return "the source was rolled back, lost its runs, or its clock was set back: files of equal size and time are compared by sums"
	case why != "":
		return why
	case l.adopts():
		return "--adopt: what the source lists now counts, whatever its clock says"
	}
	return "what is remembered of this copy was lost"
}
