package remote

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// A large file that changed is made of the version that the caller has and of the blocks that
// differ. Each block that comes is compared with its sum, and the sums are of one version: serve
// looks at the file before and after it hashes it. So the bytes are those of that version even
// if the file has changed by the time that they are asked for, as a log has that grows.

// patch asks for the sums of the blocks of a file, and returns the file as it will be put together.
// An error that is source.ErrMoved says that the file changed while it was hashed; any other
// that the whole file is to be fetched.
func (s *Source) patch(ctx context.Context, w *source.Wanted, d source.Demand) (f source.Opened, err error) {
	block := w.Old.Block
	if coarse := blockFor(w.Size, fewBlocks); block == 0 && w.Size > w.Old.Size {
		block = coarse // most files that grow do so at their ends
	} else if block == 0 {
		block = blockFor(w.Size, manyBlocks)
	}
	p, err := s.compare(ctx, w, d, block)
	if fine := blockFor(w.Size, manyBlocks); err == nil && fine < block && !p.onlyGrew() {
		p, err = s.compare(ctx, w, d, fine)
	}
	switch {
	case err == nil:
		return p.opened(d), nil
	case errors.Is(err, source.ErrMoved), errors.Is(err, errNoBlocks):
	default:
		w.Whole = err
	}
	return f, err
}

// patching is a file that is being put together.
type patching struct {
	s    *Source
	ctx  context.Context
	w    *source.Wanted
	old  *source.Old
	new  wire.Blocks
	same []bool // by block: Old has it
	got  mtree.Entry
	from int64 // the caller has the bytes before that
	err  error
	last bool // no attempt with Old follows
}

// compare asks for the sums of blocks, and compares them with those of the caller.
func (s *Source) compare(ctx context.Context, w *source.Wanted, d source.Demand, block int64) (*patching, error) {
	b, err := s.blocksOf(ctx, w.Path, block, d == source.AsIs)
	if err != nil {
		return nil, err
	}
	switch {
	case b.Changed && d != source.AsIs: // guard: TestBlocksThatChanged
		return nil, source.ErrMoved
	case int64(len(b.Sums)) != wire.CountBlocks(b.Tag.Size, block): // guard: TestBlocksThatChanged
		return nil, errNoBlocks // it has shrunk
	}
	sums, err := w.Old.Sums(ctx, block)
	if err != nil {
		// It is not wrapped: an error of our disk would be taken for one of the network.
		return nil, errors.New("the copy's version of it cannot be read: " + err.Error()) // guard (returns nil, err): TestACopysFileThatCannotBeRead
	}
	if w.Has&mtree.HasCTime != 0 && b.Tag.CTime.Before(w.CTime) { // guard: TestBlocksOfAnEarlierVersion
		return nil, errOldBlocks
	}
	p := &patching{s: s, ctx: ctx, w: w, old: w.Old, new: b, same: make([]bool, len(b.Sums)), got: *w.Entry}
	p.got.Size, p.got.MTime, p.got.CTime = b.Tag.Size, b.Tag.MTime, b.Tag.CTime
	p.got.Has |= mtree.HasCTime
	for i := range p.same {
		at, length := p.block(i)
		p.same[i] = i < len(sums) && sums[i] == b.Sums[i] && at+length <= w.Old.Size // guard (without at+length <= w.Old.Size): TestBlocksThatLie
	}
	p.from = p.kept()
	return p, nil
}

// errOldBlocks says that an answer is of a version before the one that was listed: something keeps answers.
var errOldBlocks = errors.New("the sums of blocks are those of an earlier version")

// kept returns how many bytes of the file the caller has from an answer that broke off: if it is
// the version that was listed.
func (p *patching) kept() int64 {
	if p.w.Kept == nil || p.new.Changed || p.w.Has&mtree.HasCTime == 0 ||
		p.new.Tag != wire.FileTagOf(p.w.Entry) { // guard: TestAPartOfAnotherVersionIsNotContinued
		return 0
	}
	if kept := p.w.Kept(); kept < p.new.Tag.Size {
		return kept
	}
	return 0
}

// block returns where a block is in the file.
func (p *patching) block(i int) (at, length int64) {
	at = int64(i) * p.new.Block
	return at, min(p.new.Block, p.new.Tag.Size-at)
}

// grown returns the number of the block that the end of Old is in, if the file may go on there;
// -1: it does not.
func (p *patching) grown() int {
	i := p.old.Size / p.new.Block
	if p.old.Size%p.new.Block == 0 || i >= int64(len(p.same)) || p.same[i] || p.new.Tag.Size <= p.old.Size {
		return -1
	}
	return int(i)
}

