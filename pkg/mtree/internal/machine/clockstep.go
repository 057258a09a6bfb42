package machine

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// ClockSteps hears when somebody sets the clock. It causes no wake-up until then: each
// step cancels a timer that never expires (TFD_TIMER_CANCEL_ON_SET in
// timerfd_create(2)). So does waking up from suspension.
type ClockSteps struct {
	C <-chan struct{} // sent to after each step, without waiting; the clock then shows the new time

	file *os.File
	done chan struct{}
}

// NewClockSteps begins to listen, with a goroutine that ends with Close. System calls:
// timerfd_create, timerfd_settime.
func NewClockSteps() (*ClockSteps, error) {
	if k := sys.Simulated(); k != nil {
		return &ClockSteps{C: k.ClockSteps()}, nil
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	if err := armClockStep(fd); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("timerfd_settime: %w", err)
	}
	steps := make(chan struct{}, 1)
	c := &ClockSteps{C: steps, file: os.NewFile(uintptr(fd), "timerfd"), done: make(chan struct{})}
	go c.listen(steps)
	return c, nil
}

// farFuture is in the year 2242. A clock beyond it makes the timer expire once.
const farFuture = 1 << 33

func armClockStep(fd int) error {
	at := unix.ItimerSpec{Value: unix.Timespec{Sec: farFuture}}
	return unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &at, nil)
}

func (c *ClockSteps) listen(steps chan<- struct{}) {
	defer close(c.done)
	var expired [8]byte
	for {
		_, err := c.file.Read(expired[:])
		if err != nil && !errors.Is(err, unix.ECANCELED) {
			return // closed
		}
		select {
		case steps <- struct{}{}:
		default:
		}
	}
}

// Close ends the listening.
func (c *ClockSteps) Close() error {
	if c.file == nil {
		return nil // of a simulation
	}
	err := c.file.Close()
	<-c.done
	return err
}
