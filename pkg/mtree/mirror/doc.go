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
// Its packages, from the top: Run, Once and Verify stand here. They ask a source
// (internal/source) for its root, decide whether the copy may follow it
// (internal/lineage), and run a pass (internal/pass). A pass is one run from root to
// root. It owns its queue and counters and hands out steps (internal/work): a visit
// compares a directory with its listing (internal/plan, pure), other steps fetch files,
// compare sums and delete. All of them work on the copy (internal/replica), which keeps
// records and status, and looks after what is held.
//
// Concurrency: the goroutine that runs a pass owns its state. At most Config.Jobs steps
// run at a time, each in a goroutine of its own; a step gets values and returns a value.
package mirror
