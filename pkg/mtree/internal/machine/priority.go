package machine

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// The arguments of ioprio_set(2), which x/sys lacks.
const (
	ioprioWhoProcess = 1
	ioprioClassShift = 13
	ioprioBestEffort = 2 // the class of most processes
	ioprioLast       = 7 // its lowest level
)

// AfterOthers runs work on a thread whose disk requests come after those of others
// (ioprio_set(2), best effort, level 7). It is not the idle class, which may wait for
// ever, because work may hold locks. The thread ends with work. If the kernel refuses,
// work runs all the same.
func AfterOthers(work func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends
		_, _, _ = unix.RawSyscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioBestEffort<<ioprioClassShift|ioprioLast)
		work()
	}()
	<-done
}
