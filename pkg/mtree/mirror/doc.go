// Package mirror makes a directory equal to a source and keeps it so: a one-way
// copy that descends only where the source's stamp of a directory is not the
// one its copy was completed with.
//
//	err := mirror.Run(ctx, mirror.Config{Source: "http://host:8077/", Dest: "/srv/copy"})
//
// What it promises (docs/invariants.md, M1 to M11): a file has its old or its
// new content, never a part; a directory carries the source's stamp only when
// everything below it is there and on disk; nothing changed costs one request
// and no disk write; what is not known is never taken for empty, and deletions
// are held rather than guessed; nothing outside the destination is written and
// no other address is asked.
//
// A pass: Run or Once asks for the root's listing and starts a pass (pass.go).
// A visit (visit.go) takes a directory's listing, compares it with the copy
// (internal/plan, pure) and makes directories and symlinks; fetches (fetch.go) write
// files aside and move them into place; sums (check.go) settle what size and
// time cannot. Then come the deletions behind their guards (delete.go), one
// flush, and the stamps, deepest first and the root last (commit.go).
//
// Concurrency: one goroutine runs the pass and owns all its state; it hands out
// steps, at most Config.Jobs at a time, each of which does its I/O and returns
// what the owner has to note.
package mirror
