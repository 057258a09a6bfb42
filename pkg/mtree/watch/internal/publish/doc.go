// Package publish writes the stamps of a batch of changes: deepest directory first, the root
// last. So a reader who sees a new stamp finds everything that it stands for.
//
// The one goroutine that owns a watcher calls it. A batch is a tree of the directories in
// which something changed. Publish goes down that tree by descriptor twice. First it looks at
// each directory and each changed name: that is the plan, and what it will stamp is written to
// the journal. Then it stamps, on the way up.
//
// Its files stand in layers. Each uses what stands below it:
//
//	publish.go    one batch, down from the root
//	plan.go       what the batch will stamp, before it does
//	renamed.go    the ctime of one file
//	stamp.go, announce.go
//	              the time of one directory; what is written of it to the journal before, and
//	              what it was given
//	tree.go       where batches are published, and the result
//	lately.go     which names were written a moment ago
//	batch.go      the changes that are published together
package publish
