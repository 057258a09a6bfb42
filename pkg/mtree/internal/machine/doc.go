// Package machine is what tidemark asks of the machine that it runs on and of its own
// process, apart from files and directories: clock and boot, mounts, rights,
// priorities. It imports neither disk nor state; where it needs a directory it takes a
// descriptor.
//
// The kernel reports changes to [ClockSteps] and [MountTable], which cause no wake-up
// until then:
//
//	steps, err := machine.NewClockSteps()
//	...
//	defer steps.Close()
//	for range steps.C {
//		// the clock was set
//	}
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	mounts.go      MountTable: hears of mounts; Mounts: those below a directory
//	below.go       does a directory lie in another one?
//	mountinfo.go   /proc/self/mountinfo, and what follows from it
//	stay.go        what tells whether a file system was away in this boot
//	filesystem.go  what identifies a file system across reboots; whether this kernel keeps it
//	clockstep.go   ClockSteps: hears when somebody sets the clock
//	clock.go       Now, uptime, boot id
//	rights.go      what this process is allowed to read and to do
//	priority.go    disk requests that come after those of others
//	realpath.go    paths without symlinks
//	proc.go        small files of /proc
package machine
