package several

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
)

// Sources is an origin of several, of which one is used: the first that answers and that Judge accepts.
// Root may change which one; nothing else does. One goroutine calls Root, StandsIn, Name and Close; the
// others may be called by several at once.
type Sources struct {
	list []*candidate
	c    Config

	// Judge returns why the copy must not be made from a source with that root; nil: it may. fresh says
	// that another source was used before.
	Judge  func(root *source.Root, number int, fresh bool) error
	Report func([]replica.SourceState) // gets how the sources stand, if that changed; may be nil

	mu   sync.Mutex // guards what follows, and candidate.origin of the one in use
	used int        // index in list; -1: none yet
	down bool       // nothing could be connected to since the last call of Root

	told     string             // what was reported last
	due      time.Time          // of the next probe
	pause    time.Duration      // before due
	first    time.Duration      // before the first probe after the next change
	returned time.Time          // when a preferred source was used again
	probing  chan []int         // gets the sources that answered a probe; nil: none is under way
	stop     context.CancelFunc // ends it
}

// Open opens the sources. judge becomes Sources.Judge.
func Open(c Config, judge func(root *source.Root, number int, fresh bool) error) (*Sources, error) {
	list, err := candidates(&c)
	if err != nil {
		return nil, err
	}
	return &Sources{list: list, c: c, used: -1, first: c.FirstProbe, Judge: judge}, nil
}

// Names returns the names of the sources, in their order.
func (s *Sources) Names() (names []string) {
	for _, n := range s.list {
		names = append(names, n.name)
	}
	return names
}

// Name returns the name of the source that is used; "" if none is.
func (s *Sources) Name() string {
	if s.used < 0 {
		return ""
	}
	return s.list[s.used].name
}

// tell reports how the sources stand, if that changed.
func (s *Sources) tell() {
	if s.Report == nil {
		return
	}
	list := make([]replica.SourceState, len(s.list))
	for i, n := range s.list {
		list[i] = replica.SourceState{Name: n.name, Used: i == s.used && n.why == "", Since: n.since, Why: n.why}
	}
	if text := fmt.Sprint(list); text != s.told {
		s.told = text
		s.Report(list)
	}
}

// present returns the source that is used. After it could not be connected to, each further request
// would fail after some tries: a pass with thousands of them would take long to end.
func (s *Sources) present() (Origin, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down { // guard: TestALostSourceEndsAPass
		return nil, source.ErrLost
	}
	return s.list[s.used].origin, nil
}

// note looks whether an error says that no server is there. It returns the error.
func (s *Sources) note(err error) error {
	if remote.IsDown(err) {
		s.mu.Lock()
		s.down = true
		s.mu.Unlock()
	}
	return err
}

// StandsIn reports whether the source that gave this root is a copy, and not the first source, and may
// leave out what that one shows: filters of its mirror say so in the fingerprint of its options.
func (s *Sources) StandsIn(root *source.Root) bool {
	if s == nil || s.used < 0 {
		return false
	}
	s.list[s.used].shows = root.Fingerprint
	first := s.list[0].shows
	return s.used > 0 && root.Upstreams != "" && (first == "" || first != root.Fingerprint)
}

// IsLost reports whether the source that is used could not be connected to since the last call of Root.
func (s *Sources) IsLost() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// List is that of the source that is used, as are the methods that follow.
func (s *Sources) List(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	o, err := s.present()
	if err != nil {
		return source.Dir{}, err
	}
	l, err := o.List(ctx, path, least)
	return l, s.note(err)
}

// Fetch: see List. Once the source is lost no further file is asked for.
func (s *Sources) Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File] {
	return func(yield func(int, source.File) bool) {
		seen := make([]bool, len(want))
		if o, err := s.present(); err == nil {
			for i, f := range o.Fetch(ctx, want) {
				seen[i] = true
				if _ = s.note(f.Err); !yield(i, f) {
					return
				}
				if s.IsLost() { // guard: TestALostSourceEndsAFetch
					break
				}
			}
		}
		for i := range want {
			if !seen[i] && !yield(i, source.File{Err: source.ErrLost}) {
				return
			}
		}
	}
}

// Sums: see List.
func (s *Sources) Sums(ctx context.Context, paths []string) (map[string]source.Sum, error) {
	o, err := s.present()
	if err != nil {
		return nil, err
	}
	sums, err := o.Sums(ctx, paths)
	return sums, s.note(err)
}

// Part: see List.
func (s *Sources) Part(ctx context.Context, path string, since mtree.Stamp) (source.Dir, error) {
	o, err := s.present()
	if err != nil {
		return source.Dir{}, err
	}
	l, err := o.Part(ctx, path, since)
	return l, s.note(err)
}

// Serves: see List.
func (s *Sources) Serves(ctx context.Context, path string, text []byte) bool {
	o, err := s.present()
	return err == nil && o.Serves(ctx, path, text)
}

// Renewed reports whether the source that is used would be asked with other credentials than before. If
// none is, it reports that of any.
func (s *Sources) Renewed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used >= 0 && s.list[s.used].origin != nil && s.list[s.used].origin.Renewed()
}
