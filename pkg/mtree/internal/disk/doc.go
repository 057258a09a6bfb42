// Package disk is the local Linux file system as tidemark needs it: by
// directory descriptors and single names, with nanosecond times that reach
// beyond int64, raw names, and errors that wrap *fs.PathError.
//
// Dir is an open directory; Scan, Entries and Lister read it; Marker is the
// directory .tidemark with its tree, lock and status files; Record is what a
// copy remembers on each of its directories.
//
// Nothing here follows a symlink below the root or leaves it. Only this package
// and its neighbour notify make system calls by number.
package disk
