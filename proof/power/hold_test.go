package power

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
)

// TestUnmountWaitsForOtherNamespaces: a mount namespace that began while a disk was mounted
// kept it alive after its cut and its umount. It was mounted again as it was, shut down:
// mirror ended with EIO, or the disk was held until the test gave up.
func TestUnmountWaitsForOtherNamespaces(t *testing.T) {
	t.Parallel()
	d := newDisk(t, kinds[0])
	holds := fmt.Sprintf("echo; while grep -q ' %s ' /proc/%d/mountinfo; do sleep 0.01; done; sleep 0.5", d.at, os.Getpid())
	begin(t, "unshare", "--mount", "--propagation", "private", "sh", "-c", holds)
	d.cut(testfs.FlushNone)
	d.back()
	require.NoError(t, os.WriteFile(d.path("f"), nil, 0o644), "the disk is another one than that which was shut down")
}

// TestOtherDisksAreLetGo: watch and serve see their boot id in a mount namespace of their
// own. Where umount(8) does not spread there, they kept the disks of all other tests.
func TestOtherDisksAreLetGo(t *testing.T) {
	t.Parallel()
	own, other := newDisk(t, kinds[0]), newDisk(t, kinds[1])
	c := newChain(t, own.path("tree"))
	require.NoError(t, os.Mkdir(c.source, 0o755))
	sees := begin(t, c.inBoot("sh", "-c", "echo; exec cat")...)
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", sees))
	require.NoError(t, err)
	require.Contains(t, string(mounts), own.at)
	require.NotContains(t, string(mounts), other.at)
	other.cut(testfs.FlushNone)
	other.back()
}

// begin runs a command until the test ends, and waits until it has printed a byte. It
// returns the process.
func begin(t *testing.T, args ...string) (pid int) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)
	return cmd.Process.Pid
}
