// Package render turns listings into the bodies that serve sends: as text, JSON or HTML,
// as they are or gzipped. It is pure: no I/O, no clock. The formats for people and other
// programs show what a symlink leads to; a callback finds that.
//
//	form := render.New(render.HTML, &listing, render.Options{Path: "d"})
//	body, rest := render.UpTo(nil, math.MaxInt, form, listing.Entries)
//	body = form.Tail(body)
//
// A form appends to a slice, entry by entry: a listing of any length can be rendered in
// pieces, with little memory beside its body, and nothing is allocated for an entry that
// is no symlink. Names are bytes without any meaning: markup is escaped, and what is not
// UTF-8 becomes U+FFFD in formats that have no bytes.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	form.go            Form; New; the text form
//	html.go, json.go   the other forms
//	format.go          Format and Options
//	link.go            what an entry is shown as, and its href
//	date.go            dates without package time, which takes ten times as long
//	gzip.go            compression
//	filetype.go        the media type of a file, by its name
package render
