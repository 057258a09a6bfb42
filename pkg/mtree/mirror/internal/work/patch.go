package work

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// A large file that differs in places from the copy's is put together of both: equal blocks are
// copied from the copy's file, which the kernel does, or the file system shares them; the others
// come from the source. It is written aside and gets its name when it is whole, as any file.

// oldFile is the copy's version of a file that is fetched. Its file is opened when the
// source first asks for sums, and closed after the fetch.
type oldFile struct {
	env   *Env
	path  string
	size  int64         // bytes
	known bool          // sums that were kept may be used
	file  *disk.Regular // nil: not open
}

// offerOld lets the source send only what differs from the file that the copy has; it returns nil if
// there is none.
func (f *fetching) offerOld(c mtree.Change, w *source.Wanted) *oldFile {
	if c.Have == nil || c.Have.Kind != mtree.File || c.Have.Size == 0 || c.Want.Size < wire.LeastPatched {
		return nil
	}
	doubted := c.What&mtree.Content == 0                                        // size and time are equal, and the bytes may not be
	o := &oldFile{env: f.env, path: w.Path, size: c.Have.Size, known: !doubted} // guard (!doubted -> true): TestKeptSumsOfDoubtedBytes
	w.Old = &source.Old{Size: o.size, Sums: o.sums, Read: o.read, Taken: f.arriving}
	if o.known {
		w.Old.Block = f.env.OldSums.block(o.path)
	}
	return o
}

// arriving limits and counts what comes over the network.
func (f *fetching) arriving(in io.Reader) io.Reader {
	if f.env.Limiter != nil {
		in = &limitedReader{f.ctx, in, f.env.Limiter}
	}
	if f.env.Arriving != nil {
		in = &countedReader{in, f.env.Arriving}
	}
	return in
}

// open opens the file of the copy, unless it is open.
func (o *oldFile) open() error {
	if o.file != nil {
		return nil
	}
	dir, err := o.env.openCopy(mtree.ParentPath(o.path))
	if err != nil {
		return err
	}
	defer dir.Close()
	f, info, err := dir.OpenFilePath(mtree.BaseName(o.path), false)
	if err != nil {
		return err
	}
	if info.Size != o.size {
		_ = f.Close()
		return errOldChanged
	}
	o.file = f
	return nil
}

// errOldChanged says that somebody else wrote to the file of the copy.
var errOldChanged = errors.New("the copy's file changed while it was read")

// close closes the file.
func (o *oldFile) close() {
	if o != nil && o.file != nil {
		_ = o.file.Close()
		o.file = nil
	}
}

// sums returns the sums of the blocks of the file: those that were kept, or it reads the file.
func (o *oldFile) sums(ctx context.Context, block int64) ([]source.Digest, error) {
	if err := o.open(); err != nil {
		return nil, err
	}
	if o.known {
		if sums := o.env.OldSums.get(o.path, &o.file.Info, block); sums != nil {
			return sums, nil
		}
	}
	o.file.AwaitWrite(mtree.FromTime(time.Now()))
	sums, err := source.HashBlocks(ctx, o.file, o.size, block)
	if err == nil {
		err = o.unchanged()
	}
	return sums, err
}

// read reads the file.
func (o *oldFile) read(p []byte, offset int64) (int, error) {
	if err := o.open(); err != nil {
		return 0, err
	}
	return o.file.ReadAt(p, offset)
}

// unchanged returns an error unless the file is the version that was opened.
func (o *oldFile) unchanged() error {
	now, err := o.file.Stat()
	if err == nil && !sameVersion(&now, &o.file.Info) {
		err = errOldChanged
	}
	return err
}

// sameVersion reports whether two looks show one version of one file.
func sameVersion(a, b *disk.Info) bool {
	return a.Node == b.Node && a.Size == b.Size && a.MTime == b.MTime && a.CTime == b.CTime
}

// fill writes what a source sends of a file to temp. It returns how many bytes it wrote, and how
// many of the file came over the network.
func (env *Env) fill(ctx context.Context, temp *disk.TempFile, f *source.File, old *oldFile) (size, came int64, err error) {
	if f.Patch != nil {
		return env.assemble(ctx, temp, f.Patch, old)
	}
	size, err = copyBody(temp, f.Body)
	return size, f.From + size, err
}

