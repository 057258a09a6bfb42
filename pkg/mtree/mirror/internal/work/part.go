package work

import (
	"errors"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/records"
)

// A part of a listing (docs/protocol.md, "Parts") tells of the names in a directory that changed,
// and between which stamps a reader may have listed it before so that no other name changed since.
// All else in the copy of that directory is taken as it is. So a part counts only where the
// directory's own record proves that the copy had everything up to such a stamp, and where nothing
// is doubted that only a whole listing shows.

// errPart says that the whole listing is needed. Nothing has been changed then.
var errPart = errors.New("a part does not suffice")

// wholeEvery is how old the last whole listing of a directory may become, by the source's clock.
// Only a whole listing shows what watch does not hear: a write through mmap or another hard link, a mount.
const wholeEvery = 24 * time.Hour

// suffices reports whether a part is enough to make the copy of a directory equal to the source's:
// the copy is complete with a stamp that the part begins with, nobody touched it since, nothing in
// it or below it is doubted or unfinished, and its record speaks of this directory, listed with
// the present options within the last day. If entries stayed because the source might hide them, or
// it was read while something was mounted on an entry, only a whole listing says that this has
// ended: nobody stamps a copy when its mounts go.
func (env *Env) suffices(t *Target, v *VisitResult, info disk.Info) bool {
	l, r := &v.Listing, v.Before
	_, mounts, stayed := splitFingerprint(r.Fingerprint)
	return v.Had && !t.Fresh && !v.Past &&
		!t.Open && // guard: TestWhichPartsSuffice
		v.Doubts == 0 && // guard: TestWhichPartsSuffice
		!stayed && // guard: TestWhichPartsSuffice
		mounts == "" && // guard: TestWhichPartsSuffice
		env.Replica.IsCompleted(r, info, r.Stamp) && // guard: TestWhichPartsSuffice
		l.Suffices(r.Stamp) && // guard: TestWhichPartsSuffice
		!l.Stamp.Before(r.Stamp) && // guard: TestWhichPartsSuffice
		l.ID != "" && l.ID == r.ID && // guard: TestWhichPartsSuffice
		env.isOfOurOptions(v) && // guard: TestWhichPartsSuffice
		l.HasNow && !l.Now.Before(r.Now) &&
		l.Now.Sub(mtree.Later(r.Now, env.Wholes.At(t.Path))) < wholeEvery && // guard: TestWhichPartsSuffice
		env.Replica.Uncopied()[t.Path] == 0 // guard: TestWhichPartsSuffice
}

// isOfOurOptions reports whether a serve with the same options gave the part, the root and what
// the record speaks of.
func (env *Env) isOfOurOptions(v *VisitResult) bool {
	return env.Root.Fingerprint != "" && !v.Other && env.knowsHidden(v.Before, true)
}

// leavesOut reports whether the plan leaves out an entry of the listing that is counted: how many a
// directory has of them, only a whole listing says.
func (v *VisitResult) leavesOut() bool {
	return len(v.Plan.NotUnderstood)+len(v.Plan.SkippedLinks)+len(v.Plan.TooDeep)+len(v.Plan.Older) > 0 // guard (+len(v.Plan.Older) -> +0): TestAPartWithFilesThatAreRefused
}

// recordOfPart returns the record with which a part completes a directory. What the record says of
// the last whole listing stays: no other entry than those of the part was looked at since.
func recordOfPart(v *VisitResult) records.Record {
	r := v.Before
	r.Stamp = v.Listing.Stamp
	return r
}

// have reads the entries of the copy at path that a listing is compared with: all, or those
// that a part tells of. What it returns is as in present.
func (env *Env) have(dir *disk.Dir, path string, l *mtree.Listing) (have []mtree.Entry, files bool, dirs []string, err error) {
	if !l.IsPart() {
		return env.present(dir, path, l)
	}
	have, err = env.named(dir, path, l)
	return have, false, nil, err
}

// named returns those entries of the copy at path that a part names, there or gone, and that no
// filter excludes. If the copy has one of them in another spelling, it returns errPart: what a part
// does not tell of would be replaced, or deleted. Cost: a statx for each name, a readlink for each
// symlink; isSpelled.
func (env *Env) named(dir *disk.Dir, path string, l *mtree.Listing) (have []mtree.Entry, err error) {
	names := make([]string, 0, len(l.Entries)+len(l.Gone))
	for i := range l.Entries {
		names = append(names, l.Entries[i].Name)
	}
	var all []shown
	for _, name := range append(names, l.Gone...) {
		info, err := dir.Stat(name)
		if disk.IsAbsent(err) {
			continue
		}
		e := lister.EntryOf(name, info)
		lister.SetNode(&e, info)
		if err == nil && info.Kind == mtree.Symlink {
			e.Link, err = dir.Readlink(name)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, shown{name, info.Node})
		if !env.Filters.Excluded(mtree.JoinPath(path, name), info.Kind == mtree.Dir) { // guard: TestAPartDeletesNothingThatIsExcluded
			have = append(have, e)
		}
	}
	ok, err := isSpelled(dir, all, env.Replica.Staging != nil && env.Replica.Staging.Composes)
	if err != nil {
		return nil, err
	}
	if !ok { // guard: TestAPartInAnotherSpelling
		return nil, errPart
	}
	lister.SortEntries(have)
	if path == "" {
		have = withoutLostFound(have, l)
	}
	return have, nil
}
