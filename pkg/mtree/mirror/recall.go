package mirror

import (
	"cmp"
	"fmt"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/lineage"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// recall takes from the copy at c.Dest what c leaves out: the source, and the options that select
// entries. A copy with owners keeps them, and one with modes and owners of its own keeps those. With repair, it refuses (exit.Refused) other options than
// the copy was made with, and another source without any: what the copy's own options keep would be
// extra by them. It would be deleted, and it may exist nowhere else.
func (c *Config) recall(repair bool) error {
	l, err := replica.LookAt(c.Dest, c.StateDir)
	if err != nil {
		return err
	}
	defer l.Close()
	none, was, is := lineage.Selection{}, lineage.ParseSelection(l.Tree.Filters), c.selection()
	given := c.SelectionSet || !is.IsLike(none)
	another := c.Source != "" && state.SourceName(c.Source) != state.SourceName(l.Tree.Upstream)
	switch {
	case repair && given && !is.IsLike(was): // guard: TestWhatRepairRefuses
		return exit.With(exit.Refused, fmt.Errorf("the copy was made with %s", optionsOf(was)),
			"give exactly these options to --repair, or none; to change them, start mirror with others and without --verify")
	case repair && !given && another && !was.IsLike(none): // guard: TestWhatRepairRefuses
		return exit.With(exit.Refused, fmt.Errorf("the copy was made from %q with %s", state.SourceName(l.Tree.Upstream), optionsOf(was)),
			"give that SOURCE, or these options with the other one")
	case !given: // guard: TestVerifyByTheOptionsOfTheCopy
		c.Filters, c.NoDelete, c.NoLinks = was.Filters, was.NoDelete, was.NoLinks
	}
	c.Owner = c.Owner || was.Owner
	c.HardLinks = c.HardLinks || was.HardLinks // guard: TestHardLinksAreRecalled
	if len(c.Chmod) == 0 {                     // guard: TestRightsOfACopyAreRecalled
		c.Chmod = was.Chmod
	}
	if c.Chown == "" { // guard: TestRightsOfACopyAreRecalled
		c.Chown = was.Chown
	}
	c.Source = cmp.Or(c.Source, l.Tree.Upstream)
	return nil
}

// optionsOf names the options of a selection for a message.
func optionsOf(s lineage.Selection) string {
	return cmp.Or(s.Options(), "neither filters nor --no-delete nor --no-links")
}
