package power

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// TestKills: watch, serve and mirror are killed at random times while the tree changes all
// the time, and started again. Every file of the source is written aside and renamed into its place,
// so every file in the copy is whole at each moment. In the end the copy is the source, and
// nothing is left of what was written aside.
func TestKills(t *testing.T) {
	t.Parallel()
	kills := 10 // in a round
	if proof.Budget(t) > 0 {
		kills = 100
	}
	proof.Rounds(t, 1, func(t *testing.T, seed uint64) {
		dir, err := os.MkdirTemp("/dev/shm", "tidemark-power-")
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		r := rand.New(rand.NewPCG(seed, 5))
		c := newChain(t, filepath.Join(dir, "tree"))
		tree := &churner{root: c.source, rand: rand.New(rand.NewPCG(seed, 6)), aside: true}
		require.NoError(t, tree.fill())
		start := map[string]func(){
			"watch": func() { c.startWatch() }, "serve": c.startServe,
			"mirror": func() { c.startMirror("--max-delete", "100%") },
		}
		for _, name := range []string{"watch", "serve", "mirror"} {
			start[name]()
		}
		whole := sample(t, c.to)
		stop := tree.keep(t, 2*time.Millisecond)
		for range kills {
			<-time.After(time.Duration(r.Int64N(int64(120 * time.Millisecond))))
			name := []string{"watch", "serve", "mirror", "mirror"}[r.IntN(4)]
			map[string]*proof.Process{"watch": c.watch, "serve": c.serve, "mirror": c.mirror}[name].Kill()
			if r.IntN(3) == 0 { // nobody is there for a while
				<-time.After(time.Duration(r.Int64N(int64(100 * time.Millisecond))))
			}
			start[name]()
		}
		stop()
		c.equal()
		torn, looked := whole()
		require.Empty(t, torn, "files of the copy that were not whole, in %d looks", looked)
		left, err := os.ReadDir(filepath.Join(c.to, ".tidemark/tmp"))
		require.NoError(t, err)
		require.Empty(t, left)
		proof.Count("kills", kills)
	})
}

// sample reads the files of a copy all the time, until the function is called that it returns.
// That one returns those that were not whole.
func sample(t *testing.T, copied string) func() (torn []string, looked int) {
	stop, ended := make(chan struct{}), make(chan struct{})
	var torn []string
	looked := 0
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			_ = filepath.WalkDir(copied, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.Name() == ".tidemark" {
					return fs.SkipDir
				}
				if err != nil || !entry.Type().IsRegular() || strings.HasSuffix(path, "~") { // what is written aside is not whole at the source either
					return nil
				}
				text, err := os.ReadFile(path)
				if looked++; err == nil && !isWhole(text) {
					torn = append(torn, path)
				} else if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
					torn = append(torn, err.Error())
				}
				return nil
			})
		}
	}()
	var done bool
	end := func() ([]string, int) {
		if !done {
			close(stop)
			<-ended
			done = true
		}
		return torn, looked
	}
	t.Cleanup(func() { end() })
	return end
}

// isWhole reports whether a file has what one write of churner left: one number, again and
// again, in one of three lengths.
func isWhole(text []byte) bool {
	if len(text) < 8 || !bytes.Equal(text, bytes.Repeat(text[:8], len(text)/8)) {
		return false
	}
	return strings.Contains(" 1 701 1401 ", " "+strconv.Itoa(len(text)/8)+" ")
}
