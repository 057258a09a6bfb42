package work

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/plan"
)

// A visit does not compare what the listing leaves out, what our filters exclude and what the
// source denies. It may change meanwhile, and show only later, with a ctime that lies before
// this listing. So the directory's record keeps the `now` that it had. And what was doubted
// of it in this visit is doubted then: a pass that compares the others ends their doubt only.

// never is a `now` that lies before each ctime: by it, no file is known by size and time.
var never = mtree.Unix(1, 0)

// knownBy returns the `now` that belongs into the record if not all files of the copy are
// compared with this listing; zero if that is the listing's own. o are the options of the
// plan that compares the others.
func (v *VisitResult) knownBy(o *plan.Options) mtree.Stamp {
	switch {
	case v.Had && o.CheckAll && (v.Listing.HasNow || o.ByCTime):
		return never // guard: TestSimulationFound
	case o.ByCTime:
		return o.Listed.Add(plan.CTimeSlack - o.Slack) // guard (returns v.Before.Now): TestSimulationFound
	}
	return mtree.Stamp{}
}

// keepKnown puts that into the record. Files whose bytes were compared before are forgotten
// if that does not count in this visit, because it cannot be said which of them are left out.
func (env *Env) keepKnown(v *VisitResult, o *plan.Options) {
	if v.Known != (mtree.Stamp{}) {
		v.Record.Now = v.Known
	}
	if o.CheckAll || o.Verified == nil {
		env.Verified.Clear()
	}
}
