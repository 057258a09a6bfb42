package limit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
)

// EMFILE has two causes, each with its own remedy.
func TestNoInstance(t *testing.T) {
	err := NoInstance()
	require.ErrorIs(t, err, ErrReached)
	require.ErrorContains(t, err, "set it with sysctl -w "+Instances)
	testfs.WithoutDescriptors(t, func() { err = NoInstance() })
	require.NotErrorIs(t, err, ErrReached)
	require.ErrorContains(t, err, "LimitNOFILE=")
}

func TestSysctlsAreRead(t *testing.T) {
	for _, name := range []string{Watches, Instances, InotifyQueue, FanotifyQueue} {
		require.Positive(t, Of(name), name)
	}
	require.Zero(t, Of("fs.no.such"))
	require.Equal(t, 21_000, RoundedUp(10_000))
}
