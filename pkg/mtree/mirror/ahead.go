package mirror

import (
	"bytes"
	"context"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Bounds of what comes ahead. What is beyond them is asked for by itself, at
// five times the cost.
const (
	maxAhead  = 64 << 20 // bytes of an answer to ?since that are read
	keptAhead = 4 << 20  // bytes of listings that are kept
)

// ahead is listings of directories that come with an answer to ?since while a
// pass goes down the tree. They come in the order in which the pass asks for
// them; who asks for one that may still come waits for it. They are kept as
// text: that takes half the memory, and those who ask parse at the same time.
// The zero value is empty.
type ahead struct {
	mu      sync.Mutex
	texts   map[string][]byte
	order   []string // of those that came, the first one first; some may be taken
	bytes   int
	at      string          // where the answer has come to: what goes before is here, or will not come
	stream  *stream         // the answer that is being read; nil: none
	tree    source.Tree     // of the answer that was read last
	awaited map[string]bool // who asks for these waits
	moved   chan struct{}   // closed with the next change of any of this
}

// stream is an answer being read by a goroutine of its own.
type stream struct {
	stop  context.CancelFunc
	ended chan struct{}
	tree  source.Tree
}

// open notes that an answer is being read.
func (h *ahead) open(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stream, h.tree = s, s.tree
}

// close notes the end of the answer: nothing more comes.
func (h *ahead) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stream = nil
	h.tell()
}

// clear ends the answer that is being read, and forgets what came.
func (h *ahead) clear() {
	h.mu.Lock()
	s := h.stream
	h.mu.Unlock()
	if s != nil {
		s.stop()
		<-s.ended
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.texts, h.order, h.bytes, h.at = nil, nil, 0, ""
}

// tell wakes all who wait for a change. h.mu is held.
func (h *ahead) tell() {
	if h.moved != nil {
		close(h.moved)
		h.moved = nil
	}
}

// wait waits for a change. h.mu is held, but not meanwhile.
func (h *ahead) wait(ctx context.Context) {
	if h.moved == nil {
		h.moved = make(chan struct{})
	}
	moved := h.moved
	h.mu.Unlock()
	defer h.mu.Lock()
	select {
	case <-moved:
	case <-ctx.Done():
	}
}

// keep keeps a listing that came. Where there is no room it waits until some
// was taken; while somebody waits for a listing that comes later it does not, and
// forgets what came first: the pass has gone by it.
func (h *ahead) keep(ctx context.Context, path string, text []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.bytes+len(text) > keptAhead && len(h.awaited) == 0 && h.bytes > 0 && ctx.Err() == nil {
		h.wait(ctx)
	}
	for h.bytes+len(text) > keptAhead && len(h.order) > 0 {
		h.drop(h.order[0])
		h.order = h.order[1:]
	}
	if h.texts == nil {
		h.texts = map[string][]byte{}
	}
	h.drop(path) // if it comes twice
	h.at, h.texts[path], h.order = path, bytes.Clone(text), append(h.order, path)
	h.bytes += len(text)
	for other := range h.awaited {
		if mtree.TreeOrder(path, other) >= 0 {
			delete(h.awaited, other) // it is here, or will not come: that is no reason to hurry
		}
	}
	h.tell()
}

func (h *ahead) drop(path string) {
	h.bytes -= len(h.texts[path])
	delete(h.texts, path)
}

// take returns a listing that came ahead, once, unless it is older than what is
// asked for, or no listing: then the answer to a question of its own says why.
func (h *ahead) take(ctx context.Context, path string, least mtree.Stamp) (l source.Dir, ok bool) {
	if least == source.Fresh {
		return l, false
	}
	text, ok := h.takeText(ctx, path)
	if !ok {
		return l, false
	}
	var err error
	l.Listing, err = mtree.ParseListing(text)
	if err != nil || l.Stamp.Before(least) {
		return source.Dir{}, false
	}
	l.Path, l.Tree = "", h.tree
	return l, true
}

func (h *ahead) takeText(ctx context.Context, path string) (text []byte, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for asked := false; ; {
		if text, ok = h.texts[path]; ok {
			h.drop(path)
			h.tell()
			return text, true
		}
		if h.stream == nil || mtree.TreeOrder(h.at, path) >= 0 || ctx.Err() != nil {
			return nil, false
		}
		if !asked {
			asked = true
			if h.awaited == nil {
				h.awaited = map[string]bool{}
			}
			h.awaited[path] = true
			defer delete(h.awaited, path)
			h.tell()
		}
		h.wait(ctx)
	}
}
