// Package mounts lets mounts come and go at random in a tree that watch --cross-mounts hears: file
// systems in memory, and bind mounts of directories and files of the tree itself, one over the other,
// in directories that are renamed and removed. Meanwhile files change, some with equal size and
// time, and watch is killed. After each few steps a mirror makes its copy equal.
//
// What must hold: once watch.Sync has returned and the mirror has said that it is done, the copy has
// what the tree shows. It needs root.
//
// Its files stand in layers. Each uses what stands below it:
//
//	mounts_test.go     TestMountsAtRandom
//	steps_test.go      what happens in the tree
//	programs_test.go   watch, serve and mirror; what is compared
//	world_test.go      the tree
package mounts
