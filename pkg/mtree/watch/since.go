package watch

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/identity"
	"tidemark/pkg/mtree/watch/internal/since"
)

// Since writes the paths of what changed in a tree since its root had a stamp that Sync
// returned: see package since for what it promises. Each path begins with "./" and ends with
// a NUL, if nul is set, else with a line end, and is escaped as in listings. Of the Config it
// takes Root, StateDir, Exclude, CrossMounts and Log. Only the tree and its state are read. It
// needs no right to write, and no running watcher; but without one it has only the stamps.
func Since(ctx context.Context, c Config, stamp mtree.Stamp, nul bool, out io.Writer) error {
	c, exclude, err := c.withDefaults()
	if err != nil {
		return err
	}
	dir, err := identity.OpenRoot(c.Root, c.StateDir, c.CrossMounts)
	if err != nil {
		return err
	}
	defer dir.Close()
	m, err := state.OpenMarker(dir, c.StateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return exit.With(exit.Refused, err, "no watch ever ran here: start one first")
	}
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	defer m.Close()
	return since.Tell(ctx, since.Question{
		Root: dir, Marker: m, Since: stamp, Exclude: exclude, CrossMounts: c.CrossMounts, NUL: nul, Out: out, Log: c.Log,
	})
}
