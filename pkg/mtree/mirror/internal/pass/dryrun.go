package pass

import (
	"fmt"
	"strings"

	"tidemark/pkg/mtree"
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
		item("fetch ", c.Want)
		p.result.Fetched++
		p.result.Bytes += c.Want.Size
	}
	for _, c := range v.Plan.Check {
		item("check ", c.Want)
		if c.What&(mtree.Mode|mtree.Owner) != 0 {
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
