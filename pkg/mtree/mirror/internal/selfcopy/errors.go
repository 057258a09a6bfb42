package selfcopy

import (
	"errors"
	"fmt"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// ErrItself is the error of a copy that has met itself.
var ErrItself = errors.New("it would be copied into itself")

// refused is the error of the copy r, for which what says how it met itself.
func refused(r *replica.Replica, what string, args ...any) error {
	return exit.With(exit.Refused, fmt.Errorf("%q %s: %w", r.Path, fmt.Sprintf(what, args...), ErrItself),
		"give a DEST that is not in SOURCE, and a SOURCE that is neither in DEST nor made from it")
}
