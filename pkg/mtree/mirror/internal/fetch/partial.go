package fetch

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// leastPartial is the least size in bytes of a file whose first part is kept when a
// transfer breaks off, to be continued, even after a restart of mirror; not after one of the
// machine, for a power cut may have taken bytes and left the size. The part is kept under
// path, size, mtime and ctime, and the rest is asked for with If-Match, so both parts are
// of one version of one file.
const leastPartial = 8 << 20

// partKey names the version of a file; "" if the source does not tell versions apart,
// or the file is too small.
func partKey(dir string, e *mtree.Entry) string {
	if e.Size < leastPartial || e.Has&mtree.HasCTime == 0 {
		return ""
	}
	return mtree.JoinPath(dir, e.Name) + "\x00" + wire.FileTagOf(e).String()
}

// offerPartial lets the source ask how much of a large file is kept.
func (env *Env) offerPartial(dir string, f *source.Wanted) {
	key := partKey(dir, f.Entry)
	if key == "" {
		return
	}
	f.Kept = func() int64 { return env.Copy.Replica.Staging.PartSize(key) }
}

// tempFile opens the file to write to. For a large file that is as it was listed, this is
// the part that was kept; it is kept again if the transfer breaks off.
func (env *Env) tempFile(dir *disk.Dir, path string, c mtree.Change, want *source.Wanted, f *source.File, mode uint32) (d *disk.TempFile, kept bool, err error) {
	if want.Kept == nil || f.Got.Hot || !source.SameFile(want.Entry, &f.Got) || f.Got.Has&mtree.HasCTime == 0 {
		d, err = env.Copy.Replica.Staging.Create(dir, c.Want.Name, c.Have == nil, mode)
		return d, false, err
	}
	d, size, err := env.Copy.Replica.Staging.Continue(partKey(path, want.Entry), c.Have == nil)
	if err != nil {
		return nil, false, err
	}
	d.Inherit(dir)
	if f.From == 0 {
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
