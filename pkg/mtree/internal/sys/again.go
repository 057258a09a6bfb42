package sys

import "golang.org/x/sys/unix"

// A call that a signal interrupts is made again. Go sends signals to its own threads, and
// FUSE and network file systems answer any call with EINTR then. Not so close(2), which
// has closed the descriptor by then.

// again makes a call until it is not interrupted.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// countAgain does the same for a call that returns a number.
func countAgain(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}
