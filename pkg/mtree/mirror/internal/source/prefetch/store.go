package prefetch

import (
	"bytes"
	"context"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// MaxKept bounds the listings that a Store keeps, in bytes.
const MaxKept = 4 << 20

// Store keeps the listings that came and were not taken yet. Take waits for a listing
// that may still come. Listings are kept as text: that needs half the memory, and lets
// the goroutines that take them parse in parallel. The zero value is empty. Several
// goroutines may use it at once, but Open and Clear only while no Take is under way.
type Store struct {
	mu      sync.Mutex
	texts   map[string][]byte
	order   []string // of those that came, the first one first; some may be taken
	bytes   int
	at      string          // the last path that came: all before it in tree order are here, or will not come
	stream  *stream         // the answer that is being read; nil: none
	of      source.Dir      // what the answer that was read last says of all its listings
	parts   bool            // they may be parts
	awaited map[string]bool // somebody waits for these
	moved   chan struct{}   // closed with the next change of any of this; nil: no Take waits
}

// stream is an answer that a goroutine of its own reads.
type stream struct {
	stop  context.CancelFunc
	ended chan struct{}
}

// Open records that an answer is being read, which says of all its listings what it says
// of the root; parts that they may be parts. stop ends the reading; its reader calls done at the
// end.
func (s *Store) Open(root *source.Dir, parts bool, stop context.CancelFunc) (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &stream{stop, make(chan struct{})}
	s.stream, s.parts = one, parts
	s.of = source.Dir{Tree: root.Tree, Fingerprint: root.Fingerprint, Direct: true} // no cache keeps such an answer
	return func() {
		s.close()
		close(one.ended)
	}
}

// close records the end of the answer: nothing more comes.
func (s *Store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream = nil
	s.wake()
}

// Clear stops the reading of the answer, waits for its end, and forgets what came.
func (s *Store) Clear() {
	s.mu.Lock()
	one := s.stream
	s.mu.Unlock()
	if one != nil {
		one.stop()
		<-one.ended
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts, s.order, s.bytes, s.at = nil, nil, 0, ""
}

// wake wakes all who wait for a change. The caller holds s.mu.
func (s *Store) wake() {
	if s.moved != nil {
		close(s.moved)
		s.moved = nil
	}
}

// wait waits for a change. The caller holds s.mu; wait unlocks it meanwhile.
func (s *Store) wait(ctx context.Context) {
	if s.moved == nil {
		s.moved = make(chan struct{})
	}
	moved := s.moved
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-moved:
	case <-ctx.Done():
	}
}

// keep stores a listing that came. Without room, it waits until some were taken. But
// while somebody waits for a later listing, it does not wait, and forgets the oldest
// ones, which the pass has skipped.
func (s *Store) keep(ctx context.Context, path string, text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.bytes+len(text) > MaxKept && len(s.awaited) == 0 && s.bytes > 0 && ctx.Err() == nil {
		s.wait(ctx)
	}
	for s.bytes+len(text) > MaxKept && len(s.order) > 0 {
		s.drop(s.order[0])
		s.order = s.order[1:]
	}
	if s.texts == nil {
		s.texts = map[string][]byte{}
	}
	s.drop(path) // if it comes twice
	s.at, s.texts[path], s.order = path, bytes.Clone(text), append(s.order, path)
	s.bytes += len(text)
	for other := range s.awaited {
		if mtree.TreeOrder(path, other) >= 0 {
			delete(s.awaited, other) // it is here, or will not come: no reason to hurry any more
		}
	}
	s.wake()
}

// drop forgets a listing, if it is there. The caller holds s.mu.
func (s *Store) drop(path string) {
	s.bytes -= len(s.texts[path])
	delete(s.texts, path)
}

// Take returns the listing of a directory, once. ok is false if it did not come, is older
// than least, or is not a listing; a request for this directory alone then shows why.
// Take waits while the listing may still come. Once it took one, it has none for that directory:
// who cannot use a part asks for the whole.
func (s *Store) Take(ctx context.Context, path string, least mtree.Stamp) (d source.Dir, ok bool) {
	if least == source.Fresh {
		return d, false
	}
	text, d, parts, ok := s.take(ctx, path)
	if !ok {
		return d, false
	}
	parse := mtree.ParseListing
	if parts {
		parse = mtree.ParseAny
	}
	l, err := parse(text)
	if err != nil || l.Stamp.Before(least) {
		return d, false
	}
	d.Listing, d.Path = l, ""
	return d, true
}

// take returns the text of a listing, and what its answer says of it.
func (s *Store) take(ctx context.Context, path string) (text []byte, of source.Dir, parts, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for asked := false; ; {
		if text, ok = s.texts[path]; ok {
			s.drop(path)
			s.wake()
			return text, s.of, s.parts, true
		}
		if s.stream == nil || mtree.TreeOrder(s.at, path) >= 0 || ctx.Err() != nil {
			return nil, of, false, false
		}
		if !asked {
			asked = true
			if s.awaited == nil {
				s.awaited = map[string]bool{}
			}
			s.awaited[path] = true
			defer delete(s.awaited, path)
			s.wake()
		}
		s.wait(ctx)
	}
}
