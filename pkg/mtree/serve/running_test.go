package serve_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/presence"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve"

	"fmt"
)

// --status tells what is published of a directory, and by which serves: as long as they run.
func TestStatusOfServes(t *testing.T) {
	s := publishWatched(t, serve.Config{Version: "1.2.3", Hidden: true}, map[string]string{"a/f": "x"})
	type status struct {
		State, Tree string
		Epoch       uint64
		Serves      []struct {
			PID, UID            int
			Version, State      string
			Addresses           []string
			Hidden, Tokens, Tar bool
			Waiting, Requests   int64
			Silent              string
		}
	}
	look := func() (out status, text string) {
		var lines, object bytes.Buffer
		require.NoError(t, serve.PrintStatus(&lines, s.root, ""))
		require.NoError(t, serve.EncodeStatus(&object, s.root, ""))
		require.NoError(t, json.Unmarshal(object.Bytes(), &out))
		return out, lines.String()
	}
	none, text := look()
	require.Equal(t, "watched", none.State)
	require.Equal(t, treeID, none.Tree)
	require.EqualValues(t, 7, none.Epoch)
	require.NotNil(t, none.Serves, "an empty list, and not null")
	require.Empty(t, none.Serves)
	require.Contains(t, text, "\nserves: 0\n")

	end, err := s.h.Announce([]string{"http://127.0.0.1:1/", "unix:/a\x1bb"})
	require.NoError(t, err)
	s.get("/?txt")
	one, text := look()
	require.Len(t, one.Serves, 1)
	found := one.Serves[0]
	require.Equal(t, []int{os.Getpid(), os.Getuid()}, []int{found.PID, found.UID})
	require.Equal(t, []string{"1.2.3", "watched"}, []string{found.Version, found.State})
	require.Equal(t, []string{"http://127.0.0.1:1/", "unix:/a\x1bb"}, found.Addresses)
	require.True(t, found.Hidden && !found.Tokens && !found.Tar)
	require.EqualValues(t, 1, found.Requests)
	require.Contains(t, text, "\nserves: 1\n\npid: ")
	require.Contains(t, text, "\naddress: http://127.0.0.1:1/\n")
	require.NotContains(t, text, "\x1b", "no terminal obeys it")

	root, err := disk.OpenRoot(s.root)
	require.NoError(t, err)
	defer root.Close()
	self, err := root.Self()
	require.NoError(t, err)
	liar, err := presence.Announce(fmt.Sprintf("serve/%x-%x", self.Node.Dev, self.Node.Ino), func() []byte { return []byte("{") })
	require.NoError(t, err)
	two, text := look()
	require.Len(t, two.Serves, 2)
	require.Contains(t, text, "\nsilent: it does not answer\n")
	liar.Close()
	end()
	none, _ = look()
	require.Empty(t, none.Serves)

	require.Equal(t, exit.Local, exit.Of(serve.PrintStatus(&bytes.Buffer{}, s.root+"/none", "")))
}
