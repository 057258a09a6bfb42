// Package wire has the formats of everything that goes over HTTP besides
// listings: what serve writes and what mirror reads stand side by side here, each
// once. It does no I/O of its own and asks no clock. docs/protocol.md is the
// protocol; each file names its section.
//
//	header.Set("ETag", wire.FileTagOf(entry).String()) // serve
//	tag, ok := wire.ParseFileTag(header.Get("ETag"))   // mirror
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	since.go        the stream that answers ?since
//	sums.go         lines of sha256sum(1)
//	blocks.go       the sums of the blocks of a file
//	tarreader.go    the members of a tar stream: reading them
//	tar.go          writing them
//	query.go        the query of ?txt, ?since and ?wait
//	path.go         paths in URLs, in posted lists and in Tidemark-Path
//	listingtag.go   the ETag of a listing, and the options fingerprint in it
//	filetag.go      the ETag of a file
//	contentrange.go which part of a file an answer has
//	upstream.go     Tidemark-Upstream: how a copy came about
//	runs.go         Tidemark-Runs: the runs of watch
//	state.go        Tidemark-State: how far the stamps of a tree can be relied on
//	epoch.go        Tidemark-Epoch
//	entries.go      Tidemark-Entries: how much a tree has
//	header.go       names of headers
//	bounds.go       what both ends must agree on, and ClockLag
//
// The text listing itself, with its stamps, names and the line that ends an
// answer to ?since, is in package mtree.
//
// # Conventions
//
// Writers append to a slice, or format one value as a string. Readers come in two
// kinds. What comes in a header is parsed leniently: text that makes no sense
// gives the zero value, for a proxy may have altered it, and a reader does without. (The
// epoch is the exception.)
// What comes in a body is parsed strictly: errors wrap mtree.ErrListing, and the
// whole answer counts for nothing. Every pair is tested by round trip
// (fuzz_test.go).
package wire
