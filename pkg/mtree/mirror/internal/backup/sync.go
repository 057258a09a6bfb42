package backup

import (
	"cmp"
	"maps"
	"slices"

	"tidemark/pkg/mtree/internal/disk"
)

// dirty are directories of the backup that got entries since they were flushed.
type dirty struct {
	at  map[place]bool
	all bool // more than fewSyncs
}

// place is a directory in a turn.
type place struct {
	t    *turn
	path string
}

// fewSyncs is the greatest number of directories that are flushed one by one.
const fewSyncs = 24

func (d *dirty) add(t *turn, path string) {
	if d.at == nil {
		d.at = map[place]bool{}
	}
	d.at[place{t, path}] = true
	if len(d.at) > fewSyncs {
		*d = dirty{all: true}
	}
}

// Sync makes durable what was kept since the last Sync. It comes before the directories of the copy are
// flushed: file systems that write down single directories (btrfs) would else forget an old name and
// not know the new one. System calls:
//
//	fsync of each directory that got entries, and of those above; syncfs for many
func (b *Dir) Sync() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	now := b.dirty
	b.dirty = dirty{}
	dir := b.dir
	b.mu.Unlock()
	var err error
	switch {
	case now.all:
		err = dir.Flush()
	case len(now.at) > 0:
		err = syncEach(dir, now.at)
	}
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.dirty.all = true
	}
	return outward(err)
}

// before orders places, so that a simulation makes the same calls twice.
func before(a, b place) int {
	return cmp.Or(cmp.Compare(a.t.name, b.t.name), cmp.Compare(a.path, b.path))
}

func syncEach(dir *disk.Dir, at map[place]bool) error {
	var turns []*turn
	for _, p := range slices.SortedFunc(maps.Keys(at), before) {
		if !slices.Contains(turns, p.t) {
			turns = append(turns, p.t)
		}
		if p.path == "" {
			continue
		}
		d, err := p.t.dir.OpenDirPath(p.path, false)
		if disk.IsGone(err) {
			continue // somebody has removed it
		}
		if err == nil {
			err = d.Sync()
			_ = d.Close()
		}
		if err != nil {
			return err
		}
	}
	for _, t := range turns {
		if err := t.dir.Sync(); err != nil {
			return err
		}
	}
	return dir.Sync()
}
