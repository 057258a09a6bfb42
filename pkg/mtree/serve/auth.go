package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// hashTokens hashes the tokens, so that comparing takes the same time whatever
// their lengths.
func hashTokens(tokens []string) [][32]byte {
	var hashes [][32]byte
	for _, token := range tokens {
		if token != "" {
			hashes = append(hashes, sha256.Sum256([]byte(token)))
		}
	}
	return hashes
}

// allowed reports whether the request carries one of the tokens, as bearer
// token or as Basic password (browsers, wget), or none is needed.
func (h *Handler) allowed(r *http.Request) bool {
	if len(h.cfg.Tokens) == 0 {
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
	for i := range h.tokens {
		match |= subtle.ConstantTimeCompare(hash[:], h.tokens[i][:])
	}
	return match == 1
}

func bearer(header string) (token string, ok bool) {
	scheme, token, _ := strings.Cut(header, " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}
