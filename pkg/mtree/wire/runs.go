package wire

import (
	"encoding/hex"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
)

// Run is one run of the watch that keeps a tree. Runs show when a source was rolled
// back to a snapshot: it does not know a run that its readers listed, or it says
// that the run ended below what they listed of it.
type Run struct {
	ID    string       `json:"run"`             // 16 hex digits
	Floor *mtree.Stamp `json:"floor,omitempty"` // the highest stamp when the run had ended; nil: it has not ended
}

// MaxRuns is how many runs a tree remembers.
const MaxRuns = 16

// LatestRun returns the id of the run that began last, "" if none is known.
func LatestRun(runs []Run) string {
	if len(runs) == 0 {
		return ""
	}
	return runs[len(runs)-1].ID
}

// RunReached reports whether a tree with these runs can be the tree of which a
// reader listed the run id, up to the stamp top.
func RunReached(runs []Run, id string, top mtree.Stamp) bool {
	i := slices.IndexFunc(runs, func(r Run) bool { return r.ID == id })
	if i < 0 {
		return false
	}
	floor := runs[i].Floor
	return floor == nil && i == len(runs)-1 || floor != nil && !floor.Before(top)
}

// FormatRuns returns the value of Tidemark-Runs: "ID FLOOR, ID FLOOR, ID -", the
// oldest run first (docs/protocol.md, "Whose tree it is"). ParseRuns is its
// inverse.
func FormatRuns(runs []Run) string {
	var out strings.Builder
	for i, r := range runs {
		if i > 0 {
			out.WriteString(", ")
		}
		floor := "-"
		if r.Floor != nil {
			floor = r.Floor.String()
		}
		out.WriteString(r.ID + " " + floor)
	}
	return out.String()
}

// ParseRuns reads what FormatRuns wrote, at most MaxRuns runs. It returns nil if
// any part of it makes no sense.
func ParseRuns(text string) (runs []Run) {
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ", ") {
		id, floor, _ := strings.Cut(part, " ")
		if raw, err := hex.DecodeString(id); err != nil || len(raw) != 8 || len(runs) == MaxRuns {
			return nil
		}
		r := Run{ID: id}
		if floor != "-" {
			at, err := mtree.ParseStamp(floor)
			if err != nil {
				return nil
			}
			r.Floor = &at
		}
		runs = append(runs, r)
	}
	return runs
}
