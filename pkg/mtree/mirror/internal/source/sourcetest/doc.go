// Package sourcetest is a tree in memory as the source of a mirror, for tests that
// simulate: what a file system, watch and serve do together, by docs/protocol.md, without
// any of the three.
//
//	tree := sourcetest.NewTree(clock, yield)
//	tree.Write("a/f")                  // the kernel moves times; nothing is published yet
//	tree.Publish()                     // stamps, the deepest directory first, the root last
//	site := &sourcetest.Site{Tree: tree}
//	root, err := site.Root(ctx, source.Poll{})
//
// Between any two steps that others could observe the tree calls yield: before each
// stamp, within a listing, within a file. A test changes the tree there, or breaks off.
//
// The tree keeps its history: what stood under each path, and when. So a test can say
// whether a copy may be what it is: a directory of the copy that is complete with a stamp
// must show everything that was there when the stamp was published, or later versions
// (Past).
//
// Its files stand in layers. Each uses what stands below it:
//
//	site.go      a source as a mirror asks it: Root, List, Fetch, Sums; faults
//	files.go     bytes of files, which may change while they are read; sums
//	journal.go   parts of listings, by the journal
//	listing.go   directories, by the reading rule
//	publish.go   watch: stamps, runs, states, snapshots that are put back; the journal
//	snapshot.go  whether mirrors notice that one is
//	changes.go   what users do
//	tree.go      nodes, times, and the history of each path
package sourcetest
