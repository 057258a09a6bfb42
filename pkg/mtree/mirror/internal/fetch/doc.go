// Package fetch brings files from the source into the copy: it asks for them, writes them
// aside, and gives them their names.
//
//	results := fetch.Env{Source: source, Root: root, Copy: writer, ...}.Fetch(ctx, groups)
//
// A fetch is a step of a pass, as those of package work are: it knows only what it is
// given, an Env, which does not change while a pass runs, and Groups of files. It does its
// I/O in the goroutine of its caller, beside other steps, and returns a Result for each
// group. A Writer is the end of it that changes the copy: work uses it, too.
//
// What it promises: a file has its old or its new content, never a part; before anything
// in a directory changes, its record says that it is unfinished; what broke off is
// continued with the same version only; what arrived in another version than was listed
// counts as moved, unless the source says that it has that one.
//
// Its files stand in layers. Each uses what stands below it:
//
//	fetch.go, staged.go          files; new directories that are filled before they get their names
//	confirm.go                   whether files that changed after they were listed are right all the same
//	patch.go                     a large file made of the one that the copy has and of what differs
//	partial.go                   files that broke off and are continued
//	refused.go                   files that --min-size, --max-size and --max-age leave out, as answers show
//	env.go                       Env, Group
//	writing.go                   a file with its bytes, time, mode and owner
//	writer.go                    Writer, Target; opening a directory to change it; what may not be replaced
//	result.go                    what a fetch brought
//	oldsums.go                   the sums of the blocks of files that were put together
//	limit.go                     --bwlimit
//	sparse.go                    --sparse
package fetch
