package audit

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/wire"
)

// judgeSelf decides by the attributes of v itself whether v changed. A young ctime means
// that it may have arrived under its name. Then everything below counts as changed too; only
// the root cannot arrive.
func (s *scan) judgeSelf(v *visit, now mtree.Stamp) bool {
	switch {
	case !v.info.CTime.Before(s.Since) && !s.OwnWrites.Stayed(v.dir, v.info, v.place()): // guard (without !s.OwnWrites): TestGroundsOfADirectory
		v.arrived = v.parent != nil // guard: TestGroundsOfADirectory
		v.below = true              // guard: TestGroundsOfADirectory
		return true
	case v.arrived, s.All: // guard: TestGroundsOfADirectory
		v.below = true // guard: TestGroundsOfADirectory
		return true
	}
	return v.info.MTime.After(now) && v.info.MTime.After(s.Floor) // guard (returns false): TestGroundsOfADirectory
}

// mayBeExchanged reports whether a directory in v may be another one than before, though it shows the
// same times: a btrfs subvolume, in the place of which a snapshot stands. Then something happened in
// v. Below the root that is enough for everything to have arrived. What is mounted has its record.
func mayBeExchanged(v *visit, child disk.Info) bool {
	subvolume := child.Node.Dev != v.info.Node.Dev && !child.MountRoot // guard (without !child.MountRoot): TestSubvolumeThatWasExchanged
	return v.below && subvolume                                        // guard (without v.below): TestSubvolumeThatWasExchanged
}

// judge decides by an entry that is not a directory whether v changed. A ctime above both
// v's stamp and the start of the audit before means a write that no event reported: by
// another hard link, or through memory.
func (s *scan) judge(v *visit, info disk.Info) bool {
	return !info.CTime.Before(s.Since) || // guard (without !info.CTime): TestGroundsOfAnEntry
		info.CTime.After(v.info.MTime) && info.CTime.After(s.Before) // guard: TestGroundsOfAnEntry
}

// judged returns the ctime of a directory as that which a scan judges, at a time read before.
// It is zero if it is so young that a later change may leave the same one. What is mounted below
// the root may store coarser steps.
func (s *scan) judged(ctime, now mtree.Stamp) mtree.Stamp {
	granule := s.Granule
	if s.CrossMounts { // guard: TestTooYoungToBeJudged
		granule = max(granule, filetime.CoarsestGranule(ctime))
	}
	if ctime.Add(granule + wire.ClockLag).Before(now) { // guard (granule + wire.ClockLag -> wire.ClockLag): TestTooYoungToBeJudged
		return ctime
	}
	return mtree.Stamp{}
}
