// Package negotiate reads what a request asks for in its header (RFC 9110): a format and
// a coding, conditions, ranges. It does no I/O and asks no clock; each function takes the
// request and what the server has, and returns what that means.
//
//	format, explicit := negotiate.Format(r, query)
//	switch negotiate.Precondition(r, tag, date, open) {
//	case http.StatusNotModified: ...
//	}
//	ranges, err := negotiate.Ranges(r, tag, size)
//
// A field that makes no sense counts as absent, as the RFC demands.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	ranges.go   Range and If-Range
//	tag.go      If-Match, If-None-Match and the order of conditions
//	date.go     Last-Modified, If-Modified-Since: what a date proves
//	accept.go   Accept and Accept-Encoding
package negotiate
