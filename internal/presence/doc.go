// Package presence lets a program that runs be found and asked by others on its machine, without
// the network and without a file: serve may write nowhere, and its user may be made up by systemd.
//
//	a, err := presence.Announce("serve/fd00-1f", func() []byte { return report })
//	...
//	defer a.Close()
//
//	for _, found := range presence.Find("serve/fd00-1f") { ... } // in another process
//
// The program listens at an abstract Unix socket (unix(7)), the name of which begins with what it is
// asked by. Whoever connects gets the answer, and the end. The kernel takes the name back when
// the program ends, even if it is killed. So nothing tells of a program that is gone. Which process
// answers is what the kernel says, not what the answer says.
//
// Every user of the machine may ask, and may announce: an answer holds no secrets, and proves nothing but
// the process and the user it is from. Sockets of this kind belong to a network namespace: a program in
// a container with a network of its own is not found from outside.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	find.go       Find
//	announce.go   Announce
package presence
