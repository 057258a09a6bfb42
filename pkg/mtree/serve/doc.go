// Package serve publishes a directory tree over HTTP by the listing protocol
// (docs/protocol.md): directories as text, JSON or HTML listings whose
// validator is the directory's stamp, and regular files with ranges. It reads,
// and never writes.
//
//	h, err := serve.New(serve.Config{Root: "/srv/data"})
//	...
//	defer h.Close()
//	err = serve.Server(h, serve.Fast).Serve(listener)
//
// What it promises: a listing with stamp v shows every change published with a
// stamp up to v, and no other content ever carries v (S1); a whole listing or
// an error, after the first byte an aborted connection (S2); nothing outside
// the root, nothing hidden, in no format and by no spelling (S3); memory,
// descriptors and time bounded whatever clients send (S4); every name of every
// byte but "/" and NUL (S5).
//
// A request's way: package fastpath reads it if it is a plain GET, net/http else,
// which makes no difference from here on. Handler.ServeHTTP bounds it and asks for the token; chi
// picks by method; parseTarget turns the raw URL into a path of the tree and
// the query; the path ends in a directory (listing.go) or a file (file.go).
// Validators are made and compared in etag.go only, other headers in
// header.go. What the tree says of itself comes from tree.go.
package serve
