package fetch

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/mirror/internal/replica"
)

// pieces reads no more at once than its sizes, in turn.
type pieces struct {
	in    io.Reader
	sizes []int
}

func (p *pieces) Read(buf []byte) (int, error) {
	size := p.sizes[0]
	p.sizes = append(p.sizes[1:], size)
	return p.in.Read(buf[:min(size, len(buf))])
}

// sparseCopy returns a Writer that makes holes, and the directory of its copy.
func sparseCopy(t *testing.T) (Writer, string) {
	to := newCopy(t)
	to.Sparse = true
	return to, to.Replica.Root.Path()
}

// holes returns the runs of zeros of at least leastHole bytes in text, and those that the file has as
// holes, as far as blocks of 4 KiB allow.
func holes(t *testing.T, path string, text []byte) (want, have int64) {
	for at := 0; at < len(text); {
		run := zeroRun(text[at:])
		if end := at + run; run >= leastHole {
			want += int64(end/holeBlock*holeBlock - (at+holeBlock-1)/holeBlock*holeBlock)
			if end == len(text) {
				want += int64(end % holeBlock) // the last block is not needed
			}
		}
		at += max(run, 1)
	}
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	for at := int64(0); at < int64(len(text)); {
		hole, err := unix.Seek(int(f.Fd()), at, unix.SEEK_HOLE)
		require.NoError(t, err)
		data, err := unix.Seek(int(f.Fd()), hole, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data = int64(len(text))
		}
		have += data - hole
		at = data
	}
	return want, have
}

// A file with holes has the same bytes, however they come, and each long run of zeros is a hole, and no
// shorter one.
func TestSparseFile(t *testing.T) {
	to, path := sparseCopy(t)
	zeros := func(n int) []byte { return make([]byte, n) }
	x := bytes.Repeat([]byte("x"), 100<<10)
	texts := [][]byte{
		nil, zeros(1), zeros(leastHole - 1), zeros(leastHole), zeros(10 << 20), x,
		slicesOf(x, zeros(leastHole), x), slicesOf(x, zeros(leastHole-1), x), slicesOf(x[:1], zeros(leastHole), x[:1]),
		slicesOf(zeros(leastHole+7), x, zeros(leastHole+9)), slicesOf(x, zeros(5<<20+3), x[:5], zeros(100)),
		slicesOf(x[:holeBlock], zeros(leastHole), x[:holeBlock], zeros(holeBlock), x[:holeBlock], zeros(leastHole+holeBlock)),
		slicesOf(zeros(mostZeros+holeBlock), x), // a hole that goes on behind what was written
	}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		var text []byte
		for range r.IntN(20) {
			text = append(text, zeros([]int{0, r.IntN(100), r.IntN(2 * leastHole), holeBlock * r.IntN(40)}[r.IntN(4)])...)
			text = append(text, x[:[]int{1, r.IntN(100), r.IntN(len(x)), holeBlock * r.IntN(20)}[r.IntN(4)]]...)
		}
		texts = append(texts, text)
	}
	for i, text := range texts {
		for name, sizes := range map[string][]int{"at once": {1 << 30}, "in pieces": {1 << 10, 4 << 10, 300, 64 << 10, 4097, 31}} {
			at := filepath.Join(path, "f")
			temp, err := to.Replica.Staging.Create(to.Replica.Root, "f", false, 0o644)
			require.NoError(t, err)
			size, err := to.copyBody(temp, &pieces{bytes.NewReader(text), sizes})
			require.NoError(t, err)
			require.Equal(t, int64(len(text)), size)
			require.NoError(t, temp.Place(to.Replica.Root, "f"))
			got, err := os.ReadFile(at)
			require.NoError(t, err)
			require.True(t, bytes.Equal(text, got), "%d, %s", i, name)
			want, have := holes(t, at, text)
			require.Equal(t, want, have, "%d, %s", i, name)
		}
	}
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// What broke off is continued behind its last hole, and the zeros that came last count as what came.
func TestSparseFileThatIsContinued(t *testing.T) {
	to, path := sparseCopy(t)
	text := slicesOf([]byte("begin"), make([]byte, 10<<20), []byte("middle"), make([]byte, 3<<20), []byte("end"), make([]byte, 2<<20))
	for _, cut := range []int{1, 5, 5 + 3<<20, 5 + 10<<20, 11 + 10<<20, 11 + 10<<20 + 1, 14 + 13<<20, 14 + 13<<20 + leastHole, len(text)} {
		temp, size, err := to.Replica.Staging.Continue("key", false)
		require.NoError(t, err)
		require.Zero(t, size)
		_, err = to.copyBody(temp, io.MultiReader(bytes.NewReader(text[:cut]), iotest.ErrReader(errAway)))
		require.ErrorIs(t, err, errAway)
		require.NoError(t, temp.Keep())

		temp, size, err = to.Replica.Staging.Continue("key", false)
		require.NoError(t, err)
		require.Equal(t, int64(cut), size)
		_, err = to.copyBody(temp, bytes.NewReader(text[cut:]))
		require.NoError(t, err)
		require.NoError(t, temp.Place(to.Replica.Root, "f"))
		got, err := os.ReadFile(filepath.Join(path, "f"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(text, got), cut)
		var is unix.Stat_t
		require.NoError(t, unix.Stat(filepath.Join(path, "f"), &is))
		require.LessOrEqual(t, is.Blocks*512, int64(3*leastHole), "cut at %d", cut)
	}
}

// A hole at the end that cannot be made is an error of the copy's disk: the file would be too short.
func TestAHoleThatCannotBeMade(t *testing.T) {
	to, disk := newFaultyCopy(t)
	to.Sparse = true
	for _, text := range [][]byte{make([]byte, leastHole), slicesOf(make([]byte, leastHole), []byte("x")), slicesOf([]byte("x"), make([]byte, 8<<20))} {
		temp, err := to.Replica.Staging.Create(to.Replica.Root, "new", false, 0o644)
		require.NoError(t, err)
		disk.Fail = func(call string) error {
			if strings.HasPrefix(call, "truncate") {
				return unix.EFBIG
			}
			return nil
		}
		_, err = to.copyBody(temp, bytes.NewReader(text))
		disk.Fail = nil
		require.ErrorIs(t, err, unix.EFBIG)
		require.True(t, replica.IsLocal(err))
		temp.Discard()
	}
}

// A short run of zeros is written with what stands around it, and zeros are brought into the file now and then.
func TestCallsOfASparseFile(t *testing.T) {
	b := newBench(t)
	x := bytes.Repeat([]byte("x"), holeBlock)
	for name, test := range map[string]struct {
		text         []byte
		writes, size int
	}{
		"a short run": {slicesOf(x, make([]byte, 2*holeBlock), x), 1, 4 * holeBlock},
		"a long one":  {slicesOf(x, make([]byte, leastHole), x), 2, leastHole + 2*holeBlock},
		"zeros":       {make([]byte, mostZeros), 0, mostZeros},
		"some zeros":  {make([]byte, mostZeros-1), 0, 0},
	} {
		temp, err := b.env.Copy.Replica.Staging.Create(b.env.Copy.Replica.Root, "f", true, 0o644)
		require.NoError(t, err)
		s := &sparseFile{f: temp}
		b.Made("")
		n, err := s.Write(test.text)
		require.NoError(t, err)
		require.Len(t, test.text, n)
		require.Equal(t, test.writes, b.Made("write"), name)
		info, err := temp.Stat()
		require.NoError(t, err)
		require.EqualValues(t, test.size, info.Size, name)
		temp.Discard()
	}
}
