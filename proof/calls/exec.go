package calls

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Exec becomes the program, whose calls in kinds wait for the answer of the Supervisor
// that listens on socket. It returns only if that fails.
func Exec(socket string, args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	file, err := conn.File() // a plain descriptor: after the filter nothing else may run here
	if err != nil {
		return err
	}
	fd := int(file.Fd())
	env := os.Environ()
	runtime.LockOSThread() // the filter belongs to this thread, and survives execve(2)
	listener, err := installFilter()
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(fd, []byte{0}, unix.UnixRights(listener), nil, 0); err != nil {
		return err
	}
	return unix.Exec(path, args, env)
}

// installFilter lets the calls in kinds wait for an answer, and returns the descriptor
// on which they are asked for (seccomp_unotify(2)). System calls: prctl, seccomp.
func installFilter() (listener int, err error) {
	var program []unix.SockFilter
	program = append(program, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}) // the number of the call
	numbers := make([]int, 0, len(kinds))
	for nr := range kinds {
		numbers = append(numbers, nr)
	}
	slices.Sort(numbers)
	for i, nr := range numbers {
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jt: uint8(len(numbers) - i)})
	}
	program = append(program,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: retAllow},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	all := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	flags := uintptr(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&all)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// retAllow is SECCOMP_RET_ALLOW of <linux/seccomp.h>.
const retAllow = 0x7fff_0000
