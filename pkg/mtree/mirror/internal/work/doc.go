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
// The files in layers, each uses what stands in its line or below:
//
//	visit                        one directory: compare, make, find what else is to do
//	extra, hidden, respell       what a visit does about deletions, entries that the
//	                             source does not list, file systems without case
//	takeover, fetch, sums, delete    the steps that follow a visit
//	make, staged, partial        directories, symlinks and modes; new directories that are
//	                             filled in the staging directory; files that broke off
//	env                          Env, Target, FileGroup, and opening a directory to change it
//	verified, limit              files whose bytes are known; --bwlimit
package work
