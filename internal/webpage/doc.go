// Package webpage is what the pages of the three programs have in common: their style, numbers and times for
// people, a page without scripts, and plots as inline SVG.
//
//	page := webpage.New("status", `<p>{{.}}</p>`)
//	err := page.Write(w, webpage.Frame{Title: "How it stands"}, "data")
//
// A page loads nothing and runs nothing: its Content-Security-Policy is Policy. Its body is made by
// html/template, so what comes from a tree or from another machine is escaped. The package is pure: no I/O
// but the Writer, no clock.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	page.go      a page, and its policy
//	plot.go      a plot
//	words.go     numbers and times for people
//	series.go    numbers over time
package webpage
