package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"tidemark/pkg/mtree"
)

// How much memory listings may take, in bytes: each goroutine may read a small one at any
// time, and one of them a large one.
const (
	smallRoom        = 8 << 20   // some 60,000 entries
	defaultLargeRoom = 320 << 20 // some 2,500,000 entries
)

// largeTurn is held by the goroutine that reads a large listing.
type largeTurn struct {
	held chan struct{}
	most int // bytes that a large listing may take
}

func newLargeTurn(most int) largeTurn { return largeTurn{make(chan struct{}, 1), most} }

// errLarge says that a listing is large while another goroutine reads a large one.
var errLarge = errors.New("another large listing is being read")

// room is the memory that one listing takes.
type room struct {
	turn  largeTurn
	large bool // the turn is held for it
	taken int  // bytes
}

// take takes more memory, or says why there is none.
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

// roomReader takes memory for what it reads.
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

// leave gives the turn back, if r holds it.
func (r *room) leave() {
	if r.large {
		<-r.turn.held
	}
}

// inTurn calls read. If read needs the turn while another goroutine holds it, inTurn
// waits for the turn and calls read anew: if read itself waited, its answer would stop
// flowing, and the server would end it.
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
