package console

import (
	"io"
	"os"
	"syscall"
	"time"

	"tidemark/internal/outlet"
)

const (
	// logBound is how much of the log is kept for a slow reader, in bytes:
	// about 5,000 lines.
	logBound = 1 << 20

	// logPatience is how long a line of the log waits for the reader, until it
	// was slow once. So the lines of a program that dies have been written, and
	// stand in the right place among the lines of stdout.
	logPatience = 100 * time.Millisecond

	logGrace = time.Second // for the reader to take the rest at the end
)

// ErrorOutput is stderr. Nobody waits for its reader: the journal may restart, and a
// program at the other end of a pipe may stop reading. The reader may even be gone; a
// write to descriptor 2 itself would then end a Go program (SIGPIPE).
type ErrorOutput struct {
	io.Writer
	file *os.File // nil: it is not a file
}

// NewErrorOutput returns stderr, and a function that ends it. lost makes the line that
// stands for n lost lines.
func NewErrorOutput(stderr io.Writer, lost func(n int, file *os.File) []byte) (ErrorOutput, func()) {
	file, _ := stderr.(*os.File)
	w := another(stderr, file)
	line := func(n int, _ []byte) []byte { return lost(n, file) }
	out := outlet.New(unfailing{w}, logBound, logPatience, line)
	return ErrorOutput{out, file}, func() {
		left, _ := out.Close(logGrace)
		if own, ok := w.(*os.File); ok && own != file && left == 0 {
			_ = own.Close()
		}
	}
}

// another returns file by another descriptor; w if there is none.
func another(w io.Writer, file *os.File) io.Writer {
	if file == nil {
		return w
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := syscall.Dup(int(file.Fd()))
	if err != nil {
		return w
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), file.Name())
}

// unfailing goes on after errors: a full disk may get room again.
type unfailing struct{ w io.Writer }

// Write writes p, or what it can of it.
func (u unfailing) Write(p []byte) (int, error) {
	_, _ = u.w.Write(p)
	return len(p), nil
}
