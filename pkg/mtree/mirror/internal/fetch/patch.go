package fetch

import (
	"context"
	"errors"
	"io"
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

// mostUnlike is how many times as large one of the two versions may be.
const mostUnlike = 64

// offerOld lets the source send only what differs from the file that the copy has; it returns nil if
// there is none. What comes is read through taken.
func (env *Env) offerOld(c mtree.Change, w *source.Wanted, taken func(io.Reader) io.Reader) *oldFile {
	if c.Have == nil || c.Have.Kind != mtree.File || c.Want.Size < wire.LeastPatched {
		return nil
	}
	if c.Have.Size > mostUnlike*c.Want.Size || c.Want.Size > mostUnlike*c.Have.Size { // guard: TestSizesThatAreFarApart
		return nil // to read the larger one costs more than what it may save
	}
	if env.Copy.Replica.IsDoubtful(c.Have.MTime) { // guard: TestADoubtfulFileIsNotPatched
		return nil
	}
	doubted := c.What&mtree.Content == 0                                      // size and time are equal, and the bytes may not be
	o := &oldFile{env: env, path: w.Path, size: c.Have.Size, known: !doubted} // guard (!doubted -> true): TestKeptSumsOfDoubtedBytes
	w.Old = &source.Old{Size: o.size, Sums: o.sums, Read: o.read, Taken: taken}
	if o.known {
		w.Old.Block = env.OldSums.block(o.path)
	}
	return o
}

// open opens the file of the copy, unless it is open.
func (o *oldFile) open() error {
	if o.file != nil {
		return nil
	}
	dir, err := o.env.Copy.Replica.Enter(mtree.ParentPath(o.path))
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
	if is := &o.file.Info; err == nil && !sameVersion(&now, is) {
		// Another name of it came or went: that moves the ctime, too.
		if now.Links == is.Links || now.Size != is.Size || now.MTime != is.MTime { // guard (always): TestANameOfAFileThatIsPatched
			err = errOldChanged
		}
	}
	return err
}

// fill writes what a source sends of a file to temp. It returns how many bytes it wrote, and how
// many of the file came over the network.
func (env *Env) fill(ctx context.Context, temp *disk.TempFile, f *source.File, old *oldFile) (size, came int64, err error) {
	if f.Patch != nil {
		return env.assemble(ctx, temp, f.Patch, old)
	}
	size, err = env.Copy.copyBody(temp, f.Body)
	return size, f.From + size, err
}

// assemble writes a file to temp, piece by piece. It returns how many bytes it wrote, and how
// many of these came over the network.
func (env *Env) assemble(ctx context.Context, temp *disk.TempFile, patch *source.Patch, old *oldFile) (size, came int64, err error) {
	out, end := env.Copy.writer(temp)
	for piece, err := range patch.Pieces {
		switch {
		case err != nil:
			return size, came, err
		case piece.Bytes != nil:
			if _, err = out.Write(piece.Bytes); err == nil {
				came += piece.Came
				size += int64(len(piece.Bytes))
			}
		default:
			err = end() // guard (end() -> nil): TestAPatchWithHoles
			if err == nil {
				err = env.copyOld(ctx, temp, old, piece.Offset, piece.Length)
				if err != nil {
					env.OldSums.put(old.path, disk.Info{}, 0, nil) // guard: TestAFileIsPutTogether
				}
			}
			if err == nil {
				err = old.unchanged() // guard: TestAPartOfAPatchThatIsNotTrue
			}
			size += piece.Length
		}
		if ctx.Err() != nil {
			return size, came, ctx.Err()
		}
		if err != nil {
			return size, came, replica.Local(err)
		}
	}
	return size, came, replica.Local(errors.Join(end(), old.unchanged())) // guard (old.unchanged() -> nil): TestACopysFileThatChangesMeanwhile
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

// placePatched gives a file its name, and remembers the sums of its blocks. If it is another file by
// then, or was written to, nothing is remembered.
func (env *Env) placePatched(dir *disk.Dir, temp *disk.TempFile, w *source.Wanted, patch *source.Patch) error {
	written, err := temp.Stat()
	if err != nil {
		return err
	}
	if err := env.Copy.Replica.Place(temp, dir, w.Path); err != nil {
		return err
	}
	now, _ := dir.Stat(w.Name) // after an error it is no file
	if !env.OldSums.keep(w.Path, &written, &now, patch) {
		env.OldSums.put(w.Path, disk.Info{}, 0, nil)
	}
	return nil
}
