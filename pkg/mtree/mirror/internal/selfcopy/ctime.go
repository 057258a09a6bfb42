package selfcopy

import (
	"context"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// rootMovesWith reports whether the ctime of an entry of the source's directory at dir
// moves when the ctime of the copy's root is moved. A dry run may not try.
func (d *Detector) rootMovesWith(ctx context.Context, dir, name string) bool {
	if d.Replica.ReadOnly {
		return false
	}
	root := d.Replica.Root
	from, ok := moveCTime(ctx, root.Self, func(i disk.Info) error { return root.SetTime(i.MTime) })
	if !ok {
		return false
	}
	a, err := d.Source.List(ctx, dir, source.Fresh)
	if err != nil {
		return false
	}
	now, err := root.Self() // other steps of the pass go on meanwhile
	is := find(a.Entries, name)
	return err == nil && is != nil && !is.CTime.Before(from) && !is.CTime.After(now.CTime)
}

// hasEntries reports whether the entries of the source's root are those of dir, a
// directory of the copy: each has the ctime of the one in dir, and the ctime of one of
// them moves when that in dir is moved.
func (d *Detector) hasEntries(ctx context.Context, dir *disk.Dir, entries []mtree.Entry) bool {
	name := ""
	for i := range entries {
		e := &entries[i]
		info, err := dir.Stat(e.Name)
		if err != nil || e.Has&mtree.HasCTime == 0 || e.Kind != info.Kind || e.CTime != info.CTime {
			return false
		}
		if info.Kind == mtree.Dir || info.Kind == mtree.File && info.Links == 1 {
			name = e.Name // else the source may have another name of the same file
		}
	}
	if name == "" || d.Replica.ReadOnly {
		return name != ""
	}
	stat := func() (disk.Info, error) { return dir.Stat(name) }
	from, ok := moveCTime(ctx, stat, func(i disk.Info) error { return dir.SetEntryTime(name, i.MTime) })
	if !ok {
		return false
	}
	a, err := d.Source.List(ctx, "", source.Fresh)
	is := find(a.Entries, name)
	return err == nil && is != nil && is.CTime == from
}

// moveCTime sets a time to what it is until the ctime has moved, and returns the new
// ctime.
func moveCTime(ctx context.Context, stat func() (disk.Info, error), set func(disk.Info) error) (mtree.Stamp, bool) {
	before, err := stat()
	if err != nil {
		return mtree.Stamp{}, false
	}
	const tries = 20 // a kernel's clock ticks every 10 ms at the slowest
	for range tries {
		if err := set(before); err != nil {
			return mtree.Stamp{}, false
		}
		if now, err := stat(); err == nil && now.CTime != before.CTime {
			return now.CTime, true
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
		}
	}
	return mtree.Stamp{}, false
}

// find returns the entry of that name, nil if there is none.
func find(entries []mtree.Entry, name string) *mtree.Entry {
	for i := range entries {
		if entries[i].Name == name {
			return &entries[i]
		}
	}
	return nil
}
