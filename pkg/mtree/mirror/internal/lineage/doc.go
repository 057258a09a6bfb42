// Package lineage decides what a copy is a copy of: which tree, which directory of it and
// which lineage it follows, and whether the source that answers now is still that one.
// Before a pass takes anything from a source, Claim makes the copy a copy of it, or
// refuses.
//
//	l := lineage.New(lineage.Options{Upstream: state.SourceName(url), Log: log}, src)
//	l.SetReplica(copy)
//	claim, err := l.Claim(ctx, &root)    // before each pass
//	err = l.Listed(&root, &listing, false)   // before anything is taken from a listing
//	err = l.Completed(&root, held)       // after a pass that made the copy equal
//
// What it promises: a copy is never made equal to another tree without Adopt; deletions
// are held while it is not clear that the source is the one that was copied; a source
// that was rolled back is not taken for unchanged: its files are compared by their sums;
// all of that survives a kill, because it is written before anything else is changed.
//
// Its files stand in layers. Each uses what stands below it:
//
//	claim.go            Claim: what a pass may do, and what is written for that
//	several.go          which of several sources may be used
//	judge.go, next.go   may the copy follow this source; what it is a copy of from now on
//	runs.go             which runs of the source's watch were listed
//	lineage.go          Lineage
//	selection.go        which entries a complete copy has
//	flapping.go         do serves of different options answer alternately?
package lineage
