package power

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/internal/proof"
	"tidemark/internal/testfs"
	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
)

// TestCutsAtTheSource: the disk of a source loses its power while watch publishes what
// goes on. Afterwards the tree has lost some of its latest changes and stamps, or the
// bytes under times that it has kept. Copies may have seen all of them. They become equal
// to the tree as it is now, and no file is away from the copy that both had all the time.
func TestCutsAtTheSource(t *testing.T) {
	t.Parallel()
	proof.Rounds(t, len(kinds), func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := &cutSource{disk: newDisk(t, kinds[int(seed-1)%len(kinds)]), rand: r}
		s.chain = newChain(t, s.disk.path("tree"))
		s.churner = &churner{root: s.source, rand: rand.New(rand.NewPCG(seed, 2))}
		require.NoError(t, s.fill())
		s.startWatch()
		s.startServe()
		s.startMirror("--max-delete", "100%")
		s.equal()
		cuts := 2
		if proof.Budget(t) > 0 {
			cuts = 4
		}
		for range cuts {
			s.cutOnce(t)
		}
		s.dark()
		s.disk.sound()
		s.boot(t)
		s.equal()
		proof.Count("power cuts", s.cuts)
	})
}

// cutSource is a chain whose source is on a disk that is cut.
type cutSource struct {
	*chain
	*churner
	disk *testDisk
	rand *rand.Rand
	cuts int

	tries int // how often the mirror had told that it tries again when nobody answered any more
}

// cutOnce changes the tree, cuts the power in the middle, and lets everything come back.
func (s *cutSource) cutOnce(t *testing.T) {
	stop := s.keep(t, 2*time.Millisecond)
	<-time.After(time.Duration(s.rand.Int64N(int64(400 * time.Millisecond))))
	if s.rand.IntN(3) > 0 { // the copy has seen everything
		stop()
		s.settle()
	}
	if s.rand.IntN(2) == 0 {
		require.NoError(t, flush(s.source, false))
		if s.rand.IntN(2) == 0 {
			require.NoError(t, flushStatus(s.source))
		}
	}
	s.cut(stop)
	if s.rand.IntN(4) == 0 { // and again, while it comes back
		s.startWatch()
		s.startServe()
		<-time.After(time.Duration(s.rand.Int64N(int64(100 * time.Millisecond))))
		s.cut(func() int { return 0 })
	}
	s.rested(t)
	missed := s.missing(t)
	s.boot(t)
	s.equal()
	require.Empty(t, missed(), "files that source and copy had before and after were away meanwhile")
}

// rested waits until the mirror has noticed that nobody answers: a pass that was under way
// may still have deleted what the source told deleted, and has again since the cut.
func (s *cutSource) rested(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return s.mirror.Told("trying again") > s.tries }, 2*patience, 5*time.Millisecond, s.told())
}

// cut cuts the power, under all that runs where that is possible, and mounts what it left.
func (s *cutSource) cut(stop func() int) {
	how := testfs.Flush(s.rand.IntN(3))
	if s.disk.name == "btrfs" {
		stop()
		s.dark()
	}
	s.disk.cut(how)
	stop()
	s.dark()
	s.tries = s.mirror.Told("trying again")
	s.disk.back()
	if s.rand.IntN(3) > 0 { // else the disk alone was away
		s.reboot()
	}
	s.cuts++
}

// boot starts the programs of the source, in any order.
func (s *cutSource) boot(t *testing.T) {
	t.Helper()
	switch s.rand.IntN(3) {
	case 0:
		s.startServe()
		<-time.After(time.Duration(s.rand.Int64N(int64(1500 * time.Millisecond)))) // the mirror may ask an unwatched tree
		s.startWatch()
	case 1:
		s.startServe()
		s.startWatch()
	default:
		s.startWatch()
		s.startServe()
	}
}

// missing looks all the time for the files that copy and source both have now, until the
// function is called that it returns. That one returns those that were not there.
func (s *cutSource) missing(t *testing.T) func() []string {
	have, err := testtree.Snapshot(s.to)
	require.NoError(t, err)
	keeps, err := testtree.Snapshot(s.source)
	require.NoError(t, err)
	stop, ended := make(chan struct{}), make(chan struct{})
	missed := map[string]bool{}
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			for name := range have {
				if keeps[name] == "" {
					continue
				}
				if _, err := os.Lstat(filepath.Join(s.to, name)); errors.Is(err, fs.ErrNotExist) {
					missed[name] = true
				}
			}
		}
	}()
	var once sync.Once
	end := func() (names []string) {
		once.Do(func() { close(stop) })
		<-ended
		for name := range missed {
			names = append(names, name)
		}
		return names
	}
	t.Cleanup(func() { end() })
	return end
}

// TestBytesLostUnderTheirTimes: a file was written in place, its times reached the disk and
// its bytes did not. After the power cut the file has the size and times that a copy knows,
// and other bytes. The raised epoch made readers compare everything once, but by size and
// time alone, unless a file's ctime was within ten seconds of the listing that its directory
// was completed from. The root's stamps were equal, the states "watched" and "mirrored", and
// the bytes differed. If the disk alone had lost its power, in one boot, the epoch was not even
// raised, because an unclean checkpoint of the same boot counted as proof.
func TestBytesLostUnderTheirTimes(t *testing.T) {
	for _, k := range kinds {
		if k.name == "ext4-journal" || k.name == "btrfs" { // they keep bytes and times together
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			d := newDisk(t, k)
			c := newChain(t, d.path("tree"))
			testtree.Make(t, c.source, "d/f = old", "d/g = g", "e/f = f")
			testfs.Run(t, "sync", "-f", d.at)
			c.startWatch()
			c.startServe()
			c.startMirror()
			c.equal()
			f, err := os.OpenFile(filepath.Join(c.source, "d/f"), os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString("new")
			require.NoError(t, err)
			require.NoError(t, f.Close())
			c.equal()
			require.NoError(t, flushStatus(c.source)) // the checkpoint, the journal, and not bytes of others
			require.NoError(t, c.mirror.Terminate(patience))
			completedLater(t, filepath.Join(c.to, "d"), time.Minute)
			d.cut(testfs.FlushNone)
			c.dark()
			d.back()
			text, err := os.ReadFile(filepath.Join(c.source, "d/f"))
			require.NoError(t, err)
			require.Equal(t, "old", string(text), "the file system lost the bytes")
			if k.name != "xfs" { // there the disk alone was away, in the same boot
				c.reboot()
			}
			c.startWatch()
			c.startServe()
			c.startMirror()
			c.equal()
		})
	}
}

// completedLater changes the record of a directory of a copy, as if the directory had been
// listed and completed later.
func completedLater(t *testing.T, dir string, by time.Duration) {
	t.Helper()
	const name = "user.tidemark"
	buf := make([]byte, 256)
	n, err := unix.Getxattr(dir, name, buf)
	require.NoError(t, err)
	fields := strings.Split(string(buf[:n]), " ")
	now, err := mtree.ParseStamp(fields[1])
	require.NoError(t, err)
	fields[1] = now.Add(by).String()
	require.NoError(t, unix.Setxattr(dir, name, []byte(strings.Join(fields, " ")), 0))
}
