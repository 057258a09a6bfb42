// Package autoindex reads the listings of directories that web servers other than
// serve write: nginx, Apache, lighttpd, Caddy, rclone, Python's http.server and their
// like, as HTML, JSON or XML. It parses text and compares times; it opens no
// connection.
//
// Such a listing has no ids, no ctimes and no stamps that prune, so every pass over it is
// a full walk. Often it gives the time of a file only to the minute, in a time zone that
// it does not name, and a rounded size. Approx decides against the copy what such an
// entry stands for: an equal file stays as it is, and one that may differ is asked for.
//
//	entries, files, err := autoindex.Parse(text, contentType, urlPath)
//	approx := autoindex.NewApprox(dir, entries, files, &zones, skew, askForDate)
//	approx.Resolve(ctx, &listing, have, true)
//
// What it promises: text that is not a whole listing, such as the page of a captive
// portal or a listing that broke off, is an error that wraps mtree.ErrListing; a file
// whose size or time may differ is never taken for equal, except for a file that was
// written twice within one step of the listing's time, long before it was first fetched.
//
// Its files stand in layers. Each uses what stands below it:
//
//	approx.go  Approx: a directory, resolved against the copy
//	parse.go   Parse, RoomFor
//	caddy.go   which listings of Caddy are cut
//	html.go    index pages
//	json.go    nginx, lighttpd, Caddy
//	xml.go     nginx
//	bounds.go  Bounds: how well a listing knows a file
//	zones.go   Zones: the time zone of a server
package autoindex
