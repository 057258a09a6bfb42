package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"tidemark/pkg/mtree"
)

// What listings may take in memory, in bytes, of all jobs together: each may read a
// small one, and one of them a large one.
const (
	smallRoom        = 8 << 20   // some 60,000 entries
	defaultLargeRoom = 320 << 20 // some 2,500,000
)

// largeTurn is held by the one who reads a large listing.
type largeTurn struct {
	held chan struct{}
	most int // bytes that such a listing may take
}

func newLargeTurn(most int) largeTurn { return largeTurn{make(chan struct{}, 1), most} }

// errLarge says that a listing is large and somebody else reads a large one.
var errLarge = errors.New("another large listing is being read")

// room is what one listing takes.
type room struct {
	turn  largeTurn
	large bool // the turn is ours
	taken int
}

// take takes bytes more, or says why not.
func (r *room) take(bytes int) error {
	if r.taken += bytes; r.taken > r.turn.most {
		return fmt.Errorf("%w: it takes more than %d MiB of memory", mtree.ErrListing, r.turn.most>>20)
	}
	if r.taken <= smallRoom || r.large {
		return nil
	}
	select {
	case r.turn.held <- struct{}{}:
		r.large = true
		return nil
	default:
		return errLarge
	}
}

// roomReader takes room for what it reads.
type roomReader struct {
	in   io.Reader
	room *room
}

func (r *roomReader) Read(buf []byte) (int, error) {
	n, err := r.in.Read(buf)
	if full := r.room.take(n); full != nil {
		return n, full
	}
	return n, err
}

func (r *room) leave() {
	if r.large {
		<-r.turn.held
	}
}

// inTurn calls read, and where that finds out that it needs the turn which another
// has, calls it anew when it has the turn: who only waited would keep an answer from
// flowing, and be let go by its server.
func (t largeTurn) inTurn(ctx context.Context, read func(*room) error) error {
	r := room{turn: t}
	err := read(&r)
	r.leave()
	if !errors.Is(err, errLarge) {
		return err
	}
	select {
	case t.held <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	r = room{turn: t, large: true}
	defer r.leave()
	return read(&r)
}
