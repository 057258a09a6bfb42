// Package simkernel is a kernel in memory, for simulations: one file system, processes with
// descriptors, locks and inotify, a clock that the simulation sets, and what a crash leaves.
// Only tests use it. It answers the system calls of package sys as Linux answers them on
// ext4, as far as the programs and their tests can tell.
//
//	synctest.Test(t, func(t *testing.T) {
//		k := simkernel.New(simkernel.Options{})
//		s := simkernel.NewScheduler(k, rng)
//		p := k.Start("watch", 0)
//		defer sys.Simulate(p)()
//		go watch.Run(ctx, watch.Config{Root: "/tree"})
//		for range 1000 {
//			s.Step()                              // one system call of the program
//			_ = k.Start("other", 0).Mkdir("/tree/d") // or something else happens
//		}
//	})
//
// With a Scheduler each system call waits until it is picked, so one goroutine runs at a
// time, and one seed makes one history. Kernel.Trace tells it: two runs from one seed must
// have equal traces.
//
// Its files stand in layers. Each uses what stands below it:
//
//	scheduler.go                             picks the next call
//	shell.go                                 what other processes do, by paths
//	names.go, attributes.go, content.go      the system calls
//	rename.go, locks.go, watches.go
//	machine.go
//	path.go                                  how paths are followed
//	kernel.go, inode.go, inotify.go, process.go, image.go
package simkernel
