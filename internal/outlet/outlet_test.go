package outlet

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func lostLine(n int, last []byte) []byte {
	return fmt.Appendf(nil, "lost %d lines, the last %s", n, last)
}

// text is a reader that takes everything, once it may.
type text struct {
	may chan struct{} // closed when he may; nil: he always may
	mu  sync.Mutex
	all strings.Builder
}

func (t *text) Write(p []byte) (int, error) {
	if t.may != nil {
		<-t.may
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all.Write(p)
}

// Nothing waits for a reader that does not read. When it reads again, it gets what was
// kept, in order, and in the place of the rest how many lines that were.
func TestASlowReaderStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := &text{may: make(chan struct{})}
		o := New(reader, 30, 0, lostLine)
		var want strings.Builder
		for i := range 9 {
			line := fmt.Sprintf("line %d...\n", i)
			n, err := io.WriteString(o, line)
			require.NoError(t, err)
			require.Equal(t, len(line), n)
			synctest.Wait()
			if i < 4 { // one is being written, three are kept
				want.WriteString(line)
			}
		}
		require.Equal(t, int64(5), o.Lost())
		want.WriteString("lost 5 lines, the last line 8...\n")
		close(reader.may)
		synctest.Wait()
		_, err := io.WriteString(o, "after\n")
		require.NoError(t, err)
		want.WriteString("after\n")
		left, err := o.Close(time.Second)
		require.NoError(t, err)
		require.Zero(t, left)
		require.Equal(t, want.String(), reader.all.String())
		require.Equal(t, int64(5), o.Lost())
	})
}

// Close waits for the reader, but no longer than its argument says.
func TestCloseWaitsABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := &text{may: make(chan struct{})}
		o := New(reader, 4, 0, lostLine)
		_, err := io.WriteString(o, "a\n")
		require.NoError(t, err)
		synctest.Wait()
		_, err = io.WriteString(o, "b\nc\nd\n")
		require.NoError(t, err)
		began := time.Now()
		left, err := o.Close(time.Second)
		require.NoError(t, err)
		require.Equal(t, 4, left, "one is being written, two are kept, one is lost")
		require.Equal(t, time.Second, time.Since(began))
		close(reader.may)
	})
}

// With patience a line stands in the output when Write returns, as long as the reader
// never was slow; after that no Write waits for it.
func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := &text{}
		o := New(reader, 100, time.Second, lostLine)
		began := time.Now()
		_, err := io.WriteString(o, "a\n")
		require.NoError(t, err)
		require.Equal(t, "a\n", reader.all.String())
		require.Zero(t, time.Since(began))
		_, err = o.Close(0)
		require.NoError(t, err)

		slow := &text{may: make(chan struct{})}
		o = New(slow, 100, time.Second, lostLine)
		for range 10 {
			_, err = io.WriteString(o, "b\n")
			require.NoError(t, err)
		}
		require.Equal(t, time.Second, time.Since(began))
		close(slow.may)
		_, err = o.Close(time.Second)
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("b\n", 10), slow.all.String())
	})
}

// The next Write and Close return the error of a reader that is gone.
func TestAReaderWhoHasGone(t *testing.T) {
	in, out, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	require.NoError(t, in.Close())
	o := New(out, 100, 0, lostLine)
	_, err = io.WriteString(o, "a\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := io.WriteString(o, "b\n")
		return err != nil
	}, 10*time.Second, time.Millisecond)
	_, err = o.Close(time.Minute)
	require.ErrorContains(t, err, "broken pipe")
}
