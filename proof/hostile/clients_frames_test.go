package hostile

import (
	"fmt"
	"strings"
)

// smuggle is an attack by a request in which another one may be seen: that one is never
// answered.
func smuggle(name, headers, body string) client {
	inner := "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	text := strings.ReplaceAll("POST /?sums HTTP/1.1\r\nHost: x\r\n"+headers+"\r\n"+body, "INNER", inner)
	return client{name: name, send: strings.ReplaceAll(text, "LENGTH", fmt.Sprint(len(inner))), half: true, methods: []string{"POST"}}
}

// smugglers are requests whose end is not clear.
var smugglers = []client{
	smuggle("smuggle-length-and-chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nINNER"),
	smuggle("smuggle-chunks-and-length", "Transfer-Encoding: chunked\r\nContent-Length: LENGTH\r\n", "0\r\n\r\nINNER"),
	smuggle("smuggle-two-lengths", "Content-Length: 0\r\nContent-Length: LENGTH\r\n", "INNER"),
	smuggle("smuggle-two-lengths-in-one", "Content-Length: 0, LENGTH\r\n", "INNER"),
	smuggle("smuggle-length-negative", "Content-Length: -1\r\n", "INNER"),
	smuggle("smuggle-length-plus", "Content-Length: +0\r\n", "INNER"),
	smuggle("smuggle-length-hexadecimal", "Content-Length: 0x0\r\n", "INNER"),
	smuggle("smuggle-length-blank", "Content-Length: \r\n", "INNER"),
	smuggle("smuggle-length-huge", "Content-Length: 18446744073709551616\r\n", "INNER"),
	smuggle("smuggle-chunked-twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nINNER"),
	smuggle("smuggle-chunked-identity", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\nINNER"),
	smuggle("smuggle-xchunked", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\nINNER"),
	smuggle("smuggle-chunked-with-a-tab", "Transfer-Encoding:\tchunked\r\nContent-Length: 3\r\n", "0\r\n\r\nINNER"),
	smuggle("smuggle-chunked-vertical-tab", "Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\nINNER"),
	smuggle("smuggle-chunked-quoted", "Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\nINNER"),
	smuggle("smuggle-blank-before-colon", "Content-Length : 0\r\nTransfer-Encoding : chunked\r\n", "0\r\n\r\nINNER"),
	smuggle("smuggle-folded", "X: y\r\n Content-Length: LENGTH\r\nContent-Length: 0\r\nTransfer-Encoding:\r\n chunked\r\n", "0\r\n\r\nINNER"),
	smuggle("smuggle-bare-line-feed", "X: y\nContent-Length: 0\r\nContent-Length: LENGTH\r\n", "INNER"),
	smuggle("smuggle-bare-carriage-return", "X: y\rContent-Length: LENGTH\r\nContent-Length: 0\r\nContent-Length: 7\r\n", "INNER"),
	smuggle("smuggle-nul-in-a-header", "X\x00: y\r\nContent-Length: 0\r\nContent-Length: LENGTH\r\n", "INNER"),
	smuggle("smuggle-underscore", "Content_Length: 0\r\nContent-Length: LENGTH\r\n", "INNER"),
	smuggle("smuggle-chunk-size-overflows", "Transfer-Encoding: chunked\r\n", "10000000000000000\r\nINNER"),
	smuggle("smuggle-chunk-size-negative", "Transfer-Encoding: chunked\r\n", "-1\r\nINNER"),
	smuggle("smuggle-chunk-size-0x", "Transfer-Encoding: chunked\r\n", "0x0\r\n\r\nINNER"),
	smuggle("smuggle-chunk-line-feed", "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "0\n\nINNER"),
	smuggle("smuggle-chunk-without-end", "Transfer-Encoding: chunked\r\n", "1\r\nxINNER"),
	smuggle("smuggle-connection-names-length", "Connection: Content-Length\r\nContent-Length: LENGTH\r\n", "INNER"),
	{name: "smuggle-body-of-a-get", send: "GET /f HTTP/1.1\r\nHost: x\r\nContent-Length: 45\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: xxxxxxxxxx\r\n\r\n", half: true, statuses: []int{400}},
	{name: "smuggle-chunks-of-a-get", send: "GET /f HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", half: true, statuses: []int{200, 400}},
	{name: "smuggle-body-of-a-head", send: "HEAD /f HTTP/1.1\r\nHost: x\r\nContent-Length: 45\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: xxxxxxxxxx\r\n\r\n", methods: []string{"HEAD"}, half: true, statuses: []int{400}},
	{name: "smuggle-body-of-a-put", send: "PUT /f HTTP/1.1\r\nHost: x\r\nContent-Length: 45\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: xxxxxxxxxx\r\n\r\n", half: true, statuses: []int{405}},
	{name: "smuggle-body-of-a-1.0-get", send: "GET /f HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 45\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: xxxxxxxxxx\r\n\r\n", half: true, statuses: []int{400}},
	{name: "smuggle-chunks-in-1.0", send: "POST /?sums HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /f HTTP/1.0\r\n\r\n", half: true, methods: []string{"POST"}},
	{name: "chunk-extensions", send: "POST /?sums HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 3000)+"\r\n\n\r\n", 200) + "0\r\n\r\n"},
	{name: "trailers", send: "POST /?sums HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: y\r\n", 10_000) + "\r\n"},
	{name: "expect-continue", send: "POST /?sums HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nf\n"},
	{name: "expect-garbage", send: request("/f", "Expect: 200-ok"), statuses: []int{200, 417}},
	{name: "header-without-colon", send: request("/f", "nothing"), statuses: []int{400}},
	{name: "header-without-name", send: request("/f", ": x"), statuses: []int{400}},
	{name: "header-first-line-folded", send: "GET /f HTTP/1.1\r\n Host: x\r\n\r\n", half: true, statuses: []int{400}},
	{name: "header-controls", send: request("/f", "X: \x00\x01\x1b[31m"), statuses: []int{400}},
	{name: "two-requests-one-cut", send: "GET /f HTTP/1.1\r\nHost: x\r\n\r\nGET /f HT", half: true, statuses: []int{200}},
	{name: "connection-garbage", send: "GET /f HTTP/1.1\r\nHost: x\r\nConnection: close, keep-alive, \x7f, upgrade\r\n\r\n", half: true},
}

// sizes are requests that are large.
var sizes = []client{
	{name: "header-of-100-kib", send: request("/f", "X: "+strings.Repeat("x", 100<<10)), statuses: []int{431}},
	{name: "header-of-10-mib", send: request("/f", "X: "+strings.Repeat("x", 10<<20)), statuses: []int{431}},
	{name: "headers-100000", send: request("/f", strings.Repeat("X: y\r\n", 100_000)), statuses: []int{431}},
	{name: "header-name-of-60-kib", send: request("/f", strings.Repeat("x", 60<<10)+": y"), statuses: []int{200, 400, 431}},
	{name: "request-line-without-end", send: "GET /" + strings.Repeat("x", 10<<20), half: true, statuses: []int{400, 414, 431}},
	{name: "cookies", send: request("/f", strings.Repeat("Cookie: a=b\r\n", 3000)), statuses: []int{200, 431}},
	{name: "body-of-a-get", send: "GET /f HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat("x", 1<<20), half: true, statuses: []int{400}},
	{name: "body-of-a-put", send: "PUT /f HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat("x", 1<<20), half: true, statuses: []int{405}},
	{name: "body-that-is-not-sent", send: "POST /?tar HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775807\r\n\r\n", half: true},
	{name: "pipeline-of-20000", send: strings.Repeat("GET /f HTTP/1.1\r\nHost: x\r\n\r\n", 20_000), half: true, statuses: []int{200}, most: 32 << 20},
	{name: "pipeline-of-listings", send: strings.Repeat("GET /many/?txt HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n", 40), half: true, statuses: []int{200}, most: 64 << 20},
}

// conditions are headers with which an answer costs more than it should.
var conditions = []client{
	ranged("range-1000", strings.TrimSuffix(strings.Repeat("0-0,", 1000), ",")),
	ranged("range-10000-overlap", strings.TrimSuffix(strings.Repeat("0-,", 10_000), ",")),
	ranged("range-backwards", "5-1"),
	ranged("range-huge", "0-99999999999999999999"),
	ranged("range-beyond", "99999999999-"),
	ranged("range-overflow", "9223372036854775807-9223372036854775807"),
	ranged("range-negative", "--5"),
	ranged("range-suffix-zero", "-0"),
	ranged("range-suffix-huge", "-9223372036854775808"),
	ranged("range-two", "0-1,3-4"),
	ranged("range-garbage", "x-y,\x80"),
	ranged("range-empty", ",,,,"),
	{name: "range-of-a-listing", send: request("/?txt", "Range: bytes=0-5"), statuses: []int{200}},
	{name: "range-of-an-archive", send: request("/d/?tar", "Range: bytes=0-5"), statuses: []int{200}},
	{name: "range-in-other-units", send: request("/f", "Range: pages=1-2"), statuses: []int{200}},
	{name: "range-if-range-weak", send: request("/f", "Range: bytes=0-1", `If-Range: W/"x"`), statuses: []int{200}},
	{name: "range-if-range-garbage", send: request("/f", "Range: bytes=0-1", "If-Range: \x80"), statuses: []int{200}},
	{name: "if-none-match-60-kib", send: request("/?txt", "If-None-Match: "+strings.Repeat(`"x",`, 15_000)), statuses: []int{200, 431}},
	{name: "if-none-match-open", send: request("/?txt", `If-None-Match: "`+strings.Repeat("x", 10_000)), statuses: []int{200}},
	{name: "if-none-match-weak-again-and-again", send: request("/f", "If-None-Match: "+strings.Repeat("W/", 10_000)), statuses: []int{200}},
	{name: "if-match-60-kib", send: request("/f", "If-Match: "+strings.Repeat(`"x",`, 15_000)), statuses: []int{412, 431}},
	{name: "if-match-weak", send: request("/f", `If-Match: W/"x"`), statuses: []int{412}},
	{name: "if-modified-since-garbage", send: request("/f", "If-Modified-Since: \x80\x81"), statuses: []int{200}},
	{name: "if-modified-since-far", send: request("/f", "If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT"), statuses: []int{200, 304}},
	{name: "if-unmodified-since-1970", send: request("/f", "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"), statuses: []int{200, 412}},
	{name: "accept-60-kib", send: request("/", "Accept: "+strings.Repeat("a/b;q=0.1,", 6000)), statuses: []int{200, 406}},
	{name: "accept-qualities", send: request("/", "Accept: text/plain;q=1e999, text/html;q=-1, application/json;q=NaN;q=2"), statuses: []int{200, 406}},
	{name: "accept-garbage", send: request("/", "Accept: \x80/;;;=,,,"), statuses: []int{200, 406}},
	{name: "accept-encoding-60-kib", send: request("/?txt", "Accept-Encoding: "+strings.Repeat("gzip;q=0.1,", 5000)), statuses: []int{200}},
	{name: "accept-encoding-qualities", send: request("/?txt", "Accept-Encoding: gzip;q=1e999, identity;q=0, *;q=0"), statuses: []int{200, 406}},
	{name: "user-agent-60-kib", send: request("/", "User-Agent: curl/"+strings.Repeat("x", 60<<10)), statuses: []int{200}},
	{name: "user-agent-colours", send: request("/", "User-Agent: \xc2\x9b31m"), statuses: []int{200}},
	{name: "forwarded", send: request("/.secret", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1"), statuses: nowhere},
}

// ranged is an attack by ranges of a large file: never more of it than there is.
func ranged(name, ranges string) client {
	return client{name: name, send: request("/big", "Range: bytes="+ranges), statuses: []int{200, 206, 416, 431}, most: 17 << 20}
}
