// Package power cuts the power of disks under the real programs, damages what they keep
// on them, and kills the programs, again and again. It has tests only.
//
//	source_test.go    cuts at the source: what watch concludes after the reboot
//	damage_test.go    each file of .tidemark damaged, at both ends
//	kill_test.go      kill -9 of watch, serve and mirror under churn
//	chain_test.go     a source, its server and a copy, that lose their power and come back
//	disk_test.go      a disk whose power can be cut
//	hold_test.go      who else keeps a disk mounted
//	churn_test.go     changes, some of them flushed to disk
//
// Cuts under a copy are in pkg/mtree/mirror/powercut_test.go, where records can be read.
package power
