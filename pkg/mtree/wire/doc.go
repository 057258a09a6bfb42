// Package wire has the formats of everything that goes over HTTP besides
// listings: what serve writes and what mirror reads stand side by side here, each
// once. It does no I/O of its own and asks no clock. docs/protocol.md is the
// protocol; each file names its section.
//
// # Formats
//
//	state.go       Tidemark-State: how far the stamps of a tree can be relied on
//	header.go      names of headers, and bounds that both ends must agree on
//	path.go        paths in URLs, in posted lists and in Tidemark-Path
//	query.go       the query of ?txt, ?since and ?wait
//	filetag.go     the ETag of a file
//	listingtag.go  the ETag of a listing, and the options fingerprint in it
//	runs.go        Tidemark-Runs: the runs of watch
//	upstream.go    Tidemark-Upstream: how a copy came about
//	since.go       the stream that answers ?since
//	tar.go         the members of a tar stream: writing them
//	tarreader.go   reading them
//	sums.go        lines of sha256sum(1)
//
// The text listing itself, with its stamps, names and the line that ends an
// answer to ?since, is in package mtree.
//
// # Conventions
//
// Writers append to a slice, or format one value as a string. Readers come in two
// kinds. What comes in a header is parsed leniently: text that makes no sense
// gives the zero value, for a proxy may have altered it, and a reader does without.
// What comes in a body is parsed strictly: errors wrap mtree.ErrListing, and the
// whole answer counts for nothing. Every pair is tested by round trip
// (fuzz_test.go).
//
// # Layers
//
// header.go and state.go use nothing else; path.go and the tags stand on them; the
// streams (since.go, tar.go, sums.go) stand on these.
package wire
