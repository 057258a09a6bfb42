package pass

import (
	"fmt"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// itemise writes a line for each entry that a visit would have changed, and counts it as
// if it had been changed.
func (p *pass) itemise(n *node, v *work.VisitResult) {
	var out strings.Builder
	item := func(verb string, e *mtree.Entry) {
		fmt.Fprintf(&out, "%s %s\n", verb, mtree.QuotePath(mtree.JoinPath(n.Path, e.Name)))
	}
	for _, c := range v.Plan.MakeDirs {
		item("mkdir ", c.Want)
	}
	for _, c := range v.Plan.MakeLinks {
		item("link  ", c.Want)
	}
	for _, c := range v.Plan.Fetch {
		if p.isLater(c.Want) {
			item("hlink ", c.Want)
			continue
		}
		item("fetch ", c.Want)
		p.result.Fetched++
		p.result.Bytes += c.Want.Size
	}
	for _, c := range v.Plan.Check {
		item("check ", c.Want)
		if plan.ModeDiffers(c, p.env.Owner) { // guard (plan.ModeDiffers(c, p.env.Owner) -> c.What&(mtree.Mode|mtree.Owner) != 0): TestTheLinesOfADryRun
			item("chmod ", c.Want)
		}
	}
	for _, c := range v.Plan.SetModes {
		item("chmod ", c.Want)
	}
	for _, e := range v.Plan.Extra {
		item("delete", e)
	}
	for _, e := range v.Plan.Kept {
		item("keep  ", e)
	}
	for _, c := range v.Plan.Older {
		item("keep  ", c.Have)
	}
	_, _ = p.options.Out.Write([]byte(out.String()))
}

// isLater reports whether an entry is a name of a file of which another one was itemised, in a copy with
// hard links.
func (p *pass) isLater(e *mtree.Entry) bool {
	if !p.options.HardLinks || e.Has&mtree.HasSame == 0 {
		return false
	}
	if p.leading == nil {
		p.leading = leading{}
	}
	_, is := p.leading[e.Same]
	p.leading[e.Same] = nil
	return is
}
