// Package changed finds what changed in a published tree: the directories since a stamp, for
// answers to ?since, and the names since a position in the journal, for answers to ?changes
// (docs/protocol.md). It makes the bodies, and knows nothing of HTTP.
//
//	walk := changed.NewWalk(reader, changed.Question{Path: "a", Since: stamp, Snap: snap, Stamp: now}, nil)
//	err := walk.Run()
//	body := walk.End()
//
//	after, err := changed.ParsePosition("9c1f02aa63e7b504.117")
//	body, err := changed.Names(tree, snap, after, failed)
//
// What it promises: whatever changed since is told, as a listing, as a part or by its name, or
// there is an error; nothing is told that a listing would not show, or have shown (J6). A walk goes
// by the stamps, or with Parts by the journal, which names the directories that changed, so that no
// other is read. Where the journal proves nothing, it tells whole listings and goes by the stamps.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	early.go               waiting for the batch of a change
//	partwalk.go            NewWalk and Run; going to directories by the journal
//	walk.go                Walk: going to directories by the stamps
//	question.go            Question; Reader and Output: what a walk reads by, and where it writes
//	names.go               Names: the names of batches
//	position.go            Position: after which batch
//	above.go               what is above a directory opens for reading
//	path.go                paths below others
package changed
