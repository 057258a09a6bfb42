// Package gate is the guard of --max-delete: it refuses deletions that are more than a
// share of the copy's entries, or more than a number.
//
//	g := gate.New(copy, limit)           // for each pass
//	g.Begin()                            // before the pass changes anything
//	if why := g.Refuse(total, made, released); why != "" { ... } // they are held
//	g.Deleted(n)                         // after each deletion
//	g.End(&outcome)                      // and replica.Publish writes it
//
// What it promises: deletions of ten minutes count together, and what the guard
// remembers stands in status.json, so that neither a restart nor a pass each minute lets
// a large deletion through in pieces; what a pass made, or one that was killed, does not
// count as entries of the copy; a hold ends with its reason or by a release, and not
// with time.
//
// Its files stand in layers. Each uses what stands below it:
//
//	gate.go   Gate
//	limit.go  Limit: what --max-delete says
package gate
