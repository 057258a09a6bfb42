// Package lineage decides whose copy a copy is: which tree and which directory of it,
// which lineage of that tree it follows, and whether the source that answers now is that
// one still. Before a pass takes anything from a source, Claim makes the copy one of it,
// or refuses.
//
//	l := lineage.New(lineage.Options{Upstream: state.SourceName(url), Log: log}, src)
//	l.SetReplica(copy)
//	claim, err := l.Claim(ctx, &root)    // before each pass
//	err = l.Listed(&root, &listing)      // before anything is taken from a listing
//	err = l.Completed(&root, held)       // after a pass that made the copy equal
//
// What it promises: a copy is never made equal to another tree without Adopt; deletions
// are held while it is not clear that the source is the one that was copied; a source
// that was rolled back is not taken for unchanged: its files are compared by their sums;
// all of that holds across kills, for it is written before anything else is changed.
//
// Its files stand in layers. Each uses what stands below it:
//
//	claim.go            Claim: what a pass may do, and what is written for that
//	judge.go, next.go   may the copy follow this source; who it is from now on
//	runs.go             which runs of the source's watch were listed
//	lineage.go          Lineage
//	selection.go        which entries a complete copy has
//	flapping.go         do serves of different options answer alternately?
package lineage
