// Package source says what a copy is made from: which questions a source answers, and
// with what. The answers come from a server (package remote) or from a directory of
// this machine (package directory), which have the same methods:
//
//	root, err := src.Root(ctx, source.Poll{})         // once for each pass
//	dir, err := src.List(ctx, "a/b", stampInParent)   // for each directory that differs
//	for i, f := range src.Fetch(ctx, want) { ... }    // for its files
//	sums, err := src.Sums(ctx, paths)                 // for files of equal size and time
//	dir, err := src.Part(ctx, "a/b", stamp)           // for files that changed after they were listed
//
// What it promises: a listing is whole or an error; Body of a file ends with io.EOF
// only if all bytes of one version of the file were read, so a file that is stored is
// never a mixture; what could not be read has an error of its own, and an error never
// stands for "there is nothing".
//
// The methods may be used by several goroutines at once, but Root only while no other
// call is under way: it may open another directory, and it ends what is prefetched.
//
// Listings of other servers (nginx, Apache and the like) give times and sizes only
// approximately. Dir.Approx resolves them against the entries of the copy (package
// autoindex); for other sources it is nil and does nothing.
//
// Its files stand in layers. Each uses what stands below it:
//
//	each.go    EachFile: the loop of Fetch for sources that open single files, Opener, Opened
//	hash.go    Hash, HashBlocks
//	file.go, patch.go
//	           Wanted, File, Sum; Old, Patch: a file that differs in places from one that the
//	           caller has
//	source.go  Poll, Root, Dir, Tree
//	errors.go  errors that callers branch on
package source
