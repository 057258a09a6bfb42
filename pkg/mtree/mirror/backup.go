package mirror

import (
	"context"
	"log/slog"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/backup"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
)

// openBackup opens the backup directory of a copy, if there is one, and writes down where it is. A dry run
// only looks whether it could be used.
func (c *Config) openBackup(r *replica.Replica) error {
	if c.BackupDir == "" {
		if c.DryRun {
			return nil
		}
		return exit.With(exit.Local, r.NoteBackup(""), "")
	}
	o := c.backupOptions(r)
	if c.DryRun {
		return backup.Check(o)
	}
	b, err := backup.Open(o)
	if err != nil {
		return err
	}
	r.Backup = b
	return exit.With(exit.Local, r.NoteBackup(b.Path()), "")
}

func (c *Config) backupOptions(r *replica.Replica) *backup.Options {
	o := &backup.Options{
		Dir: c.BackupDir, Age: c.BackupKeep, Dest: c.Dest, Root: r.Root, Staging: r.Staging, Log: c.Log, Now: c.Now, Kept: &c.Stats.Kept,
	}
	if path, err := replica.Resolve(c.Dest); err == nil {
		o.Dest = path
	}
	others := c.otherSources() // guard (c.otherSources() -> nil): TestABackupInAnotherSource
	for _, source := range append(others, c.Source) {
		if source != "" && !remote.IsURL(source) {
			o.Sources = append(o.Sources, source)
		}
	}
	return o
}

// otherSources returns the further sources.
func (c *Config) otherSources() (all []string) {
	for i := range c.Others {
		all = append(all, c.Others[i].Source)
	}
	return all
}

// recallBackup takes the backup directory of the copy, if it has one and c names none: what is released or
// repaired is kept as by the mirror that made the copy.
func (c *Config) recallBackup(noted string, err error) error {
	if err != nil {
		return exit.With(exit.Local, err, "give --backup-dir")
	}
	if c.BackupDir == "" { // guard: TestBackupIsRecalled
		c.BackupDir = noted
	}
	return nil
}

// noteLimit writes --max-delete down, for a repair that is not given any.
func (c *Config) noteLimit(r *replica.Replica) error {
	if c.DryRun || c.repair { // guard (without c.repair): TestARepairHoldsWhatItsMirrorHolds
		return nil
	}
	text := c.MaxDelete
	if text == defaultMaxDelete {
		text = ""
	}
	return exit.With(exit.Local, r.NoteLimit(text), "")
}

// beginBackup lets the backup directory know that a pass begins.
func beginBackup(r *replica.Replica, at mtree.Stamp) error {
	if r.Backup == nil {
		return nil
	}
	return r.Backup.Begin(at)
}

// expireBackups removes what is older than --backup-keep.
func expireBackups(ctx context.Context, b *backup.Dir, log *slog.Logger) {
	n, err := b.Expire(ctx)
	if n > 0 {
		log.Info("old backups were removed", "count", n)
	}
	if err != nil {
		log.Warn("an old backup could not be removed", "error", err, "remedy", "remove it by hand")
	}
}
