package state

import (
	"net/url"
	"strings"
)

// SourceName returns the SOURCE of a copy in the form that is compared and recorded:
// without credentials and fragment, and without a slash at its end (of unix:PATH:/ without a colon, too).
func SourceName(source string) string {
	if u, err := url.Parse(source); err == nil && u.Scheme != "" && u.Host != "" { // //srv/a is a path
		u.User, u.Fragment, u.RawFragment = nil, "", "" // no server hears of a fragment
		u.Host = strings.ToLower(u.Host)
		return strings.TrimRight(u.String(), "/")
	}
	name := strings.TrimRight(source, "/")
	if strings.HasPrefix(name, "unix:/") {
		name = strings.TrimRight(name, "/:")
	}
	if name != "" || source == "" {
		return name
	}
	return "/"
}

// hostOf returns the host of a SOURCE, with its port.
func hostOf(source string) string {
	if u, err := url.Parse(source); err == nil && u.Scheme != "" && u.Host != "" {
		return u.Host
	}
	return "local"
}
