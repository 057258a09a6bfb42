// Package pass runs one pass of a mirror: from the root of the source down to every
// directory that differs, and back up to the root's stamp.
//
//	result, err := pass.Run(ctx, env, &pass.Options{Jobs: 8, ...})
//
// A pass visits directories, fetches files, then deletes what the guards allow, flushes,
// and stamps: the deepest directories first, the root last. What fails leaves its
// directory incomplete, and all above it; siblings go on.
//
// Concurrency: the goroutine that calls Run owns everything: queue, nodes, counters.
// It hands out tasks to the steps of package work, at most Options.Jobs at a time, each
// in a goroutine of its own. A step gets values and returns a value, which the owner
// records. There are no locks.
//
// Its files stand in layers. Each uses what stands below it:
//
//	run.go                       Run: the order of a pass
//	delete.go                    deletions, when everything was fetched
//	takeover.go                  files that may be in the copy under another name
//	steps.go                     handing out tasks, recording results
//	recordfetch.go               what follows from a fetch, and from sums
//	recordvisit.go               what follows from a visit
//	deletions.go                 deletions found, deletions carried out
//	commit.go                    flush, stamps, directories that stay incomplete
//	announce.go                  which names changed, written down before the stamps
//	guard.go                     which deletions are held
//	held.go                      what is held, from pass to pass
//	links.go                     names that are one file
//	settle.go                    nodes that are done, paths that failed
//	progress.go                  reports of progress
//	tell.go                      what was done, for --print and --exec
//	dryrun.go                    lines instead of changes
//	uncopied.go                  what is not copied, for --status
//	pass.go                      the state of a pass
//	queue.go, large.go           tasks that wait
//	brood.go                     directories that wait
//	options.go                   what Run is given
//	unfinished.go                what earlier passes left incomplete
//	node.go                      a directory of the pass
//	news.go                      the names that change in it
//	fulldisk.go                  what is remembered of a full disk
//	result.go                    what Run returns
package pass
