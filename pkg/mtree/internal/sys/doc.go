// Package sys is the seam below the programs: the system calls with which they read and
// change a tree, by the names and with the arguments of golang.org/x/sys/unix. Each asks
// the kernel directly. In a simulation it asks a Kernel instead, which is a kernel in
// memory: see package simkernel.
//
//	fd, err := sys.Openat(dirfd, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
//
// A call that a signal interrupts is made again: nobody above sees EINTR.
//
// The seam costs a comparison with nil per call. What is given to a Kernel is copied first,
// so that nothing that callers keep on their stacks escapes to the heap.
//
// Its files stand in layers. Each uses what stands below it:
//
//	file.go                                  an open file, instead of os.File
//	proc.go                                  the way from /proc to what is open
//	names.go, attributes.go, content.go, copyrange.go
//	                                         system calls
//	locks.go, inotify.go, process.go, select.go
//	again.go                                 calls that a signal interrupted
//	kernel.go                                what a simulation answers
package sys
