// Package gate is the guard of --max-delete: it refuses deletions if they are more than a
// share of the copy's entries, or more than a number.
//
//	g := gate.New(copy, limit)           // for each pass
//	g.Begin()                            // before the pass changes anything
//	if why := g.Refuse(total, made, released); why != "" { ... } // they are held
//	g.Deleted(n)                         // after each deletion
//	g.End(&outcome)                      // then replica.Publish writes it
//
// What it promises: the deletions of ten minutes count together, and status.json keeps
// what the guard remembers, so that neither a restart nor a pass each minute lets a large
// deletion through in pieces; entries that this pass made, or one that was killed, do not
// count as entries of the copy; a hold ends when its reason ends or by a release, not by
// the passing of time.
//
// Where a guard belongs: here if it must remember something across passes; in
// pass/guard.go if it concerns all deletions of one pass; in work/extras.go if it holds a
// single deletion for a reason of its own. The texts of such reasons are in
// replica/deletion.go, and are part of a disk format.
//
// Its files stand in layers. Each uses what stands below it:
//
//	gate.go   Gate
//	limit.go  Limit: what --max-delete says
package gate
