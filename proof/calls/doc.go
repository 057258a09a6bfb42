// Package calls lets the n-th system call of a program fail: of the real binaries, on
// real files.
//
// A [Supervisor] starts a program by way of the launcher failing, which installs a
// seccomp filter, hands its descriptor over and becomes the program. From then on each
// call on a file waits for an answer (seccomp_unotify(2)): it goes on, fails with an
// errno, moves half of its bytes, or the program is killed at just that call.
//
// The tests first record the calls of a run without a fault; then they run it anew with
// one of the calls failing. A program has many threads, so a call is known by its name,
// by the path that it is about, and by how often this was done before.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	supervisor.go  Supervisor: receives calls, answers them
//	fault.go       Fault: which call fails, and how
//	half.go        calls that move half of their bytes
//	exec.go        what the launcher does
//	call.go        Call: what a call is about
package calls
