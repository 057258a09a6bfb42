package mirror

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// heard is a log that tests look into while it grows.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *heard) Write(line []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(line)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

func (h *heard) eventually(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return bytes.Contains([]byte(h.String()), []byte(text)) }, 20*time.Second, time.Millisecond, text)
}

// waitForNext waits for a stamp of the source that the copy does not have.
func waitForNext(t *testing.T, b *bench, s *tree) (log *heard, done chan error) {
	log, done = &heard{}, make(chan error, 1)
	c := Config{Dest: b.config.Dest, Log: slog.New(slog.NewTextHandler(log, nil))}
	stamp := stampOf(t, s.root)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	go func() { done <- WaitFor(ctx, c, stamp) }()
	return log, done
}

// If no mirror ran, or it had ended, --wait-for waited without a message. A pass from cron is
// enough to end the wait.
func TestWaitForSaysThatNoMirrorRuns(t *testing.T) {
	s, b := overHTTP(t, "a/b = one")
	b.equal(s)
	log, done := waitForNext(t, b, s)
	require.NoError(t, <-done)
	require.Empty(t, log.String(), "it is there already")

	s.change("a/b = two")
	log, done = waitForNext(t, b, s)
	log.eventually(t, "no mirror is running")
	b.equal(s)
	require.NoError(t, <-done)

	r := b.start()
	b.eventually(s)
	b.server.interfere(func(w http.ResponseWriter, _ *http.Request) bool { // the listing of a may come with the root's
		w.WriteHeader(503)
		return true
	})
	s.change("a/b = three")
	log, done = waitForNext(t, b, s)
	r.stop()
	log.eventually(t, "no mirror is running")
	b.start()
	log.eventually(t, "a mirror is running")
	b.server.interfere(nil)
	require.NoError(t, <-done)
}

// A mirror that was just started has the lock but no tree file yet: --wait-for said that its
// DEST is no copy.
func TestWaitForAMirrorThatHasJustStarted(t *testing.T) {
	s, b := overHTTP(t, "a/b = one")
	require.NoError(t, os.Mkdir(b.config.Dest, 0o755))
	dir, err := disk.OpenRoot(b.config.Dest)
	require.NoError(t, err)
	defer dir.Close()
	m, err := state.CreateMarker(dir, "")
	require.NoError(t, err)
	defer m.Close()
	c := Config{Dest: b.config.Dest, Log: testLog(t)}
	require.Equal(t, exit.Refused, exit.Of(WaitFor(t.Context(), c, stampOf(t, s.root))), "nobody makes it a copy")

	lock, err := m.Lock()
	require.NoError(t, err)
	log, done := waitForNext(t, b, s)
	select {
	case err := <-done:
		t.Fatal(err)
	case <-time.After(3 * waitLook):
	}
	require.NoError(t, lock.Unlock())
	b.equal(s)
	require.NoError(t, <-done)
	t.Log(log)
}

// A mirror that was started at the same moment has not made its DEST, or not locked it: --wait-for said
// that there is no copy.
func TestWaitForAMirrorThatStarts(t *testing.T) {
	for name, made := range map[string]bool{"no DEST": false, "an empty DEST": true} {
		t.Run(name, func(t *testing.T) {
			s, b := overHTTP(t, "a/b = one")
			if made {
				require.NoError(t, os.Mkdir(b.config.Dest, 0o755))
			}
			log, done := waitForNext(t, b, s)
			select {
			case err := <-done:
				t.Fatal(err)
			case <-time.After(3 * waitLook):
			}
			b.equal(s)
			require.NoError(t, <-done)
			require.Empty(t, log.String())
		})
	}
}

// Without --once a dry run never ended.
func TestADryRunIsOnePass(t *testing.T) {
	_, b := overHTTP(t, "a/b = one")
	b.config.DryRun, b.config.Out = true, &b.out
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, Run(ctx, b.config))
	require.NoError(t, ctx.Err())
	require.Contains(t, b.out.String(), "mkdir  \"a\"\nfetch  \"a/b\"\n")
	require.NoDirExists(t, b.config.Dest)
}
