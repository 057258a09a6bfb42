package mirror

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/gate"
	"tidemark/pkg/mtree/mirror/internal/lineage"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// recall takes from the copy at c.Dest what c leaves out: the source, and the options that select
// entries. A copy with owners keeps them, and one with modes, owners or limits of its own keeps those. With repair, it refuses (exit.Refused) other options than
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
	another := c.Source != "" && state.SourceName(c.Source) != state.SourceName(l.Tree.Upstream) && !slices.Contains(l.Tree.Sources, state.SourceName(c.Source))
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
	if repair {
		if err := errors.Join(c.recallBackup(l.NotedBackup()), c.recallLimit(l.NotedLimit())); err != nil {
			return err
		}
	}
	c.Owner = c.Owner || was.Owner
	c.HardLinks = c.HardLinks || was.HardLinks // guard: TestHardLinksAreRecalled
	if len(c.Chmod) == 0 {                     // guard: TestRightsOfACopyAreRecalled
		c.Chmod = was.Chmod
	}
	if c.Chown == "" { // guard: TestRightsOfACopyAreRecalled
		c.Chown = was.Chown
	}
	c.MinSize = cmp.Or(c.MinSize, was.Limits.MinSize) // guard: TestLimitsOfACopyAreRecalled
	c.MaxSize = cmp.Or(c.MaxSize, was.Limits.MaxSize) // guard: TestLimitsOfACopyAreRecalled
	c.MaxAge = cmp.Or(c.MaxAge, was.Limits.MaxAge)    // guard: TestLimitsOfACopyAreRecalled
	if c.Source == "" {
		c.recallSources(&l.Tree)
	}
	return nil
}

// recallLimit takes --max-delete of the mirror that ran last, unless c has one: what that holds, or would
// hold, no repair deletes.
func (c *Config) recallLimit(noted string, err error) error {
	if c.MaxDelete != "" { // guard: TestARepairHoldsWhatItsMirrorHolds
		return nil
	}
	if err == nil {
		_, err = gate.ParseLimit(cmp.Or(noted, defaultMaxDelete))
	}
	c.MaxDelete = noted // guard: TestARepairHoldsWhatItsMirrorHolds
	return exit.With(exit.Local, err, "give --max-delete")
}

// recallSources takes the source, or the several ones, that the copy was made from. What is sent along is
// for the first: it may be secret.
func (c *Config) recallSources(t *state.Tree) {
	c.Source = t.Upstream
	if len(t.Sources) < 2 {
		return
	}
	c.Source = t.Sources[0]
	withoutLogin := func() (*tls.Config, string) { return c.TLS, "" }
	if now := c.Credentials; now != nil {
		withoutLogin = func() (*tls.Config, string) { config, _ := now(); return config, "" }
	}
	for _, name := range t.Sources[1:] {
		c.Others = append(c.Others, Other{Source: name, TLS: c.TLS, Credentials: withoutLogin}) // guard: TestVerifyAsksTheSourcesOfTheCopy
	}
}

// optionsOf names the options of a selection for a message.
func optionsOf(s lineage.Selection) string {
	return cmp.Or(s.Options(), "neither filters nor --no-delete nor --no-links")
}
