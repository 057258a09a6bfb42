// Package wire replaces each answer of a session between mirror and a server by each
// fault that networks, proxies and caches are known for: answers that hang, break off, are
// refused, doubled, shifted by one, stripped, of another directory or of yesterday.
//
// A case is named SERVER/SESSION/FAULT/N/SPAN: mirror makes a session with a server, and
// the N-th answer of it (SPAN "once"), or each one from the N-th on ("on"), comes with the
// fault. Then the fault ends. There are tens of thousands of cases. By itself the test
// makes a fixed sample of them; in make soak it makes all in random order, for as long as
// PROOF_FOR says. A failure prints the command that replays it:
//
//	PROOF_CASE='watched/update/cut-half/17/once' go test -count=1 -run '^TestWire$' ./proof/wire
//
// During the fault and after it nothing that the source has disappears from the copy, no
// directory has a stamp of the source and differs from it, each file is a version that the
// source had, and nothing changes outside of the copy. When the fault has ended the copy
// is equal to the source within a few passes, and an idle pass makes one request.
//
// The tests stand in these files:
//
//	wire_test.go       TestWire: which cases there are, and which of them run
//	follow_test.go     TestStorm: a mirror that keeps running
//	case_test.go       one case: its session, the fault, the recovery
//	sessions_test.go   what a session does
//	place_test.go      what one case needs: source, server, proxy, copy
//	servers_test.go    the servers
//	faults_test.go, fault*_test.go
//	                   the faults, a row for each
//	proxy_test.go      the proxy between the two
//	answer_test.go     an answer, and how it goes out
//	check_test.go      what must hold
//	tree_test.go       the source, its changes, and every version that it had
package wire
