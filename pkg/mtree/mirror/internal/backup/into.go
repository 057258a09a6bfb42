package backup

import (
	"errors"
	"io/fs"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// errTaken says that something has the path in the directory of the pass already. It goes under a
// later time.
var errTaken = errors.New("the path is taken")

// mostTurns is how many directories one entry may ask for. Each is open until the pass ends.
const mostTurns = 100

// into lets move give an entry its place in the backup: the name base in up, which is expected to be
// free. move returns how many entries it moved, and errTaken or EEXIST if the name is taken.
func (b *Dir) into(path string, move func(up *disk.Dir, base string) (kept int64, err error)) error {
	for range mostTurns {
		t, err := b.turn()
		if err != nil {
			return outward(err)
		}
		err = b.intoTurn(t, path, move)
		if !errors.Is(err, errTaken) && !errors.Is(err, fs.ErrExist) { // guard: TestAPathThatIsTaken
			return outward(err)
		}
		b.leave(t)
	}
	return outward(fs.ErrExist)
}

func (b *Dir) intoTurn(t *turn, path string, move func(up *disk.Dir, base string) (int64, error)) error {
	above := mtree.ParentPath(path)
	up, err := b.parent(t, above)
	if err != nil {
		return err
	}
	defer up.Close()
	b.mu.Lock()
	b.dirty.add(t, above) // before and after: a pass that flushes meanwhile must not miss it
	b.mu.Unlock()
	kept, err := move(up, mtree.BaseName(path))
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if kept > 0 {
		t.kept++
		b.dirty.add(t, above)
		b.o.Kept.Add(kept)
	}
	return nil
}

// turn returns the directory of this pass, and makes it if there is none. Its name is like no other:
// mkdir sees to that.
func (b *Dir) turn() (*turn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.turns); n > 0 && !b.full {
		return b.turns[n-1], nil
	}
	info, err := b.o.Root.Self()
	if err != nil {
		return nil, err
	}
	for range mostTurns {
		name := nameOf(b.at, b.key)
		dir, err := b.dir.MakeDir(name, 0o700)
		if errors.Is(err, fs.ErrExist) {
			b.at = b.at.Add(time.Millisecond)
			continue
		}
		if err != nil {
			return nil, err
		}
		like(dir, info)
		t := &turn{name: name, dir: dir}
		b.turns, b.full = append(b.turns, t), false
		return t, nil
	}
	return nil, fs.ErrExist
}

// leave lets the next entries go under a later time.
func (b *Dir) leave(t *turn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.turns[len(b.turns)-1] == t {
		b.full = true
	}
}

// parent opens the directory at path of a turn. Those that are missing are made with the modes and owners that they
// have in the copy: what nobody may reach there, nobody shall reach here.
func (b *Dir) parent(t *turn, path string) (*disk.Dir, error) {
	dir, err := t.dir.OpenDirPath(path, false)
	switch {
	case err == nil:
		return dir, nil
	case disk.IsLink(err):
		return nil, errTaken
	case !errors.Is(err, fs.ErrNotExist) || path == "":
		return nil, err
	}
	up, err := b.parent(t, mtree.ParentPath(path))
	if err != nil {
		return nil, err
	}
	defer up.Close()
	dir, err = up.MakeDir(mtree.BaseName(path), 0o700)
	if errors.Is(err, fs.ErrExist) {
		return up.OpenDir(mtree.BaseName(path)) // another step made it
	}
	if err != nil {
		return nil, err
	}
	if info, _ := b.o.Root.StatPath(path, false); info.Kind == mtree.Dir {
		like(dir, info)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dirty.add(t, mtree.ParentPath(path))
	return dir, nil
}

// like gives a directory of the backup the owner and mode of one of the copy. Its own owner can always use
// it. If the owner cannot be set, groups and others get nothing: it would be another group.
func like(dir *disk.Dir, info disk.Info) {
	mode := info.Mode | 0o700
	if self, err := dir.Self(); err != nil || (self.UID != info.UID || self.GID != info.GID) && dir.Chown(info.UID, info.GID) != nil {
		mode = 0o700
	}
	_ = dir.Chmod(mode)
}
