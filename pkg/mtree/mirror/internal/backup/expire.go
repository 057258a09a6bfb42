package backup

import (
	"context"
	"fmt"
	"io/fs"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// Expire removes backups of this copy that are older than Options.Age, by the time in their
// names, the oldest first, until ctx ends. It touches nothing that has another name, nothing of
// this pass, and nothing on another file system. What it cannot remove is left, and tried again at the next
// call; the error is the first one. It may run beside a pass.
func (b *Dir) Expire(ctx context.Context) (removed int, err error) {
	if b == nil || b.o.Age <= 0 {
		return 0, nil
	}
	dir, err := b.another()
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := b.expired(dir)
	for _, name := range names {
		p := disk.Prune{Path: name, Trees: true, Ended: func() bool { return ctx.Err() != nil }}
		if ctx.Err() != nil {
			break
		}
		_, pruneErr := dir.PruneTree(name, p)
		switch {
		case pruneErr == nil && ctx.Err() == nil:
			removed++
		case pruneErr != nil && !disk.IsGone(pruneErr) && err == nil:
			err = fmt.Errorf("backup %q: %w", name, pruneErr)
		}
	}
	return removed, err
}

// another opens the directory once more: a pass may open it anew meanwhile.
func (b *Dir) another() (*disk.Dir, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dir == nil {
		return nil, fs.ErrClosed
	}
	return b.dir.OpenDirPath("", false)
}

// expired returns the names of the backups that are too old, in their order of time.
func (b *Dir) expired(dir *disk.Dir) ([]string, error) {
	var names []string
	before := b.o.Now().Add(-b.o.Age)
	err := dir.Scan(func(raw []byte, _ mtree.Kind) error {
		at, ours := timeOf(string(raw), b.key)
		if ours && at.Before(before) && !b.isInUse(string(raw)) { // guard (without !b.isInUse(string(raw))): TestExpire
			names = append(names, string(raw))
		}
		return nil
	})
	slices.Sort(names)
	return slices.DeleteFunc(names, func(name string) bool {
		info, _ := dir.Stat(name)
		return info.Kind != mtree.Dir
	}), err
}

// isInUse reports whether the pass that runs made it.
func (b *Dir) isInUse(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.turns, func(t *turn) bool { return t.name == name })
}
