package watch

import (
	"context"
	"errors"

	"tidemark/pkg/mtree/watch/internal/trigger"
)

// Run watches until ctx ends; it returns nil after an orderly stop. Errors carry the exit
// code of docs/cli.md.
func Run(ctx context.Context, c Config) error {
	w, err := open(c, c.Backend)
	if err != nil {
		return err
	}
	w.printer = trigger.NewPrinter(w.Print, trigger.Patience, w.Log, &w.Stats.PrintLost)
	err = w.run(ctx)
	return errors.Join(err, w.close())
}

// Once scans the tree, publishes what changed since it was last watched or scanned, and
// returns: for cron. Readers then see the tree as audited.
func Once(ctx context.Context, c Config) error {
	w, err := open(c, "none")
	if err != nil {
		return err
	}
	w.printer = trigger.NewPrinter(w.Print, trigger.OncePatience, w.Log, &w.Stats.PrintLost)
	err = w.once(ctx)
	return errors.Join(err, w.close())
}