// assemble writes a file to temp, piece by piece. It returns how many bytes it wrote, and how
// many of these came over the network.
func (env *Env) assemble(ctx context.Context, temp *disk.TempFile, patch *source.Patch, old *oldFile) (size, came int64, err error) {
	for piece, err := range patch.Pieces {
		switch {
		case err != nil:
			return size, came, err
		case piece.Bytes != nil:
			if _, err = temp.Write(piece.Bytes); err == nil {
				came += piece.Came
				size += int64(len(piece.Bytes))
			}
		default:
			err = env.copyOld(ctx, temp, old, piece.Offset, piece.Length)
			size += piece.Length
		}
		if ctx.Err() != nil {
			return size, came, ctx.Err()
		}
		if err != nil {
			return size, came, replica.Local(err)
		}
	}
	return size, came, replica.Local(old.unchanged()) // guard (old.unchanged() -> nil): TestACopysFileThatChangesMeanwhile
}

// copyStep is how many bytes are copied at once, between looks at the context.
const copyStep = 64 << 20

// copyOld appends bytes of the copy's file.
func (env *Env) copyOld(ctx context.Context, temp *disk.TempFile, old *oldFile, offset, length int64) error {
	for length > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(length, copyStep)
		if err := temp.CopyFrom(old.file, offset, n); err != nil {
			return err
		}
		if env.Arriving != nil {
			env.Arriving.Add(n)
		}
		offset += n
		length -= n
	}
	return nil
}

// OldSums remembers the sums of the blocks of files that were put together: the next time they
// need not be read. It is known by its times that a file is still the one that was written. The zero
// value is empty, and so is nil. Several goroutines may use it.
type OldSums struct {
	mu    sync.Mutex
	files map[string]oldSums
	held  int // sums of all
}

// oldSums is what is known of one file.
type oldSums struct {
	info  disk.Info
	block int64
	sums  []source.Digest
}

// mostOldSums bounds the memory, to 8 MiB and the paths. With more everything is forgotten, which
// costs reading files and nothing else.
const mostOldSums = 256 << 10

// block returns the size of the blocks that are known of a file; 0: none are.
func (s *OldSums) block(path string) int64 {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[path].block
}

// get returns the sums of the blocks of a file that looks so; nil if they are not known.
func (s *OldSums) get(path string, info *disk.Info, block int64) []source.Digest {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.files[path]
	if known.block != block || !sameVersion(&known.info, info) { // guard (without !sameVersion): TestKeptSumsOfAnotherVersion
		return nil
	}
	return known.sums
}

// put remembers the sums of a file; nil forgets it.
func (s *OldSums) put(path string, info disk.Info, block int64, sums []source.Digest) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= len(s.files[path].sums)
	delete(s.files, path)
	if len(sums) == 0 || len(sums) > mostOldSums {
		return
	}
	if s.files == nil || s.held+len(sums) > mostOldSums { // guard (without s.held+len(sums)): TestOldSumsAreBounded
		s.files, s.held = map[string]oldSums{}, 0
	}
	s.files[path] = oldSums{info, block, sums}
	s.held += len(sums)
}

// placePatched gives a file its name, and remembers the sums of its blocks. If it is another file by
// then, or was written to, nothing is remembered.
func (env *Env) placePatched(dir *disk.Dir, temp *disk.TempFile, w *source.Wanted, patch *source.Patch) error {
	written, err := temp.Stat()
	if err != nil {
		return err
	}
	if err := temp.Place(dir, w.Name); err != nil {
		return err
	}
	if now, err := dir.Stat(w.Name); err != nil || !env.OldSums.keep(w.Path, &written, &now, patch) {
		env.OldSums.put(w.Path, disk.Info{}, 0, nil)
	}
	return nil
}

// keep remembers the sums of a file that was written, and looks like now since it has its name. It
// returns false if it is another file, or was written to again.
func (s *OldSums) keep(path string, written, now *disk.Info, patch *source.Patch) bool {
	if now.Node != written.Node || now.Size != written.Size || now.MTime != written.MTime { // guard: TestKeptSumsOfAnotherFile
		return false
	}
	s.put(path, *now, patch.Block, patch.Sums)
	return true
}
