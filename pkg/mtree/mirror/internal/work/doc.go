// Package work does the work of a mirror's pass, step by step: it visits a directory,
// compares files by their sums, links them, takes over those that were renamed, and deletes.
// Package fetch brings the others.
//
// A step knows only what it is given: an Env, which does not change while a pass runs
// (the source, the copy, the rules), and values such as a Target, which is a directory
// of the copy as its pass knows it. It does its I/O in the goroutine of its caller,
// beside other steps, and returns a result. It decides nothing about other directories
// and keeps no count: the pass records the result and decides what comes next.
//
//	found := env.Visit(ctx, work.Target{Path: "a/b", Listed: stamp}, nil)
//	...
//	results := env.Fetch(ctx, []fetch.Group{{Target: target.ToChange(), Changes: found.Plan.Fetch}})
//
// What it promises: before anything in a directory changes, its record says that it is
// unfinished; deletions are only found by a visit, and carried out by Delete when the pass
// says so; nothing outside the copy is written.
//
// Its files stand in layers. Each uses what stands below it:
//
//	visit.go, part.go            one directory: compare, make, find what else is to do; by a part of its listing
//	extras.go                    deletions, as a visit finds them
//	unseen.go                    what a visit does not compare
//	hidden.go                    entries that the source may have and not list
//	respell.go                   names that differ in their case only
//	spelling.go                  whether the copy has the names of a part as they are spelled
//	takeover.go                  files that are in the copy under another name
//	sums.go                      files compared by their sums
//	links.go                     names that are one file
//	deletions.go                 deletions carried out
//	make.go                      directories, symlinks, modes and owners
//	refused.go                   which files --min-size, --max-size and --max-age leave out
//	visitresult.go               what a visit found
//	entries.go                   what the copy and the source have in a directory
//	ask.go                       a listing of the tree that the pass began with
//	env.go                       Env, Target; opening a directory; what package fetch gets
//	verified.go, wholes.go       files whose bytes are known; when directories were listed whole
package work
