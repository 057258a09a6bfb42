package wire

import "strconv"

// Names of the headers that a tree describes itself by, in the canonical form of
// net/http (docs/protocol.md, "Headers of a listing").
const (
	HeaderStamp    = "Tidemark-Stamp"    // the directory's stamp
	HeaderTree     = "Tidemark-Tree"     // the tree id, 32 hex digits
	HeaderEpoch    = "Tidemark-Epoch"    // FormatEpoch
	HeaderPath     = "Tidemark-Path"     // FormatTreePath
	HeaderRuns     = "Tidemark-Runs"     // FormatRuns
	HeaderState    = "Tidemark-State"    // State
	HeaderUnread   = "Tidemark-Unread"   // FormatUnread; missing where there are none
	HeaderEntries  = "Tidemark-Entries"  // Entries; on answers about the root only; missing where nobody counted
	HeaderNow      = "Tidemark-Now"      // the server's clock, a stamp
	HeaderUpstream = "Tidemark-Upstream" // FormatUpstreams
	HeaderVersion  = "Tidemark-Version"  // Version; on every answer of serve
	HeaderMore     = "Tidemark-More"     // "1" on an answer to find that is not all that there is
	HeaderOptions  = "Tidemark-Options"  // ListingTag.Fingerprint; of a 403 and of an answer to since, which have no ETag
)

// Version is the highest version of the text format that serve writes.
const Version = "1"

// FormatUnread returns the value of Tidemark-Unread: how many directories of the tree are not
// published, because watch may not read them; "" for none.
func FormatUnread(directories int) string {
	if directories <= 0 {
		return ""
	}
	return strconv.Itoa(directories)
}

// ParseUnread is the inverse of FormatUnread. Anything else counts as none.
func ParseUnread(value string) int {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}
