package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// guard knows the tokens; a request must carry one of them.
type guard struct {
	wanted bool            // false: all requests are allowed
	now    func() []string // the tokens that count
	latest atomic.Pointer[hashed]
}

// hashed are tokens and their hashes: comparing hashes takes the same time for tokens of
// any length.
type hashed struct {
	tokens []string
	hashes [][32]byte
}

// newGuard returns the guard that c asks for.
func newGuard(c *Config) *guard {
	g := &guard{wanted: len(c.Tokens) > 0 || c.TokensNow != nil, now: c.TokensNow}
	if g.now == nil {
		g.now = func() []string { return c.Tokens }
	}
	return g
}

// hashes returns the hashes of the tokens that count now.
func (g *guard) hashes() [][32]byte {
	tokens := g.now()
	if known := g.latest.Load(); known != nil && slices.Equal(known.tokens, tokens) {
		return known.hashes
	}
	next := &hashed{tokens: tokens}
	for _, token := range tokens {
		if token != "" {
			next.hashes = append(next.hashes, sha256.Sum256([]byte(token)))
		}
	}
	g.latest.Store(next)
	return next.hashes
}

// allows reports whether no token is needed, or the request carries one: as bearer token,
// or as Basic password (browsers, wget).
func (g *guard) allows(r *http.Request) bool {
	if !g.wanted {
		return true
	}
	given, ok := bearer(r.Header.Get("Authorization"))
	if !ok {
		_, given, ok = r.BasicAuth()
	}
	if !ok {
		return false
	}
	hash := sha256.Sum256([]byte(given))
	match := 0
	for _, known := range g.hashes() {
		match |= subtle.ConstantTimeCompare(hash[:], known[:])
	}
	return match == 1
}

// bearer returns the bearer token of an Authorization field, if it has one.
func bearer(header string) (token string, ok bool) {
	scheme, token, _ := strings.Cut(header, " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}
