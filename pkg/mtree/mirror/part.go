package mirror

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// partSize is from which size on a file that arrived in part is kept, to be
// continued by a range after a break or a restart. It is known by path, size,
// mtime and ctime, and the range is asked for with If-Match, so what is put
// together is one version of one file.
const partSize = 8 << 20

// partKey names the version of a file; "" if that cannot be told, or it is not
// worth it.
func partKey(dir string, e *mtree.Entry) string {
	if e.Size < partSize || e.Has&mtree.HasCTime == 0 {
		return ""
	}
	return mtree.JoinPath(dir, e.Name) + "\x00" + wire.FileTagOf(e).String()
}

// offerPart lets the source ask how much of a large file is there.
func (w *work) offerPart(dir string, f *source.Wanted) {
	key := partKey(dir, f.Entry)
	if key == "" {
		return
	}
	f.Kept = func() int64 { return w.dest.Staging.PartSize(key) }
}

// draft opens the file to write to: for a large one as it was listed, to the
// ctime, the part of it that is there, which is kept if it breaks off again.
func (w *work) tempFile(dir *disk.Dir, path string, c mtree.Change, want *source.Wanted, f *source.File, mode uint32) (d *disk.TempFile, kept bool, err error) {
	if want.Kept == nil || f.Got.Hot || !source.SameFile(want.Entry, &f.Got) || f.Got.Has&mtree.HasCTime == 0 {
		d, err = w.dest.Staging.Create(dir, c.Want.Name, c.Have == nil, mode)
		return d, false, err
	}
	d, size, err := w.dest.Staging.Continue(partKey(path, want.Entry))
	if err != nil {
		return nil, false, err
	}
	d.Inherit(dir)
	if f.From == 0 && size > 0 {
		err = d.Rewind()
	} else if f.From != size {
		err = errors.New("a partial file changed its size")
	}
	if err != nil {
		d.Discard()
		return nil, false, err
	}
	return d, true, nil
}
