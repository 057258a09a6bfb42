package wire

import (
	"net/http"
	"path"
	"strings"

	"tidemark/pkg/mtree/wire"
)

// Answers to another question, or of another time.

var swaps = []fault{
	{name: "parent", only: []string{isListing}, make: swapped(func(dir string) string { return path.Dir(strings.TrimSuffix(dir, "/")) }, all), blindElsewhere: true, otherDir: true},
	{name: "root", only: []string{isListing}, make: swapped(to("/"), all), blindElsewhere: true, otherDir: true, endlessElsewhere: true},
	{name: "sibling", only: []string{isListing}, make: swapped(to("/many/"), all), blindElsewhere: true, otherDir: true},
	{name: "empty-sibling", only: []string{isListing}, make: swapped(to("/empty/"), all), blindElsewhere: true, otherDir: true},
	{name: "empty-sibling-text", only: []string{isListing}, make: swapped(to("/empty/"), justBody), blindElsewhere: true},
	{name: "sibling-text", only: []string{isListing}, make: swapped(to("/many/"), justBody), blindElsewhere: true},
	{name: "sibling-head", only: []string{isListing}, make: swapped(to("/many/"), justHead), blindElsewhere: true},
	{name: "root-head", only: []string{isListing}, make: swapped(to("/"), justHead), blindElsewhere: true},
	{name: "other-file", only: []string{isFile}, make: swapped(to("/big"), all), blindElsewhere: true, another: true},
	{name: "other-file-text", only: []string{isFile}, make: swapped(to("/a/g"), justBody), blind: true, blindElsewhere: true},
	{name: "other-file-head", only: []string{isFile}, make: swapped(to("/a/g"), justHead), blindElsewhere: true},
	{name: "older", only: []string{isListing, isFile}, make: older(0, anything), blindElsewhere: true, moves: true},
	{name: "older-listings", only: []string{isListing}, make: older(0, anything), blindElsewhere: true, moves: true},
	{name: "older-below", only: []string{isListing}, make: older(0, belowRoot), blindElsewhere: true, moves: true},
	{name: "older-root", only: []string{isListing}, make: older(0, rootOnly), blindElsewhere: true, moves: true},
	{name: "older-files", only: []string{isFile}, make: older(0, anything), blindElsewhere: true, moves: true},
	{name: "as-before", only: []string{isListing, isFile}, make: older(1, anything), blindElsewhere: true, moves: true},
	{name: "as-before-listings", only: []string{isListing}, make: older(1, anything), blindElsewhere: true, moves: true},
	{name: "as-before-below", only: []string{isListing}, make: older(1, belowRoot), blindElsewhere: true, moves: true},
	{name: "as-before-root", only: []string{isListing}, make: older(1, rootOnly), blindElsewhere: true, moves: true},
	{name: "as-before-files", only: []string{isFile}, make: older(1, anything), blindElsewhere: true, moves: true},
	{name: "moves-on", prep: moveOn, moves: true},
	{name: "newer-files", only: []string{isFile}, prep: moveOn, moves: true},
	{name: "newer-listing", only: []string{isListing}, prep: moveOn, moves: true},
	{name: "other-tree", only: []string{isListing}, ours: true, stranger: true, names: true, make: changed(func(a *answer) {
		a.header.Set("Tidemark-Tree", strings.Repeat("0123456789abcdef", 2))
		if a.isText() {
			a.body = []byte("1700000000.000000000 ./\t-\tid=0123456789abcdef\tnow=1700000000.000000000\n#end 0\n")
		}
	})},
	{name: "other-tree-id", only: []string{isListing}, ours: true, names: true, make: changed(func(a *answer) {
		a.header.Set("Tidemark-Tree", strings.Repeat("0123456789abcdef", 2))
	})},
}

// What of another answer is taken.
const (
	all = iota
	justBody
	justHead
)

func to(dir string) func(string) string { return func(string) string { return dir } }

