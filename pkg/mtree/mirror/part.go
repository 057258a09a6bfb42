package mirror

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// partSize is from which size on a file that arrived in part is kept, to be
// continued by a range after a break or a restart. It is known by path, size,
// mtime and ctime, and the range is asked for with If-Match, so what is put
// together is one version of one file.
const partSize = 8 << 20

// partKey names the version of a file; "" if that cannot be told, or it is not
// worth it.
func partKey(n *node, e *mtree.Entry) string {
	if e.Size < partSize || e.Has&mtree.HasCTime == 0 {
		return ""
	}
	return mtree.JoinPath(n.path, e.Name) + "\x00" + fileTag(e)
}

// offerPart lets the source ask how much of a large file is there.
func (p *pass) offerPart(n *node, w *wanted) {
	key := partKey(n, w.Entry)
	if key == "" {
		return
	}
	w.part = func() int64 { return p.dest.Staging.PartSize(key) }
}

// draft opens the file to write to: for a large one as it was listed, to the
// ctime, the part of it that is there, which is kept if it breaks off again.
func (p *pass) draft(dir *disk.Dir, n *node, c mtree.Change, w *wanted, f *opened, mode uint32) (d *disk.Draft, kept bool, err error) {
	if w.part == nil || f.got.Hot || !sameFile(w.Entry, &f.got) || f.got.Has&mtree.HasCTime == 0 {
		d, err = p.dest.Staging.Create(dir, c.Want.Name, c.Have == nil, mode)
		return d, false, err
	}
	d, size, err := p.dest.Staging.Continue(partKey(n, w.Entry))
	if err != nil {
		return nil, false, err
	}
	d.Inherit(dir)
	if f.from == 0 && size > 0 {
		err = d.Rewind()
	} else if f.from != size {
		err = errors.New("a partial file changed its size")
	}
	if err != nil {
		d.Discard()
		return nil, false, err
	}
	return d, true, nil
}
