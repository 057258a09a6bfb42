package autoindex

import (
	"bytes"
	"fmt"
	"regexp"

	"tidemark/pkg/mtree"
)

// caddyMost is how many entries of a directory Caddy reads by default. It drops the others and does
// not say so. Of those that it read it leaves out what is to be hidden, and what is gone by then.
const (
	caddyMost  = 10_000
	caddyHides = 100 // as many at most, we assume; where it hides more, AreGone finds it out
)

// MayBeCut reports whether a listing in which Parse found that many entries is one of Caddy that may
// lack others: then what is not in it may be there all the same.
func MayBeCut(text []byte, contentType string, entries int) bool {
	return entries > caddyMost-caddyHides && entries < caddyMost &&
		isCaddys(text, contentType) // guard: TestListingsThatMayBeCut
}

// refuseCut returns an error if a listing surely lacks entries.
func refuseCut(text []byte, contentType string, entries int) error {
	if entries == caddyMost && isCaddys(text, contentType) { // guard: TestListingsThatMayBeCut
		return fmt.Errorf("%w: exactly %d entries: the rest was dropped, raise file_limit", mtree.ErrListing, caddyMost)
	}
	return nil
}

// isCaddys reports whether a listing is one of Caddy. A cache may give its page for people to those who
// ask for JSON, because Caddy does not say that the answer depends on that.
func isCaddys(text []byte, contentType string) bool {
	return isJSON(contentType) && bytes.Contains(text, []byte(`"mod_time":`)) || isHTML(contentType) && caddysTime.Match(text)
}

// caddysTime matches how Caddy's page has a time: up to 2.6 with a blank before it.
var caddysTime = regexp.MustCompile(`<time datetime=" ?\d{4}-\d\d-\d\dT`)
