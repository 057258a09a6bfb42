package publish

import (
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// maxRenameLag is how long after a rename its event is looked at, at most. So a file that
// shows an earlier ctime did not get one by its rename. It is less than the slack with which
// mirrors compare bytes by ctimes (10 s), so those of a later ctime are compared anyway.
const maxRenameLag = 5 * time.Second

// renamed returns what the file name in d shows, which got that name by a rename. Most file
// systems move a file's ctime then, and by that a mirror knows that a file of equal size
// and mtime may hold other bytes. If this one did not, it is moved here. Linux' xfs does not
// where two files are exchanged (fs/xfs/xfs_inode.c, xfs_cross_rename).
func (p *publisher) renamed(d *disk.Dir, name string, now seen) seen {
	if now.kind != mtree.File || !now.ctime.Before(p.Clock.Now().Add(-maxRenameLag)) { // guard: TestARenameThatMovesNoCTime
		return now
	}
	if err := d.MoveCTime(name); err != nil && !disk.IsGone(err) {
		p.Health.CannotMoveCTime(err)
		return now
	}
	if after, err := d.Stat(name); err == nil {
		now.mtime, now.ctime = after.MTime, after.CTime
	}
	return now
}