// onlyGrew reports whether all whole blocks of Old are those of the file.
func (p *patching) onlyGrew() bool {
	for i := range min(len(p.same), int(p.old.Size/p.new.Block)) {
		if !p.same[i] {
			return false
		}
	}
	return p.new.Tag.Size >= p.old.Size
}

// opened returns the file.
func (p *patching) opened(d source.Demand) source.Opened {
	p.got.Hot = p.new.Changed
	p.last = d == source.AsIs
	patch := &source.Patch{Block: p.new.Block, Pieces: p.pieces}
	if !p.new.Changed && (p.new.Block == blockFor(p.got.Size, fewBlocks) || !p.onlyGrew()) { // else next time fewer will do
		patch.Sums = p.new.Sums
	}
	return source.Opened{File: source.File{Got: p.got, From: p.from, Patch: patch}, Failed: &p.err, Close: func() {}, Proved: !p.new.Changed}
}

// pieces yields the file from p.from on.
func (p *patching) pieces(yield func(source.Piece, error) bool) {
	r := p.ranges()
	defer r.close()
	buf := make([]byte, p.new.Block)
	for i := int(p.from / p.new.Block); i < len(p.same); {
		piece, next, err := p.piece(r, i, buf)
		if err != nil {
			p.fail(err)
			yield(source.Piece{}, p.err)
			return
		}
		if !yield(piece, nil) {
			return
		}
		i = next
	}
}

// mostMisses is how often a file is put together anew whose bytes do not have their sums.
const mostMisses = 2

// fail notes an error. If bytes came that do not have their sums, or the file has shrunk, it may
// have changed: that is tried once more. Then, and after any other error, the whole file is fetched.
func (p *patching) fail(err error) {
	var status *StatusError
	shrunk := errors.As(err, &status) && status.Status == http.StatusRequestedRangeNotSatisfiable
	switch p.old.Missed++; {
	case p.ctx.Err() != nil:
		p.err = err
	case (shrunk || errors.Is(err, errOtherBytes)) && p.old.Missed < mostMisses && !p.last:
		p.err = fmt.Errorf("%w: %w", source.ErrMoved, err)
	default:
		p.w.Whole, p.w.Old = err, nil
		p.err = fmt.Errorf("%w: %w: %w", source.ErrMoved, source.ErrChanging, err)
	}
}

// errOtherBytes says that a block does not have its sum.
var errOtherBytes = errors.New("a block has another sum than ?blocks said")

// ranges returns a reader of all bytes that are needed of the source.
func (p *patching) ranges() *ranges {
	r := &ranges{s: p.s, ctx: p.ctx, w: p.w, tag: p.new.Tag}
	grown := p.grown()
	for i := int(p.from / p.new.Block); i < len(p.same); i++ {
		if p.same[i] {
			continue
		}
		at, length := p.block(i)
		if i == grown {
			length -= p.old.Size - at
			at = p.old.Size
		}
		r.add(at, length)
	}
	return r
}

// piece returns the piece that begins with block i, or within it where the caller's bytes end, and
// the number of the block after it.
func (p *patching) piece(r *ranges, i int, buf []byte) (source.Piece, int, error) {
	at, length := p.block(i)
	if !p.same[i] {
		came, err := p.fetch(r, i, buf[:length])
		return source.Piece{Bytes: buf[max(0, p.from-at):length], Came: came}, i + 1, err
	}
	end := at
	for ; i < len(p.same) && p.same[i]; i++ {
		_, length = p.block(i)
		end += length
	}
	at = max(at, p.from)
	return source.Piece{Offset: at, Length: end - at}, i, nil
}

// fetch reads a block that differs into buf, and compares it with its sum. It returns how many bytes
// came.
func (p *patching) fetch(r *ranges, i int, buf []byte) (came int64, err error) {
	at, _ := p.block(i)
	kept := int64(0)
	if i == p.grown() {
		kept = p.old.Size - at
		if _, err := p.old.Read(buf[:kept], at); err != nil {
			return 0, err
		}
	}
	came = int64(len(buf)) - kept
	err = r.readFull(buf[kept:])
	if err == nil && kept > 0 && sha256.Sum256(buf) != p.new.Sums[i] { // it has changed before its end, too
		one := &ranges{s: p.s, ctx: p.ctx, w: p.w, tag: r.tag, loose: r.loose}
		defer one.close()
		one.add(at, kept)
		came += kept
		err = one.readFull(buf[:kept])
	}
	if err != nil {
		return came, err
	}
	if sha256.Sum256(buf) != p.new.Sums[i] { // guard: TestBlocksThatLie
		return came, fmt.Errorf("%w: %s, %d bytes at %d", errOtherBytes, mtree.QuotePath(p.w.Path), len(buf), at)
	}
	return came, nil
}
