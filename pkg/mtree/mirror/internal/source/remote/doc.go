// Package remote asks a server for a source: serve, any program that speaks its protocol
// (docs/protocol.md), or a web server of another kind that lists directories. See package
// source for the methods of Source.
//
//	src, err := remote.Open(remote.Config{URL: "http://host:8077/", UserAgent: "tidemark-mirror"})
//	defer src.Close()
//	root, err := src.Root(ctx, source.Poll{})
//
// It also promises: it contacts no address but that of the URL, follows no redirect and
// uses no proxy of the environment; a request whose answer stops flowing is ended; every
// answer is bounded, and a longer one is an error; listings that need more than 8 MiB are
// read one at a time; an answer of a proxy or a portal is not taken for one of the
// source.
//
// It repeats a request that failed for a reason that may pass, up to four times, unless
// Poll.Once or Poll.Wait says that the caller does so.
//
// Its files stand in layers. Each uses what stands below it:
//
//	root.go                Root, alone or with the listings of all that changed
//	list.go                List
//	otherserver.go         listings of servers of other kinds
//	sums.go                Sums
//	file.go, patch.go, ranges.go
//	                       Fetch: the version of a file that is wanted; what differs from one that
//	                       the caller has; ranges of one file, in one answer or several
//	blocks.go              the sums of the blocks of a file
//	bulk.go                Fetch: small files in one tar stream
//	post.go                POST, where it goes through
//	question.go            whether an answer is to what was asked
//	answer.go              a file as an answer describes it
//	body.go                the body of a file whose length is known
//	remote.go, client.go, listing.go, status.go, remedy.go
//	                       Config, Source, Open; requests and credentials; a listing as an
//	                       answer brings it; StatusError; what a user can do about an error
//	room.go                how much memory listings may take
//	stall.go               answers that stop flowing
//	proxy.go               what the environment names as a proxy
package remote
