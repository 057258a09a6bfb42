package wire

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Answers that somebody gives in the server's place.

const page = "<!DOCTYPE html>\n<html><head><title>Sorry</title></head>\n<body><h1>Something is wrong</h1>\n<a href=\"/help/\">help</a></body></html>\n"

// statuses are answers of other statuses: bare, and with a page.
var statuses = slices.Concat(allStatuses(), []fault{
	{name: "304-unasked", blindElsewhere: true /* a file whose size is not listed is asked for with a condition */, make: changed(func(a *answer) { a.status, a.body = 304, nil })},
	{name: "200-for-another", blindElsewhere: true /* a 304 becomes an empty file */, make: changed(func(a *answer) { a.status = 200 })},
	{name: "206-of-all", make: changed(func(a *answer) {
		a.status = 206
		a.header.Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(a.body)-1, len(a.body)))
	})},
	{name: "206-of-a-part", blindElsewhere: true, make: changed(func(a *answer) {
		all := len(a.body)
		a.status, a.body = 206, a.body[:all/2]
		a.header.Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", max(all/2-1, 0), all))
	})},
	{name: "206-of-the-end", blindElsewhere: true, make: changed(func(a *answer) {
		all := len(a.body)
		a.status, a.body = 206, a.body[all/2:]
		a.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", all/2, all-1, all))
	})},
	{name: "range-ignored", only: []string{isFile}, when: isRanged, prep: func(ex *exchange) error {
		ex.req.Header.Del("Range")
		return nil
	}},
	{name: "range-moved", only: []string{isFile}, when: isRanged, prep: func(ex *exchange) error {
		ex.req.Header.Set("Range", "bytes=1-")
		return nil
	}},
	{name: "range-mislabelled", only: []string{isFile}, when: isRanged, prep: func(ex *exchange) error {
		ex.req.Header.Set("X-Asked", ex.req.Header.Get("Range"))
		ex.req.Header.Set("Range", "bytes=1-")
		return nil
	}},
	{name: "conditions-dropped", prep: func(ex *exchange) error {
		for _, key := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "Cache-Control"} {
			ex.req.Header.Del(key)
		}
		return nil
	}},
})

func isRanged(ex *exchange) bool { return ex.req.Header.Get("Range") != "" }

func allStatuses() (all []fault) {
	for _, status := range []int{301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 407, 408, 410, 412, 416, 421, 429, 500, 501, 502, 503, 504, 511, 524} {
		bare, full := say(status, "", ""), say(status, "text/html", page)
		for _, a := range []*answer{bare, full} {
			if status/100 == 3 {
				a.header.Set("Location", "http://127.0.0.1:1/login?next=%2F")
			}
			if status == 401 {
				a.header.Set("WWW-Authenticate", `Basic realm="guests"`)
			}
		}
		all = append(all, fault{name: fmt.Sprint(status), make: instead(bare)}, fault{name: fmt.Sprintf("%d-page", status), make: instead(full)})
	}
	busy := say(503, "text/plain", "busy\n")
	busy.header.Set("Retry-After", "1")
	return append(all,
		fault{name: "204", make: changed(func(a *answer) { a.status, a.body = 204, nil })},
		fault{name: "204-bare", make: instead(say(204, "", ""))},
		fault{name: "503-retry-after", lasts: 10 * time.Second, make: instead(busy)})
}

// strangers are pages of somebody else that come with 200.
var strangers = []fault{
	{name: "login-page", blindElsewhere: true, make: instead(say(200, "text/html; charset=utf-8", page))},
	{name: "login-text", blindElsewhere: true, make: instead(say(200, "text/plain; charset=utf-8", "please log in\n"))},
	{name: "page-as-listing", blindElsewhere: true, make: changed(func(a *answer) { a.body = []byte(page) })},
	{name: "nothing-with-200", blindElsewhere: true, make: instead(say(200, "", ""))},
	{name: "json", blindElsewhere: true, stranger: true, make: instead(say(200, "application/json", "[]"))},
	{name: "empty-index", blindElsewhere: true, stranger: true, make: instead(say(200, "text/html", "<html>\n<head><title>Index of /</title></head>\n<body>\n<h1>Index of /</h1><hr><pre><a href=\"../\">../</a>\n</pre><hr></body>\n</html>\n"))},
	{name: "other-index", blindElsewhere: true, stranger: true, make: instead(say(200, "text/html", "<html>\n<head><title>Index of /</title></head>\n<body>\n<h1>Index of /</h1><hr><pre><a href=\"../\">../</a>\n"+
		"<a href=\"index.txt\">index.txt</a>                                          14-Nov-2023 22:13                   3\n</pre><hr></body>\n</html>\n"))},
	{name: "bare-listing", blindElsewhere: true, stranger: true, make: instead(say(200, "text/plain", "1700000000.000000000 ./\t-\n#end 0\n"))},
}

// refusals are what a proxy does that lets no POST through.
var refusals = []fault{
	{name: "post-403", only: []string{isTar, isSums}, make: instead(say(403, "text/html", page))},
	{name: "post-405", only: []string{isTar, isSums}, make: instead(say(405, "text/html", page))},
	{name: "post-411", only: []string{isTar, isSums}, make: instead(say(411, "text/html", page))},
	{name: "post-413", only: []string{isTar, isSums}, make: instead(say(413, "text/html", page))},
	{name: "post-501", only: []string{isTar, isSums}, make: instead(say(501, "text/html", page))},
	{name: "post-closed", only: []string{isTar, isSums}, make: func(*exchange) reply { return reply{end: shut} }},
	{name: "post-as-get", only: []string{isTar, isSums}, prep: func(ex *exchange) error {
		ex.req.Method, ex.body = http.MethodGet, nil
		return nil
	}},
}
