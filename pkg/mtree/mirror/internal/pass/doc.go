// Package pass runs one pass of a mirror: from the root of the source down to every
// directory that differs, and back up to the root's stamp.
//
//	result, err := pass.Run(ctx, env, root, pass.Options{Jobs: 8, ...})
//
// A pass visits directories, fetches files, then deletes behind the guards, flushes,
// and stamps: the deepest directories first, the root last. What fails leaves its
// directory incomplete, and all above it; siblings go on.
//
// Concurrency: the goroutine that calls Run owns everything: queue, nodes, counters.
// It hands out tasks to the steps of package work, at most Options.Jobs at a time, each
// in a goroutine of its own. A step gets values and returns a value, which the owner
// records. There are no locks.
//
// The files in layers, each uses what stands in its line or below:
//
//	pass                         Run: the order of a pass, handing out and recording
//	recordvisit, recordfetch, dryrun    what follows from the result of a step
//	delete, held, takeover       what waits until everything is listed: deletions and their
//	                             guards, what is held, files that were renamed
//	commit                       flush, stamps, directories that stay incomplete
//	queue, large                 tasks, batches, large files
//	node                         a directory of the pass
//	options, result, fulldisk    what Run takes and gives; what it remembers of a full disk
package pass
