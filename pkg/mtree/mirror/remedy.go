package mirror

import (
	"context"
	"errors"
	"fmt"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
	"tidemark/pkg/mtree/wire"
)

// What to do about an error, by its cause.

// unreachable adds exit code and remedy to an error of a request for the root.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var with *exit.Error
	if errors.As(err, &with) {
		return err
	}
	return exit.With(exit.Unreachable, fmt.Errorf("the source: %w", err), remote.Remedy(err))
}

// remedyStamps says what to do about a source whose stamps do not prune.
func remedyStamps(a *source.Root) string {
	switch {
	case a.OtherServer:
		return "none: only serve tells what changed"
	case a.State == wire.Filling:
		return "wait: the source is a copy that is not complete yet"
	case a.Upstreams != "":
		return "the source is a copy: run watch at the first source, and a mirror that keeps the copy"
	case a.State == wire.Degraded:
		return "watch at the source cannot hear or stamp everything: watch --status there says why"
	case a.Tree.ID != "":
		return "start watch at the source, or wait until its first audit has ended: watch --status there tells"
	}
	return "run watch at the source"
}
