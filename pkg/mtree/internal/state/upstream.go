package state

import (
	"net/url"
	"strings"
)

// SourceName returns what a copy compares and records of its SOURCE: without
// credentials and without the slash at its end.
func SourceName(source string) string {
	if u, err := url.Parse(source); err == nil && u.Host != "" {
		u.User = nil
		u.Host = strings.ToLower(u.Host)
		return strings.TrimRight(u.String(), "/")
	}
	if name := strings.TrimRight(source, "/"); name != "" {
		return name
	}
	return source
}
