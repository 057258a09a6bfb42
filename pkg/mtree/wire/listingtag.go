package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// ListingTag is what the ETag of a listing says.
type ListingTag struct {
	Validator   string // the directory's stamp where stamps prune, elsewhere hex digits of a hash of the body
	Format      string // "txt", "json" or "html"
	Fingerprint string // six hex digits, see Fingerprint
	Hot         bool   // the listing may not match its stamp; serve answers no 304 by such a tag
}

// String returns VALIDATOR-FORMAT-E, with "-hot" at the end of that of a hot
// listing: the tag without its content coding and its quotes (docs/protocol.md,
// "Tags"). QuoteTag makes an ETag of it.
func (t ListingTag) String() string {
	text := t.Validator + "-" + t.Format + "-" + t.Fingerprint
	if t.Hot {
		text += "-hot"
	}
	return text
}

// QuoteTag returns the ETag W/"TEXT" or W/"TEXT-CODING". It is weak: a file
// rewritten in place shows before its directory is stamped, so two listings of one
// stamp may differ in bytes. coding is "" for none. BareTag is its inverse.
func QuoteTag(text, coding string) string {
	if coding != "" {
		text += "-" + coding
	}
	return `W/"` + text + `"`
}

// BareTag returns an ETag without its quotes, its weakness and its content coding:
// what a weak comparison compares (RFC 9110, 13.1.2). Proxies weaken a tag that
// they compress, or add "-gzip" or ";gzip" to it.
func BareTag(tag string) string {
	tag = strings.TrimPrefix(tag, "W/")
	tag = strings.Trim(tag, `"`)
	tag = strings.TrimSuffix(tag, ";gzip")
	for strings.HasSuffix(tag, "-gzip") {
		tag = strings.TrimSuffix(tag, "-gzip")
	}
	return tag
}

// ParseListingTag reads the ETag of a listing, whatever a proxy appended to it. ok
// is false for an ETag that serve gives to no listing.
func ParseListingTag(tag string) (t ListingTag, ok bool) {
	tag = BareTag(tag)
	for _, t.Format = range []string{"txt", "json", "html"} {
		mark := "-" + t.Format + "-"
		for at := 0; ; at++ {
			next := strings.Index(tag[at:], mark)
			if next < 0 {
				break
			}
			at += next
			rest := tag[at+len(mark):]
			if n := hexDigits(rest); n == fingerprintSize && (len(rest) == n || rest[n] == '-' || rest[n] == ';') {
				t.Validator, t.Fingerprint = tag[:at], rest[:n]
				t.Hot = rest[n:] == "-hot" || strings.HasPrefix(rest[n:], "-hot-")
				return t, true
			}
		}
	}
	return ListingTag{}, false
}

// fingerprintSize is the length of a fingerprint in hex digits.
const fingerprintSize = 6

// Fingerprint returns the E of ETags: six hex digits of a hash over text, which
// names everything that decides, besides the directories, what listings show and
// which files may be read (docs/protocol.md, "Tags").
func Fingerprint(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:fingerprintSize/2])
}

// hexDigits counts the lower case hex digits that text begins with.
func hexDigits(text string) (n int) {
	for n < len(text) && ('0' <= text[n] && text[n] <= '9' || 'a' <= text[n] && text[n] <= 'f') {
		n++
	}
	return n
}
