package changed

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/serve/internal/published"
)

// Position is a position in a journal: after the batch of this number in this run. As text it is
// RUN.NUMBER.
type Position struct {
	Run    string // "": not given
	Number uint64
}

// ParsePosition reads RUN.NUMBER, or nothing. Errors wrap strconv.ErrSyntax or strconv.ErrRange.
func ParsePosition(text string) (p Position, err error) {
	if text == "" {
		return p, nil
	}
	var number string
	p.Run, number, _ = strings.Cut(text, ".")
	if p.Number, err = strconv.ParseUint(number, 10, 64); err == nil && p.Run == "" {
		err = strconv.ErrSyntax
	}
	return p, err
}

// Last returns the position of the last batch in the journal of a tree. Cost: what is new in the journal is
// read. Errors: as Names.
func Last(tree *published.Tree, snap *published.Snapshot) (Position, error) {
	view, err := tree.Journal(snap)
	if err != nil {
		return Position{}, err
	}
	run, number := view.Last()
	return Position{run, number}, nil
}

// IsGone reports whether err says that the journal does not tell what changed, and will not
// in a moment either.
func IsGone(err error) bool {
	return errors.Is(err, journal.ErrUnproved) && !disk.IsOutOfResources(err) // guard (without !disk): TestCallsOfChangesThatFail
}

// appendPosition appends the line that ends an answer.
func appendPosition(dst []byte, p Position) []byte {
	return fmt.Appendf(dst, "#next %s.%d\n", p.Run, p.Number)
}
