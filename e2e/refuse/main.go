// Refuse runs a program to which the kernel refuses openat2(2), as it is under
// systemd's RestrictSUIDSGID= (ENOSYS) and in some containers (EPERM):
//
//	refuse ENOSYS|EPERM PROGRAM [ARGS]
//
// go test -exec 'refuse ENOSYS' runs tests so.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "refuse:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: refuse ENOSYS|EPERM PROGRAM [ARGS]")
	}
	errno, ok := map[string]uint32{"ENOSYS": uint32(unix.ENOSYS), "EPERM": uint32(unix.EPERM)}[args[0]]
	if !ok {
		return fmt.Errorf("ENOSYS or EPERM, not %q", args[0])
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the filter is this thread's, and stays with it over execve(2)
	if err := filter(errno); err != nil {
		return err
	}
	return syscall.Exec(path, args[1:], os.Environ())
}

// filter installs four instructions: load the number of the call, compare, refuse,
// allow (seccomp(2)).
func filter(errno uint32) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_OPENAT2, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | errno},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	all := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&all)), 0, 0)
}
