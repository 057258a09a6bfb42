// Refuse runs a program to which the kernel refuses openat2(2), as it is under
// systemd's RestrictSUIDSGID= (ENOSYS) and in some containers (EPERM):
//
//	refuse ENOSYS|EPERM PROGRAM [ARGS]
//
// go test -exec 'refuse ENOSYS' runs tests that way.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"
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
	errno, ok := map[string]uint32{"ENOSYS": uint32(syscall.ENOSYS), "EPERM": uint32(syscall.EPERM)}[args[0]]
	if !ok {
		return fmt.Errorf("ENOSYS or EPERM, not %q", args[0])
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the filter belongs to this thread, and survives execve(2)
	if err := filter(errno); err != nil {
		return err
	}
	return syscall.Exec(path, args[1:], os.Environ())
}

// From <linux/prctl.h>, <linux/seccomp.h> and <asm/unistd.h>, the same on all machines
// here; package syscall does not have them.
const (
	setNoNewPrivs = 38 // PR_SET_NO_NEW_PRIVS
	setSeccomp    = 22 // PR_SET_SECCOMP
	modeFilter    = 2  // SECCOMP_MODE_FILTER
	retErrno      = 0x0005_0000
	retAllow      = 0x7fff_0000
	openat2       = 437
)

// filter installs four instructions: load the number of the call, compare, refuse,
// allow (seccomp(2)).
func filter(errno uint32) error {
	program := []syscall.SockFilter{
		{Code: syscall.BPF_LD | syscall.BPF_W | syscall.BPF_ABS, K: 0},
		{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, K: openat2, Jf: 1},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: retErrno | errno},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: retAllow},
	}
	all := syscall.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := prctl(setNoNewPrivs, 1, nil); err != nil {
		return err
	}
	return prctl(setSeccomp, modeFilter, unsafe.Pointer(&all))
}

func prctl(option, value uintptr, pointer unsafe.Pointer) error {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, option, value, uintptr(pointer), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
