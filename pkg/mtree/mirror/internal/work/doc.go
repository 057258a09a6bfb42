// Package work does the work of a mirror's pass, step by step: it visits a directory,
// fetches files, compares their sums, takes over files that were renamed, and deletes.
//
// A step knows only what it is given: an Env, which does not change while a pass runs
// (the source, the copy, the rules), and values such as a Target, which is a directory
// of the copy as its pass knows it. It does its I/O in the goroutine of its caller,
// beside other steps, and returns a result. It decides nothing about other directories
// and keeps no count: the pass records the result and decides what comes next.
//
//	found := env.Visit(ctx, work.Target{Path: "a/b", Listed: stamp}, nil)
//	...
//	results := env.Fetch(ctx, []work.FileGroup{{Target: target, Changes: found.Plan.Fetch}})
//
// What it promises: a file has its old or its new content, never a part; before
// anything in a directory changes, its record says that it is unfinished; deletions
// are only found by a visit, and carried out by Delete when the pass says so; nothing
// outside the copy is written.
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
//	fetch.go, staged.go          files; new directories that are filled before they get their names
//	confirm.go                   whether files that changed after they were listed are right all the same
//	sums.go                      files compared by their sums
//	links.go                     names that are one file
//	deletions.go                 deletions carried out
//	make.go                      directories, symlinks, modes and owners
//	patch.go                     a large file made of the one that the copy has and of what differs
//	writing.go                   a file with its bytes, time, mode and owner
//	partial.go                   files that broke off and are continued
//	refused.go                   files that --min-size, --max-size and --max-age leave out
//	visitresult.go               what a visit found
//	fetchresult.go               what a fetch brought
//	entries.go                   what the copy and the source have in a directory
//	ask.go                       a listing of the tree that the pass began with
//	env.go                       Env, Target, FileGroup; opening a directory to change it
//	verified.go, wholes.go       files whose bytes are known; when directories were listed whole
//	oldsums.go                   the sums of the blocks of files that were put together
//	limit.go                     --bwlimit
//	sparse.go                    --sparse
package work
