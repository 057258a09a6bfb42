// Package overlap refuses a copy that lies within its source, and a source that lies
// within its copy or was made from it. Such a copy would copy itself, one level deeper
// with each pass, and such a source would be deleted.
//
//	guard := &overlap.Guard{Source: src, Replica: copy}
//	err := guard.CheckDir(ctx, &root, "a/b", &dir, filters.Excluded)
//
// Names do not show an overlap: there are bind mounts, and servers with other addresses
// and roots. So a Guard looks for the copy itself:
//
//   - in a local source by the places of both on their file systems, and by the device
//     and inode of each directory that is listed;
//   - in a tree with an id by the ids of its directories, which are made of these;
//   - in any other tree of serve by ctimes, which nobody can set: an entry that has the
//     name and the ctime of an entry of the copy is that entry if its ctime moves when
//     the one in the copy is moved;
//   - at another web server by the copy's file .tidemark/tree, if the server gives it
//     out;
//   - in a ring of copies, however many, by the upstreams of the source.
package overlap
