// Package selfcopy detects a copy that would be copied into itself. A copy within its
// source would grow one level deeper with each pass, and a source within its copy would
// be deleted. Paths do not show that: there are bind mounts, and servers with other
// addresses and other roots. So mirror looks for itself:
//
//   - a directory of this machine as source: by the places of both on their file systems
//     (CheckPaths), and by the device and inode of each directory that is listed;
//   - a tree with an id: by the ids of its directories, which are made of these;
//   - any other tree of serve: by its ctimes, which nobody can set. An entry that has
//     the name and the ctime of one in the copy is that entry if its ctime moves when
//     the one in the copy is moved;
//   - a server of another kind: by DEST/.tidemark/tree, if it gives that out;
//   - copies of each other, in a ring of any length: by Tree.Copy in the upstreams.
//
// A finding is an error that is ErrItself and carries exit.Refused: neither waiting nor
// going on mends it.
//
//	d := selfcopy.Detector{Replica: copy, Source: src}
//	err := d.CheckRoot(ctx, &root)                  // of a source that is new
//	err = d.CheckListing(ctx, &root, "a/b", &dir)   // of each directory that is listed
//
// Files, each may use those below it:
//
//	detector.go  Detector: is the copy in the source, or the source in the copy?
//	ctime.go     do the ctimes of the copy and of the source move together?
//	paths.go     CheckPaths, and who is above a path
//	errors.go    ErrItself
package selfcopy
