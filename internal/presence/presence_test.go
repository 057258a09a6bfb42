package presence

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Who is announced is found by its name only, with the process that the kernel says, until it ends.
func TestFind(t *testing.T) {
	name := fmt.Sprintf("test/%d", os.Getpid())
	found, err := Find(name)
	require.NoError(t, err)
	require.Empty(t, found)
	asked := 0
	one, err := Announce(name, func() []byte { asked++; return fmt.Appendf(nil, "one %d", asked) })
	require.NoError(t, err)
	two, err := Announce(name, func() []byte { return []byte("two") })
	require.NoError(t, err)
	other, err := Announce(name+"0", func() []byte { return []byte("other") })
	require.NoError(t, err)
	defer other.Close()
	answers := func() (all []string) {
		found, err := Find(name)
		require.NoError(t, err)
		for _, f := range found {
			require.NoError(t, f.Err)
			require.Equal(t, os.Getpid(), f.PID)
			require.Equal(t, os.Getuid(), f.UID)
			all = append(all, string(f.Answer))
		}
		return all
	}
	require.ElementsMatch(t, []string{"one 1", "two"}, answers())
	require.ElementsMatch(t, []string{"one 2", "two"}, answers())
	one.Close()
	one.Close()
	require.Equal(t, []string{"two"}, answers())
	two.Close()
	require.Empty(t, answers())
}

// One that does not answer, or answers without an end, is told with an error and holds nobody up for
// long; so does a user who connects and says nothing.
func TestFindWhatDoesNotAnswer(t *testing.T) {
	name := fmt.Sprintf("test/silent%d", os.Getpid())
	silent, err := net.Listen("unix", prefix+name+"/1")
	require.NoError(t, err)
	defer silent.Close()
	endless, err := Announce(name, func() []byte { return []byte(strings.Repeat("x", mostAnswer+1)) })
	require.NoError(t, err)
	defer endless.Close()
	idle, err := net.Dial("unix", endless.listener.Addr().String())
	require.NoError(t, err)
	defer idle.Close()
	began := time.Now()
	found, err := Find(name)
	require.NoError(t, err)
	require.Less(t, time.Since(began), 10*patience)
	require.Len(t, found, 2)
	for _, f := range found {
		require.Error(t, f.Err)
		require.Empty(t, string(f.Answer))
		require.Equal(t, os.Getpid(), f.PID)
	}
}

// A file whose name looks like that of an announcement is none.
func TestFindNoFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.MkdirAll(filepath.Join(prefix, "test/file"), 0o755))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "./" + prefix + "test/file/x", Net: "unix"})
	require.NoError(t, err)
	defer l.Close()
	found, err := Find("test/file")
	require.NoError(t, err)
	require.Empty(t, found)
}
