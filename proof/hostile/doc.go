// Package hostile holds tables of servers that attack a mirror, and of clients that attack
// a serve. The programs are the real ones; a line of a table is one attack. Nobody imports
// the package: all but this text are tests.
//
//	PROOF_CASE=link-chain go test ./proof/hostile             # one line, by its name
//	go test ./proof/hostile -run TestServers/link-chain       # the same
//	PROOF_FOR=10m go test ./proof/hostile -timeout 0          # at random, two attacks at once
//
// After each attack on a mirror this must hold: nothing outside of the copy was touched
// (inotify, and a comparison of everything beside the copy); no connection was made but to
// the server; what the copy had is still there; the copy has no setuid bit, no device and
// no link that leads out; log, output and status have no control bytes; the program ended
// in time, within its memory, with the right code; and with an honest server, later, the
// copy becomes equal to it.
//
// After each attack on a serve: no byte of a file outside of the tree came back, and nothing
// that tells of the host; what came was a whole HTTP answer, or the connection was closed;
// other clients were answered meanwhile; memory and descriptors are back where they were;
// the log has no panic.
//
// The tests run in a network namespace of their own, in which every address of the world is
// this machine, so that a connection to anywhere is seen.
//
//	world_test.go    the network namespace, TestMain
//	box_test.go      a copy, the canaries around it, and what is checked of both
//	tree_test.go     what an honest server has
//	peer_test.go     a server that plays serve, and what an attack changes
//	servers_test.go  runs the attacks on a mirror, servers_random_test.go two of them at
//	                 once; servers_endless_test.go: one that never ends; other servers_*: the tables
//	target_test.go   a serve that is attacked, and what is checked of it
//	clients_test.go  runs the attacks on a serve; clients_*: the tables
package hostile
