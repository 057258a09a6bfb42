package mirror

import (
	"fmt"
	"strings"

	"tidemark/pkg/mtree"
)

// itemise writes what a visit would have changed, one line each, and counts it
// as if it had been done.
func (p *pass) itemise(n *node, v *view) {
	var out strings.Builder
	item := func(verb string, e *mtree.Entry) {
		fmt.Fprintf(&out, "%s %s\n", verb, quoted(mtree.JoinPath(n.path, e.Name)))
	}
	for _, c := range v.plan.make {
		item("mkdir ", c.Want)
	}
	for _, c := range v.plan.links {
		item("link  ", c.Want)
	}
	for _, c := range v.plan.fetch {
		item("fetch ", c.Want)
		p.fetched++
		p.bytes += c.Want.Size
	}
	for _, c := range v.plan.check {
		item("check ", c.Want)
		if c.What&(mtree.Mode|mtree.Owner) != 0 {
			item("chmod ", c.Want)
		}
	}
	for _, c := range v.plan.mode {
		item("chmod ", c.Want)
	}
	for _, e := range v.plan.extra {
		item("delete", e)
	}
	for _, e := range v.plan.kept {
		item("keep  ", e)
	}
	_, _ = p.config.Out.Write([]byte(out.String()))
}
