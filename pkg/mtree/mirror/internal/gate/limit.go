package gate

import (
	"fmt"
	"strconv"
	"strings"

	"tidemark/pkg/mtree/mirror/internal/replica"
)

// Limit is --max-delete: how many deletions one pass may carry out, as a share of all
// entries or as a number.
type Limit struct {
	percent int64 // 0..100, used if share
	number  int64
	share   bool
}

// ParseLimit reads a number, or a percentage such as "50%".
func ParseLimit(text string) (Limit, error) {
	digits, share := strings.CutSuffix(text, "%")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || share && n > 100 {
		return Limit{}, fmt.Errorf("bad --max-delete %q: want a number, or a percentage such as 50%%", text)
	}
	return Limit{percent: n, number: n, share: share}, nil
}

// exceeded reports whether n deletions are more than the limit allows in a copy with that
// many entries. A share of 100% is never exceeded: the copy may have grown since it was
// counted.
func (l Limit) exceeded(n, entries int64) bool {
	switch {
	case !l.share:
		return n > l.number
	case l.percent == 100:
		return false
	}
	return max(n, entries) > replica.Few && n*100 > entries*l.percent
}

// String returns the limit as ParseLimit reads it.
func (l Limit) String() string {
	if l.share {
		return strconv.FormatInt(l.percent, 10) + "%"
	}
	return strconv.FormatInt(l.number, 10)
}
