package work

import (
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
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
	case o.CheckAll && (o.ByCTime || v.hasOld() && v.Listing.HasNow):
		return never // guard: TestSimulationFound
	case o.ByCTime:
		return o.Listed.Add(plan.CTimeSlack - o.Slack) // guard (returns v.Before.Now): TestSimulationFound
	}
	return mtree.Stamp{}
}

// hasOld reports whether files of the copy may be from before this visit: it had a record or entries.
func (v *VisitResult) hasOld() bool {
	return v.Had || v.InCopy > 0 || v.Unseen // guard (without v.InCopy > 0): TestSimulationFound
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

// doubtUnseen does the same for directories of the copy that the visit leads to none of: have
// are its entries, filtered the names of those that filters exclude. If serve has other options
// than before, nobody will know that when such a directory comes into sight again. So its record
// says now that it is from before. Where that cannot be noted (another user's directory, an immutable one), it has failed: this
// one stays unfinished, with its doubts.
func (env *Env) doubtUnseen(t *Target, v *VisitResult, have []mtree.Entry, filtered []string) {
	d := doubted(v.Doubts)
	if d == (unknown{}) {
		return
	}
	seen := map[string]bool{}
	for _, c := range v.Plan.Dirs {
		if c.Have != nil {
			seen[c.Have.Name] = true
		}
	}
	unseen := slices.Clone(filtered)
	for i := range have {
		if e := &have[i]; e.Kind == mtree.Dir && !seen[e.Name] {
			unseen = append(unseen, e.Name)
		}
	}
	for _, name := range unseen {
		if err := env.unknow(mtree.JoinPath(t.Path, name), d); err != nil {
			v.note(t, name, err)
			v.unmarked = true // guard: TestDirectoriesThatCannotBeDoubted
		}
	}
}

// unknown says what is not known of directories.
type unknown struct {
	bytes   bool // no file is known by size and time
	options bool // of no entry it is known whether the present serve ever listed it
}

// doubted returns what is not known of a directory that is not compared, by the doubts of its visit.
func doubted(d replica.Doubts) unknown {
	return unknown{bytes: d&(replica.DoubtBytes|replica.DoubtRecent) != 0, options: d&(replica.DoubtBelow|replica.DoubtHidden) != 0}
}

// unknow notes what is not known in and below a directory. Its stamps stay: a copy of the copy
// may have it. Directories without records, and copies of others, are not ours. What is below
// is done first, so that it is done if the directory is.
func (env *Env) unknow(path string, d unknown) error {
	dir, err := env.Replica.Dir(path)
	if disk.IsAbsent(err) || disk.IsDenied(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	record, ok, err := env.Replica.Record(dir, path)
	if d.bytes = d.bytes && record.Now != never; err != nil || !ok || d == (unknown{}) || dir.HasMarker() {
		return err
	}
	var below []string
	err = dir.Scan(func(name []byte, kind mtree.Kind) error {
		if kind == mtree.Dir || kind == mtree.Other {
			below = append(below, string(name))
		}
		return nil
	})
	for _, name := range below {
		if err == nil {
			err = env.unknow(mtree.JoinPath(path, name), d)
		}
	}
	if err != nil {
		return err
	}
	if d.options && record.Fingerprint != otherFingerprint { // guard: TestOptionsOfDirectoriesThatAreNotSeen
		env.BeforeChange()
		err = env.Replica.SetOptions(dir, path, otherFingerprint)
	}
	if d.bytes && err == nil {
		env.BeforeChange()
		env.Wholes.Forget(path)
		err = env.Replica.SetNow(dir, path, never) // guard: TestSimulationFound
	}
	return err
}
