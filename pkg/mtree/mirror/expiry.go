package mirror

import (
	"context"
	"time"
)

// expirePause is the shortest time between two looks for backups that are too old.
const expirePause = 10 * time.Minute

// expireNowAndThen does so in a goroutine of its own, which close waits for: a large backup takes a
// while, and must not keep what changed from the copy.
func (d *daemon) expireNowAndThen(ctx context.Context) {
	b, c := d.mirror.replica.Backup, &d.mirror.config
	if c.BackupKeep == 0 || time.Since(d.expired) < min(expirePause, c.BackupKeep) {
		return
	}
	select {
	case d.expiring <- struct{}{}:
	default:
		return // it is still at it
	}
	d.expired = time.Now()
	go func() {
		expireBackups(ctx, b, c.Log)
		<-d.expiring
	}()
}

// endExpiry waits for that goroutine, whose ctx has ended.
func (d *daemon) endExpiry() {
	d.expiring <- struct{}{}
	<-d.expiring
}
