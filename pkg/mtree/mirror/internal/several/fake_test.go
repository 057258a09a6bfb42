package several

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
)

// fake is a source that answers what a test says.
type fake struct {
	mu      sync.Mutex
	root    source.Root
	err     error         // of each request
	openErr error         // of each Open
	takes   time.Duration // how long it takes to answer with its root
	errs    []error       // of the next requests for the root, before err
	polls   []source.Poll
	opened  int
	closed  int
	files   []error // of the files that are fetched
	fetched int
	most    int    // of them at a time
	polling int    // requests for the root that are under way
	cut     bool   // it was closed meanwhile
	on      func() // called when it answers with its root
}

var (
	errDown = &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	errAway = &remote.StatusError{Status: 503}
)

// Root waits as long as the poll says, as a source does in which nothing changes.
func (f *fake) Root(ctx context.Context, poll source.Poll) (source.Root, error) {
	f.mu.Lock()
	f.polls = append(f.polls, poll)
	root, err, takes := f.root, f.err, max(f.takes, poll.Wait)
	if len(f.errs) > 0 {
		err, f.errs, takes = f.errs[0], f.errs[1:], f.takes
	}
	f.polling++
	f.most = max(f.most, f.polling)
	f.mu.Unlock()
	defer f.set(func(f *fake) { f.polling-- })
	if takes > 0 {
		select {
		case <-ctx.Done():
			return source.Root{}, ctx.Err()
		case <-time.After(takes):
		}
	}
	if f.on != nil {
		f.on()
	}
	return root, err
}

func (f *fake) List(context.Context, string, mtree.Stamp) (source.Dir, error) {
	return source.Dir{Fingerprint: "listed"}, f.err
}

func (f *fake) Part(context.Context, string, mtree.Stamp) (source.Dir, error) {
	return source.Dir{Fingerprint: "part"}, f.err
}

func (f *fake) Sums(context.Context, []string) (map[string]source.Sum, error) {
	return map[string]source.Sum{"f": {}}, f.err
}

func (f *fake) Serves(context.Context, string, []byte) bool { return f.err == nil }
func (f *fake) Renewed() bool                               { return f.err == nil }

func (f *fake) Fetch(context.Context, []source.Wanted) iter.Seq2[int, source.File] {
	return func(yield func(int, source.File) bool) {
		for i, err := range f.files {
			f.fetched++
			if !yield(i, source.File{Err: err}) {
				return
			}
		}
	}
}

func (f *fake) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	f.cut = f.cut || f.polling > 0
}

// set changes what it answers.
func (f *fake) set(change func(f *fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// asked returns how often it was asked for its root since the last time.
func (f *fake) asked() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, f.polls = len(f.polls), nil
	return n
}

// bench is a source of several fakes, a, b and so on, on a clock that a test does not wait for.
type bench struct {
	*Sources
	t        *testing.T
	fakes    []*fake
	changes  atomic.Int64
	number   atomic.Int64
	reported [][]replica.SourceState
	log      strings.Builder
	judged   []string         // what it was asked
	refused  map[string]error // what Judge says, by the fingerprint of a root
}

// with runs a test with n sources.
func with(t *testing.T, n int, test func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, refused: map[string]error{}}
		for i := range n {
			b.fakes = append(b.fakes, &fake{root: source.Root{Dir: source.Dir{Fingerprint: string(rune('a' + i))}}})
		}
		b.open()
		test(t, b)
		b.Close()
		synctest.Wait()
	})
}

func (b *bench) config() Config {
	list := make([]Candidate, len(b.fakes))
	for i, f := range b.fakes {
		list[i] = Candidate{string(rune('a' + i)), func() (Origin, error) {
			f.set(func(f *fake) { f.opened++ })
			return f, f.openErr
		}}
	}
	return Config{
		List: list, FirstProbe: time.Second, Vary: func(d time.Duration) time.Duration { return d },
		Now: func() mtree.Stamp { return mtree.FromTime(time.Now()) }, Log: slog.New(slog.NewTextHandler(&b.log, nil)),
		Changes: &b.changes, Number: &b.number,
	}
}

func (b *bench) open() {
	s, err := Open(b.config(), func(root *source.Root, number int, fresh bool) error {
		b.judged = append(b.judged, fmt.Sprint(root.Fingerprint, number, fresh))
		return b.refused[root.Fingerprint]
	})
	require.NoError(b.t, err)
	b.Sources = s
	s.Report = func(list []replica.SourceState) { b.reported = append(b.reported, list) }
}

// ask asks for the root, and returns its fingerprint: of which source it is.
func (b *bench) ask(poll source.Poll) (string, error) {
	root, err := b.Root(b.t.Context(), poll)
	return root.Fingerprint, err
}

// gives asks for the root, which must be that of a source.
func (b *bench) gives(want string, switched bool, poll source.Poll) {
	b.t.Helper()
	root, err := b.Root(b.t.Context(), poll)
	require.NoError(b.t, err)
	require.Equal(b.t, want, root.Fingerprint)
	require.Equal(b.t, switched, root.Switched)
	require.Equal(b.t, want, b.Name())
	require.EqualValues(b.t, want[0]-'a'+1, b.number.Load())
}

func refusal(text string) error { return exit.With(exit.Refused, errors.New(text), "") }
