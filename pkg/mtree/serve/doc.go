// Package serve publishes a directory tree over HTTP by the listing protocol
// (docs/protocol.md): directories as text, JSON or HTML listings whose validator is the
// directory's stamp, and regular files with ranges. It reads, and never writes.
//
//	h, err := serve.New(serve.Config{Root: "/srv/data"})
//	...
//	defer h.Close()
//	err = serve.Server(h, serve.Fast).Serve(listener)
//
// What it promises: a listing with stamp v shows every change published with a stamp up
// to v, and no other content ever carries v (S1); a listing is whole, or there is an
// error, or after the first byte a cut connection (S2); nothing outside the root, nothing
// hidden, in no format and by no spelling (S3); memory, descriptors and time bounded
// whatever clients send (S4); every name of every byte but "/" and NUL (S5).
//
// # The way of a request
//
// Package fastpath reads a simple GET, net/http everything else; after that there is no
// difference. Handler.ServeHTTP sets a deadline and checks the token. GET and HEAD go on
// to the tree, POST and ?status go through chi. parseTarget turns the raw URL into a path
// of the tree and the query. The path ends at a directory (dirrequest.go) or at a file.
// An endpoint builds a reply, which is written once, by Handler.start: no other function
// touches a header.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it, except New, which starts
// everything:
//
//	server.go                         the server
//	route.go                          which endpoint answers
//	listing.go, wait.go               listings, and a listing when it is new
//	since.go                          ?since: all listings that changed
//	sharedsince.go                    the same, made once for all who ask
//	changes.go                        ?changes: the names that changed
//	post.go                           receiving lists of paths
//	blocks.go, blockcache.go          the sums of the blocks of files
//	tar.go, subtree.go, sums.go       streams of files and of sums
//	recent.go, find.go                ?recent and ?find
//	status.go, statuspage.go          ?status, and as a page
//	metrics.go                        what --metrics says of the tree
//	file.go, transfer.go              files and their ranges
//	redirect.go                       to where a path leads
//	await.go                          holding a request until there is news
//	bulk.go, page.go, readme.go       what several endpoints do; the README on a page
//	dirreply.go                       what all answers about a directory have
//	read.go, dirrequest.go            reading a directory; one directory as it is asked for
//	sink.go, failure.go               sending streams, and errors
//	reply.go                          an answer, and writing it
//	browser.go                        refusals as pages
//	handler.go                        the Handler
//	changerate.go                     changes a minute, for ?status
//	limiter.go, deadline.go           how many requests of a kind, and how long each
//	target.go, version.go, auth.go    what a URL names; which version of a file; tokens
//	config.go, stats.go               options and counters
//
// Beneath it:
//
//	internal/changed     what changed since a stamp or a position
//	internal/published   opens what is published of the tree, and nothing else
//	internal/pages       listings in memory, and the bound of what clients keep
//	internal/longpoll    wakes requests that wait
//	internal/negotiate   what a request's header asks for
//	internal/render      bodies: text, JSON, HTML, gzip
package serve
