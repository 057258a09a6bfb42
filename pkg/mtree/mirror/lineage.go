package mirror

import (
	"fmt"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// Who the source is: the tree of the copy, and the same directory of it; the
// lineage of that tree which the copy has followed; and not what it was before.

// lostID is why nothing is deleted while a source does not say which tree it is.
const lostID = "the source has lost its tree id"

// mayFollow decides whether the copy may become, or stay, one of the source with the root
// a, as far as can be told without looking at all of either; see judge.
func (m *mirror) mayFollow(a *source.Root) (holdAll string, err error) {
	if err := m.overlap().CheckPlace(a.Tree.ID); err != nil {
		return "", err
	}
	if holdAll, err = m.judge(a); err == nil {
		err = m.overlap().CheckRing(a.Upstreams)
	}
	return holdAll, err
}

// judge decides whether the copy may become, or stay, one of the source with the
// root a, and says why nothing may be deleted, if so.
func (m *mirror) judge(a *source.Root) (holdAll string, err error) {
	t, name := m.dest.Tree(), state.SourceName(m.config.Source)
	elsewhere := t.NoID && t.Place != "" && a.Place != "" && t.Place != a.Place
	switch {
	case t.ID == "" || m.adopts():
		return "", nil
	case t.NoID && state.SourceName(t.Upstream) != name:
		return "", m.refused(fmt.Errorf("the copy was made from %q, which had no tree id", t.Upstream), "give that source")
	case elsewhere && a.Tree.ID != "":
		return "", m.refused(fmt.Errorf("%q is another directory than the copy was made from, and tree %s", name, a.Tree.ID), "check what is mounted there")
	case elsewhere:
		return fmt.Sprintf("%q is another directory than the copy was made from: replaced, or not mounted", name), nil
	case t.NoID:
		return "", nil
	case a.OtherServer:
		return "", exit.With(exit.Unreachable, fmt.Errorf("%w: something else than serve answers", mtree.ErrListing),
			"the copy was made from a tidemark tree")
	case a.Tree.ID == "":
		return lostID, nil
	case a.Tree.ID != t.ID:
		return "", m.refused(fmt.Errorf("the copy is of tree %s, the source is tree %s", t.ID, a.Tree.ID), "give the right source")
	case t.Path != "" && a.TreePath != "" && a.TreePath != t.Path:
		return "", m.refused(fmt.Errorf("the copy is one of %q in the tree, the source is %q", t.Path, a.TreePath), "give the right source")
	case a.Tree.Epoch != 0 && a.Tree.Epoch < t.Epoch:
		return fmt.Sprintf("the source is of an older lineage of the tree, epoch %d: the copy has followed epoch %d", a.Tree.Epoch, t.Epoch), nil
	}
	return "", nil
}

// refused is the error of a source that only --adopt makes the copy's.
func (m *mirror) refused(err error, remedy string) error {
	if m.config.Adopt {
		remedy += "; --adopt was carried out before, and counts again after a start without it"
	} else {
		remedy += ", or --adopt to make the copy equal to this one"
	}
	return exit.With(exit.Refused, err, remedy)
}

// adopts reports whether --adopt is still to be carried out. It acts once: in a
// unit it must not take whatever answers at a later start.
func (m *mirror) adopts() bool {
	t := m.dest.Tree()
	done := t.Adopted == state.SourceName(m.config.Source) && t.BoundTo(m.dest.Self)
	return m.config.Adopt && !m.adopted && !done
}

// next returns who the copy is from now on, a being the root of its source.
func (m *mirror) next(a *source.Root, more replica.Doubts) state.Tree {
	c, was := &m.config, m.dest.Tree()
	is := was
	is.Role, is.Upstream, is.Filters = state.Copy, state.SourceName(c.Source), c.selection()
	is.ID, is.NoID = a.Tree.ID, a.Tree.ID == ""
	if is.NoID {
		if is.ID = was.ID; !was.NoID || was.ID == "" {
			is.ID = state.NewTreeID()
		}
	}
	same := is.ID == was.ID && is.NoID == was.NoID && !m.adopts()
	switch {
	case !same || a.Tree.Epoch > was.Epoch:
		is.Epoch, is.Older = a.Tree.Epoch, 0
	case a.Tree.Epoch == was.Epoch:
		is.Older = 0
	case a.Tree.Epoch != 0:
		is.Older = a.Tree.Epoch
	}
	if !same || was.Path == "" || a.TreePath != "" {
		is.Path = a.TreePath
	}
	if !is.NoID {
		is.Place = ""
	} else if !same || was.Place == "" {
		is.Place = a.Place
	}
	if !same || a.Runs != nil && more == 0 && !m.dest.IsDoubted(replica.DoubtBytes) {
		is.Runs = a.Runs
	}
	if a.Fingerprint != "" {
		is.Fingerprint = a.Fingerprint // else a proxy took it away, or no stamp prunes: then everything is compared anyway
	}
	if is.Copy == "" || !was.BoundTo(m.dest.Self) {
		is.Copy = state.NewTreeID()[:16] // of a copied copy it is the other one's
	}
	if is.Adopted = ""; c.Adopt {
		is.Adopted = is.Upstream
	}
	is.Bind(m.dest.Self)
	return is
}

// rolledBack returns what is not trusted because the source is not what it was
// when it was listed last: it does not know that run of its watch, or knows it to
// have ended below what was listed of it.
func (m *mirror) rolledBack(a *source.Root) replica.Doubts {
	s := m.dest.Status()
	if s.SourceRun == "" || s.SourceTop == nil || len(a.Runs) == 0 || a.Tree.ID != m.dest.Tree().ID ||
		wire.RunReached(a.Runs, s.SourceRun, *s.SourceTop) {
		return 0
	}
	return replica.DoubtBytes
}

// heed notes, before anything is taken from a listing, which run of the source's
// watch was listed up to which stamp.
func (m *mirror) heed(l *mtree.Listing, a *source.Root) error {
	top := mtree.MinStamp
	if stamped(l, a) {
		top = l.Stamp
	}
	return m.dest.UpdateStatus(func(s *state.Status) bool {
		switch run := wire.LatestRun(a.Runs); {
		case m.config.DryRun, run == "" && s.SourceRun == "":
			return false
		case run != "" && run != s.SourceRun:
			s.SourceRun, s.SourceTop = run, &top
		case s.SourceTop == nil || top.After(*s.SourceTop):
			s.SourceTop = &top
		default:
			return false
		}
		return true
	})
}

// stamped reports whether the time of a listing can be a stamp of the source's
// watch. That of a copy's unfinished directory is not, and below the root, while
// no watch runs, it may be the kernel's: the root's own is counted as the run's
// when watch starts anew.
func stamped(l *mtree.Listing, a *source.Root) bool {
	switch {
	case l.Hot && a.Upstreams != "":
		return false
	case l == &a.Listing:
		return true
	}
	return a.State == wire.Watched || a.State == wire.Auditing || a.State == wire.Degraded || a.State == wire.Mirrored
}

// followed notes the end of a pass that made the copy equal to its source: from
// here on that is its lineage and its directory, and who copies from it is told
// its runs.
func (m *mirror) followed(r *result, a *source.Root) error {
	t := m.dest.Tree()
	if a.Runs != nil {
		t.Runs = a.Runs
	}
	if r.held == 0 && t.Older != 0 {
		t.Epoch, t.Older = t.Older, 0
	}
	if r.held == 0 && t.NoID && a.Place != "" {
		t.Place = a.Place
	}
	return m.dest.SetTree(t)
}
