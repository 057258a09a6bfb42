package serve

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// sendBlocks sends the SHA-256 of each block of these files. A file that is missing,
// unreadable, not regular or has more than wire.MostBlockSums blocks is left out. If one
// changes meanwhile, its last line says so; unless &hot asks for all of it, it ends there.
// As many files are hashed at once as there are processors, with those of ?sums together.
func (h *Handler) sendBlocks(w http.ResponseWriter, r *http.Request, q *dirRequest, all []wire.BlocksOf) {
	b := &blocksAnswer{h: h, w: w, ctx: r.Context(), out: h.newSink(w, h.bulkReply(q, wire.BlocksType)), hot: q.has("hot"), flushed: time.Now()}
	b.out.place = q.place
	for _, of := range all {
		b.file(of, mtree.JoinPath(q.path, of.Path))
	}
	b.must(b.out.end(b.body))
}

// blocksAnswer is an answer to ?blocks under way.
type blocksAnswer struct {
	h       *Handler
	w       http.ResponseWriter
	ctx     context.Context
	out     *sink
	hot     bool      // files are hashed to their ends
	slot    bool      // it has a slot in hashing
	body    []byte    // not sent yet
	flushed time.Time // when something was sent last
}

// must cuts the answer after an error: what was sent so far must not look whole.
func (b *blocksAnswer) must(err error) {
	if err := errors.Join(err, b.ctx.Err()); err != nil {
		b.h.abort(err)
	}
}

// file answers for one file, read from full.
func (b *blocksAnswer) file(of wire.BlocksOf, full string) {
	if b.h.tree.Hides(full, false) { // guard: TestWhatHasNoBlocks
		return
	}
	b.enter()
	defer b.leave()
	f, info, err := b.h.tree.OpenRegular(full)
	if err != nil {
		return
	}
	defer f.Close()
	if wire.CountBlocks(info.Size, of.Block) > wire.MostBlockSums { // guard: TestWhatHasNoBlocks
		return
	}
	b.body = wire.AppendBlocksHead(b.body, of, tagOf(info))
	key := blocksKey{info.Node, of.Block}
	sums := b.h.blocks.get(key, tagOf(info))
	if sums != nil {
		b.leave()
		for _, sum := range sums {
			b.add(sum)
		}
		b.body = wire.AppendBlocksEnd(b.body, false)
		return
	}
	sums, changed := b.hash(f, of.Block)
	if sums != nil && !changed {
		b.h.blocks.put(key, tagOf(info), sums)
	}
	b.body = wire.AppendBlocksEnd(b.body, changed)
}

// enter waits for a slot in hashing; leave gives it back, if there is one.
func (b *blocksAnswer) enter() {
	b.must(b.h.enterHashing(b.ctx, b.w))
	b.slot = true
}

func (b *blocksAnswer) leave() {
	if b.slot {
		b.slot = false
		<-b.h.hashing
	}
}

// add adds one sum to the answer, and sends what was gathered if it is much, or has waited
// for long. A client that does not read keeps no slot meanwhile.
func (b *blocksAnswer) add(sum wire.BlockSum) {
	b.body = wire.AppendBlockSum(b.body, sum)
	if len(b.body) < sinkPiece && time.Since(b.flushed) < sumFlush {
		return
	}
	slot := b.slot
	b.leave() // guard: TestASlowReaderOfBlocksKeepsNoSlot
	b.must(errors.Join(b.out.flush(b.body), http.NewResponseController(b.w).Flush()))
	if b.body, b.flushed = b.body[:0], time.Now(); slot {
		b.enter()
	}
}

// compareEvery is after how many bytes it is looked whether the file is still the one that
// was opened.
const compareEvery = 16 << 20

// hash adds the sums of all blocks of an open file, and reports whether it changed
// meanwhile. It returns the sums, too, if they are worth keeping: those of a version that
// changed long enough ago for a later change to have another ctime.
func (b *blocksAnswer) hash(f *disk.Regular, block int64) (sums []wire.BlockSum, changed bool) {
	h := b.h
	h.cfg.Stats.Sums.Add(1)
	now := h.now()
	keep := wire.CountBlocks(f.Size, block) <= mostBlocksKept && f.CTime.Add(wire.ClockLag).Before(now) // guard (f.CTime.Add(wire.ClockLag).Before(now) -> true): TestBlocksOfEachVersion
	f.AwaitWrite(now)
	var extended time.Time
	for at := int64(0); at < f.Size; at += block {
		b.must(nil)
		sum, err := b.one(f, at, min(block, f.Size-at))
		if err != nil {
			return nil, true
		}
		if b.add(sum); keep {
			sums = append(sums, sum)
		}
		if !b.hot && at%compareEvery == 0 && unchanged(f) != nil { // guard: TestBlocksOfAFileThatChanges
			return nil, true
		}
		if time.Since(extended) > extendEvery {
			extended = time.Now()
			extend(b.w)
		}
	}
	return sums, unchanged(f) != nil // guard (unchanged(f) != nil -> false): TestBlocksOfAFileThatChanges
}

// one hashes one block.
func (b *blocksAnswer) one(f *disk.Regular, at, length int64) (sum wire.BlockSum, err error) {
	buf := hashBuffers.Get().(*[hashBuffer]byte)
	defer hashBuffers.Put(buf)
	hash := sha256.New()
	for length > 0 {
		piece := buf[:min(int64(len(buf)), length)]
		if _, err := f.ReadAt(piece, at); err != nil {
			return sum, err
		}
		hash.Write(piece)
		at += int64(len(piece))
		length -= int64(len(piece))
	}
	hash.Sum(sum[:0])
	return sum, nil
}
