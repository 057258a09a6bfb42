package wire

import (
	"strconv"
	"strings"
	"time"

	"tidemark/pkg/mtree"
)

// Queries of the POSTs that mirror sends, with a list of paths as their body
// (docs/protocol.md, "Bulk", "Sums" and "Blocks").
const (
	TarQuery       = "tar"
	SumsQuery      = "sums&tags"
	BlocksQuery    = "blocks"
	HotBlocksQuery = "blocks&hot" // to the end, even if the file changes
)

// ListingQuery is the query by which mirror asks for a text listing, or for all
// listings that changed (docs/protocol.md, "Long poll" and "Changes since").
type ListingQuery struct {
	Since *mtree.Stamp  // ask for every directory with a stamp above this; nil: for one listing
	Parts bool          // with Since: parts of listings are understood
	After string        // with Since: continue after this path; "": from the beginning
	Wait  time.Duration // how long the server may hold the request; 0: not at all
}

// String returns the query without its "?". ParseQuery reads it.
func (q ListingQuery) String() string {
	text := "txt"
	if q.Since != nil {
		text += "&since=" + q.Since.String()
		if q.Parts {
			text += "&part=1"
		}
	}
	if q.After != "" {
		text += "&after=" + URLPath(q.After)
	}
	if q.Wait > 0 {
		text += "&wait=" + strconv.FormatFloat(q.Wait.Seconds(), 'f', -1, 64)
	}
	return text
}

// Query is what a query says: values by keys. A key without a value has the value
// "".
type Query map[string]string

// ParseQuery splits a query at "&" and decodes %XX and nothing else: a plus sign is
// a plus sign, as in a listing. Of a key given twice the first counts. A value that
// cannot be decoded stays as it is.
func ParseQuery(raw string) Query {
	if raw == "" {
		return nil
	}
	query := make(Query, 2)
	for part := range strings.SplitSeq(raw, "&") {
		key, value, _ := strings.Cut(part, "=")
		if plain, err := mtree.UnescapeName(value); err == nil {
			value = plain
		}
		if _, twice := query[key]; !twice {
			query[key] = value
		}
	}
	return query
}

// Has reports whether the query names key, with a value or without.
func (q Query) Has(key string) bool {
	_, ok := q[key]
	return ok
}

// Wait returns how long the server may hold the request, at most MaxWait: the key "wait",
// in seconds. ok is false if it is missing or makes no sense.
func (q Query) Wait() (wait time.Duration, ok bool) {
	value, ok := q["wait"]
	if !ok {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil || !(seconds >= 0) {
		return 0, false
	}
	return time.Duration(min(seconds, MaxWait.Seconds()) * float64(time.Second)), true
}