// swapped returns the reply to another request, to which where leads, or a part of it.
func swapped(where func(dir string) string, part int) func(ex *exchange) reply {
	return func(ex *exchange) reply {
		p := ex.proxy.place
		uri := p.base + where(strings.TrimPrefix(ex.req.URL.EscapedPath(), p.base))
		if ex.kind() == isListing && !strings.HasSuffix(uri, "/") {
			uri += "/"
		}
		if ex.req.URL.RawQuery != "" {
			uri += "?" + ex.req.URL.RawQuery
		}
		other, err := ex.proxy.get(ex.req.Method, uri, ex.req.Header, ex.body)
		if err != nil {
			return reply{end: shut}
		}
		if part != all && ex.kind() == isListing && sameStamp(ex.answer, other) {
			return ex.as(ex.answer)
		}
		switch a := ex.answer.clone(); part {
		case justBody:
			a.body = other.body
			a.header.Del("Content-Encoding")
			if c := other.header.Get("Content-Encoding"); c != "" {
				a.header.Set("Content-Encoding", c)
			}
			return ex.as(a)
		case justHead:
			o := other.clone()
			o.body = a.body
			o.header.Del("Content-Encoding")
			if c := a.header.Get("Content-Encoding"); c != "" {
				o.header.Set("Content-Encoding", c)
			}
			return ex.as(o)
		}
		return ex.as(other)
	}
}

// sameStamp reports whether two listings have the same stamp, as directories do that changed
// at one moment. Then nothing shows that the header of one stands above the text of the other.
func sameStamp(a, b *answer) bool {
	return a.header.Get(wire.HeaderStamp) == b.header.Get(wire.HeaderStamp)
}

func anything(string) bool       { return true }
func rootOnly(path string) bool  { return path == "/" }
func belowRoot(path string) bool { return path != "/" }

// older returns the reply that the server gave in an earlier state, where it gave one.
func older(state int, which func(path string) bool) func(ex *exchange) reply {
	return func(ex *exchange) reply {
		uri := ex.uri()
		was, ok := ex.proxy.place.old[state][uri]
		if !ok || !which(strings.TrimPrefix(ex.req.URL.Path, ex.proxy.place.base)) {
			return ex.as(ex.answer)
		}
		return ex.as(was)
	}
}

// moveOn changes the source while the request is under way.
func moveOn(ex *exchange) error {
	p := ex.proxy.place
	if p.states > 90 || p.movedOn {
		return nil
	}
	p.movedOn = true
	return p.become((*editor).moveOn)
}

// Headers that a proxy takes away or changes.

var strips = append(stripped(), []fault{
	{name: "strip-tidemark", only: []string{isListing, isNews}, ours: true, make: changed(func(a *answer) {
		for key := range a.header {
			if strings.HasPrefix(key, "Tidemark-") {
				a.header.Del(key)
			}
		}
	})},
	{name: "strip-all", make: changed(func(a *answer) { a.header = http.Header{} })},
	{name: "state-unknown", only: []string{isListing}, ours: true, make: changed(func(a *answer) { a.header.Set("Tidemark-State", "dreaming") })},
	{name: "state-filling", only: []string{isListing}, ours: true, make: changed(func(a *answer) { a.header.Set("Tidemark-State", "filling") })},
	{name: "state-unwatched", only: []string{isListing}, ours: true, make: changed(func(a *answer) { a.header.Set("Tidemark-State", "unwatched") })},
	{name: "epoch-0", only: []string{isListing}, ours: true, make: changed(func(a *answer) { a.header.Set("Tidemark-Epoch", "0") })},
	{name: "epoch-1", only: []string{isListing}, ours: true, make: changed(func(a *answer) { a.header.Set("Tidemark-Epoch", "1") })},
	{name: "epoch-bad", only: []string{isListing}, ours: true, make: changed(func(a *answer) { a.header.Set("Tidemark-Epoch", "many") })},
	{name: "etag-weak", make: changed(func(a *answer) {
		if tag := a.header.Get("Etag"); tag != "" && !strings.HasPrefix(tag, "W/") {
			a.header.Set("Etag", "W/"+tag)
		}
	})},
	{name: "etag-suffix", make: changed(func(a *answer) {
		if tag := a.header.Get("Etag"); tag != "" {
			a.header.Set("Etag", strings.TrimSuffix(tag, `"`)+`-gzip"`)
		}
	})},
	{name: "etag-other", make: changed(func(a *answer) { a.header.Set("Etag", `"5f3c-60a"`) })},
	{name: "date-now", make: changed(func(a *answer) { a.header.Set("Last-Modified", a.header.Get("Date")) })},
}...)

func stripped() (all []fault) {
	for _, key := range []string{"Etag", "Last-Modified", "Content-Type", "Cache-Control", "Server", "Date",
		"Tidemark-Version", "Tidemark-Stamp", "Tidemark-State", "Tidemark-Now", "Tidemark-Tree", "Tidemark-Epoch",
		"Tidemark-Path", "Tidemark-Runs", "Tidemark-Upstream"} {
		all = append(all, fault{name: "strip-" + strings.ToLower(key), ours: strings.HasPrefix(key, "Tidemark-"), make: changed(func(a *answer) { a.header.Del(key) })})
	}
	return all
}
