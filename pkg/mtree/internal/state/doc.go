// Package state is what tidemark keeps about a tree: the files in .tidemark (or in
// --state-dir) and the attribute of the root. All formats are in docs/protocol.md or
// above the type that is written.
//
// A [Marker] is the open directory .tidemark. Its files are:
//
//	tree             Tree: who the tree is. Replaced durably.
//	lock             Lock: one writer, also on the root itself. Never written.
//	status.json      StatusFile: how far the stamps can be relied on. One pwrite.
//	stamps, unread   Exceptions: directories without their stamp. Replaced.
//	left.0, left.1   OwnWriteLog: what the writes of watch left. Appended to.
//	confirmed        Beacon: a number that ends with its process. Never written.
//	journal.0, .1    names that changed: package journal
//	records          the records of a copy without xattrs: package records
//	tmp              files of a copy before they have their names: disk.Staging
//
// [ReadPublished] reads tree, lock and status as the readers of a tree need them.
//
// Something that has a name of ours but cannot be ours is never followed, never waited
// for and never written to: see ErrInTheWay.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	upstreams.go      where a copy came from
//	published.go      what a tree says to its readers
//	status.go         status.json
//	exceptionsreader.go, exceptionsfile.go, exceptions.go
//	                  stamps and unread
//	ownwrite.go       left.0 and left.1
//	timerange.go      which times the tree's file system stores
//	beacon.go         confirmed
//	offsetlock.go     a number that is the offset of a lock
//	lock.go           lock
//	treefile.go       tree
//	note.go           the attribute of the root
//	treetext.go       the tree file as JSON
//	tree.go           Tree
//	marker.go         Marker
//	dircheck.go       is a --state-dir outside of the tree?
//	ownfile.go        reading and replacing files of .tidemark
//	identity.go       what identifies a root and a mount, across reboots
//	sourcename.go     SOURCE without credentials
//
// # Example
//
//	m, err := state.OpenMarker(root, "")
//	...
//	defer m.Close()
//	published, err := m.Published()
package state
