// Package prefetch keeps listings that a server sends before they are asked for: the
// answer to ?since brings the root's listing and then that of each directory that
// changed, in the order in which a pass goes down the tree.
//
//	r := prefetch.NewReader(body, room)
//	listing, changed, err := r.Root()
//	done := store.Open(&root, stop)
//	go func() { defer done(); r.Read(ctx, &store) }()
//	...
//	dir, ok := store.Take(ctx, "a/b", least) // by the goroutines of the pass
//
// What it promises: Take never returns a listing that is older than asked for or that is
// not whole; a missing listing is asked for by itself, which costs five times as much.
// The listings take at most MaxKept bytes: the stream then waits until some are taken,
// unless somebody waits for a listing that comes later.
//
// Its files stand in layers. Each uses what stands below it:
//
//	reader.go  Reader: an answer to ?since
//	store.go   Store: the listings that came
package prefetch
