// Package ownwrites remembers a watcher's own writes of directory times.
//
// That tells two things. An event of a directory which still shows what our write
// left is the event of that write, not of somebody else's. And an audit need not
// take such a directory for one that arrived under its name: its young ctime is
// ours. The second is safe only with a proof; see Memory.
package ownwrites
