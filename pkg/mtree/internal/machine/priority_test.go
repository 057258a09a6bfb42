package machine

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func ioprio() uintptr {
	priority, _, _ := unix.RawSyscall(unix.SYS_IOPRIO_GET, ioprioWhoProcess, 0, 0)
	return priority
}

func TestAfterOthersConcernsItsThreadOnly(t *testing.T) {
	var within, before, after uintptr
	before = ioprio()
	AfterOthers(func() { within = ioprio() })
	after = ioprio()
	require.EqualValues(t, ioprioBestEffort<<ioprioClassShift|ioprioLast, within)
	require.NotEqual(t, within, before)
	require.Equal(t, before, after)
}
