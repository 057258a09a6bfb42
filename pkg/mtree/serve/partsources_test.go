package serve_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// Where a journal comes from, and whether it is used.

// inState waits until serve says that the tree is in a state.
func (s *site) inState(want wire.State) {
	s.Helper()
	require.Eventually(s, func() bool { return s.get("/").Header.Get("Tidemark-State") == string(want) }, longest, time.Millisecond)
}

// isPart changes a file again and again, until the change comes as a part of the directory d.
func (s *site) isPart() {
	s.Helper()
	for i, end := 0, time.Now().Add(longest); ; i++ {
		require.True(s, time.Now().Before(end), "no parts")
		from := s.list("/").Stamp
		require.NoError(s, os.WriteFile(s.path("d/f001"), []byte(fmt.Sprint(i)), 0o644))
		a := s.get(since("/", from) + "&wait=10")
		if a.StatusCode != 200 {
			continue
		}
		blocks, _ := decodeParts(s.T, a.body)
		if last := len(blocks) - 1; last > 0 && blocks[last].Path == "d" && blocks[last].IsPart() {
			require.Equal(s, "d/ part f001", brief(blocks)[last])
			return
		}
	}
}

// Several serves on one tree, started before watch and after it, with the state beside the tree:
// each gives parts, of each watch that runs.
func TestPartsFromSeveralServes(t *testing.T) {
	root, stateDir := inMemory(t), t.TempDir()
	for name, text := range wide("d", 20) {
		require.NoError(t, os.MkdirAll(root+"/d", 0o755))
		require.NoError(t, os.WriteFile(root+"/"+name, []byte(text), 0o644))
	}
	publishAt := func() *site {
		s := &site{T: t, root: root, cfg: serve.Config{Root: root, StateDir: stateDir, Stats: &serve.Stats{}}}
		s.start()
		return s
	}
	before := publishAt()
	require.Equal(t, "unwatched", before.get("/").Header.Get("Tidemark-State"))
	config := watch.Config{Root: root, StateDir: stateDir, Backend: "inotify"}
	stop := keepWatch(t, config)
	after := publishAt()
	for _, s := range []*site{before, after} {
		s.inState(wire.Watched)
		s.isPart()
	}
	from := after.list("/").Stamp
	stop()
	after.inState(wire.Audited)
	blocks, _ := decodeParts(t, after.get(since("/", from.Add(-1))).body)
	require.False(t, blocks[0].IsPart(), "nobody runs")
	keepWatch(t, config)
	for _, s := range []*site{before, after} {
		s.inState(wire.Watched)
		s.isPart()
	}
}

// The journal in a copied tree says nothing of that, and one of another boot says nothing: over
// NFS it may be older than the stamps.
func TestPartsOfAnotherJournal(t *testing.T) {
	k := publishKept(t, serve.Config{}, wide("d", 3))
	first := k.shows("")
	k.publish("d/f001")
	require.Equal(t, []string{"./ part d", "d/ part f001"}, brief(first1(k.parts(since("/", first)))))

	copied := inMemory(t)
	require.NoError(t, exec.Command("cp", "-a", k.root+"/.", copied).Run())
	s := &site{T: t, root: copied, cfg: serve.Config{Root: copied}}
	s.start()
	require.Equal(t, 410, s.get(since("/", first)).StatusCode)
	require.Equal(t, 410, s.get("/?changes").StatusCode)

	file := k.path(".tidemark/journal.0")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	boot := machine.BootID()
	require.Contains(t, string(text), boot)
	text = bytes.ReplaceAll(text, []byte(boot), []byte(strings.Repeat("0", len(boot))))
	open, err := os.OpenFile(file, os.O_WRONLY, 0) // the same file: its lock stays
	require.NoError(t, err)
	_, err = open.WriteAt(text, 0)
	require.NoError(t, err)
	require.NoError(t, open.Close())
	require.Equal(t, []string{"./ whole", "d/ whole"}, brief(first1(k.parts(since("/", first.Add(1))))))
	require.Equal(t, 410, k.get("/?changes").StatusCode)
}

func first1(blocks []mtree.Listing, _ mtree.Trailer) []mtree.Listing { return blocks }

// While the two files of a journal take turns, parts come for what the index reaches, and whole
// listings for what it does not reach any more.
func TestPartsWhileTheJournalTurnsOver(t *testing.T) {
	k := publishKept(t, serve.Config{}, wide("d", 30))
	first := k.shows("")
	many := make([]string, 900)
	for i := range many {
		many[i] = fmt.Sprintf("d/%0200d", i)
	}
	k.ticks = false
	from := first
	var sawParts, sawWhole int
	for i := range 80 {
		k.publish(append(many, fmt.Sprintf("d/f%03d", i%30))...)
		if i%7 == 0 {
			from = k.publish("x")
			k.publish("x")
			require.Equal(t, "./ part -x", brief(first1(k.parts(since("/", from))))[0])
			if blocks, _ := k.parts(since("/", first.Add(time.Duration(i)))); blocks[1].IsPart() {
				sawParts++
			} else {
				sawWhole++
			}
		}
	}
	turned, err := os.Stat(k.path(".tidemark/journal.1"))
	require.NoError(t, err)
	require.NotZero(t, turned.Size())
	require.NotZero(t, sawWhole)
	blocks, _ := k.parts(since("/", first))
	require.False(t, blocks[0].IsPart(), "the index does not reach back")
}
