package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
	"tidemark/pkg/mtree/wire"
)

// What to do about an error, by its cause.

// unreachable gives an error of asking for the root its exit code and remedy.
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

// remedyHere says what to do about an error of making or opening DEST.
func remedyHere(err error) string {
	switch {
	case disk.IsFull(err):
		return makeRoom
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EPERM):
		return remedyWriting(err)
	case errors.Is(err, fs.ErrPermission):
		return "run mirror as a user who may write there, or make DEST and give it to this user"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return "DEST must be a directory, and all above it"
	case errors.Is(err, fs.ErrNotExist):
		return "make the directory above DEST first"
	}
	return "DEST must be writable"
}

// remedyWriting says what to do about an error of changing something in the copy, ""
// where the error says enough.
func remedyWriting(err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "the file system of DEST is mounted read-only: mount it for writing"
	case errors.Is(err, syscall.EPERM):
		return "only its owner may set times and modes, and nobody where it is immutable (chattr +i): give what is in DEST to the user of mirror"
	case errors.Is(err, syscall.EACCES):
		return "the user of mirror may not write there: give what is in DEST to that user"
	}
	return ""
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
