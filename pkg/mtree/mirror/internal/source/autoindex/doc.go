// Package autoindex reads the listings of directories that web servers other than
// serve write: nginx, Apache, lighttpd, Caddy, rclone, Python's http.server and their
// like, as HTML, JSON or XML. It parses text and compares times; it opens no
// connection.
//
// Such a listing has no ids, no ctimes and no stamps that prune, so every pass over it
// is a full walk. Often it tells the time of a file to the minute only, in a time zone
// that it does not name, and the size rounded. Approx decides against the copy what
// such an entry stands for: an equal file stays as it is, and one that may differ is
// asked for.
//
//	entries, files, err := autoindex.Parse(text, contentType, urlPath)
//	approx := autoindex.NewApprox(dir, entries, files, &zones, askForDate)
//	approx.Resolve(ctx, &listing, have, true)
//
// What it promises: text that is not a whole listing is an error that wraps
// mtree.ErrListing, be it the page of a captive portal or a listing that broke off; a
// file whose size or time may be another one is never taken for equal, but for one
// written twice within the step of the listing, long before it was fetched first.
//
// Files, each may use those below it:
//
//	approx.go  Approx: a directory, resolved against the copy
//	parse.go   Parse, RoomFor
//	html.go    index pages
//	json.go    nginx, lighttpd, Caddy
//	xml.go     nginx
//	bounds.go  Bounds: how well a listing knows a file
//	zones.go   Zones: the time zone of a server
package autoindex
