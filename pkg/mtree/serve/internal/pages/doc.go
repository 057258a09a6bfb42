// Package pages keeps listings in memory as they are sent: each is made once for all
// requests that want it at one time, kept while its directory has the stamp that proves
// it, and shared by all answers that send it. One bound holds for all memory that clients
// make the server keep.
//
//	p, err := flights.Do(key, time, func() (*pages.Page, error) {
//		listing, err := read(dir)
//		...
//		return live.Same(pages.New(key, listing, form, sum)), nil
//	})
//	one, err := room.Take(&p.Load, cut)
//	defer one.Give()
//
// It does no I/O. Everything but a Page may be used by many goroutines at once; a Page is
// immutable.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	live.go       Live: the pages that somebody is being sent
//	cache.go      Cache: the pages used last
//	flights.go    Flights: the pages being made
//	linkless.go   Linkless: the directories that are known to have no symlinks
//	page.go       Page: a listing as it is sent; Key and Time: which listing, and of what time
//	room.go       Room and Load: the memory that requests under way keep for their clients
package pages
