package hostile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
)

// query is an attack by a query of the root's listing.
func query(name, text string, statuses ...int) client {
	return client{name: name, send: request("/?" + text), statuses: statuses}
}

// queries are queries that make no sense, or much work.
var queries = []client{
	query("wait-negative", "txt&wait=-1", 200, 400),
	query("wait-huge", "txt&wait=99999999999999999999", 200, 400),
	query("wait-infinite", "txt&wait=Inf", 200, 400),
	query("wait-not-a-number", "txt&wait=NaN", 200, 400),
	query("wait-exponent", "txt&wait=1e400", 200, 400),
	query("wait-hexadecimal", "txt&wait=0x1p5", 200, 400),
	query("wait-garbage", "txt&wait=%00%ff", 200, 400),
	query("wait-twice", "txt&wait=0.01&wait=45", 200),
	query("since-garbage", "txt&since=soon", 400, 410),
	query("since-empty", "txt&since=", 400, 410),
	query("since-huge", "txt&since=9223372036854775807.999999999", 400, 410),
	query("since-smallest", "txt&since=-9223372036854775808.0", 200, 410),
	query("since-overflow", "txt&since=99999999999999999999999", 400, 410),
	query("since-after-climbs", "txt&since=0&after=../../outside", 200, 400, 410),
	query("since-after-absolute", "txt&since=0&after=/etc", 200, 400, 410),
	query("since-after-marker", "txt&since=0&after=.tidemark", 200, 400, 410),
	query("since-after-nul", "txt&since=0&after=%00", 200, 400, 410),
	query("since-after-60-kib", "txt&since=0&after="+strings.Repeat("x/", 30_000), 200, 400, 410, 414, 431),
	query("since-epoch-garbage", "txt&since=0&epoch=-1", 400, 410),
	query("since-epoch-huge", "txt&since=0&epoch=99999999999999999999", 400, 410),
	query("part-garbage", "txt&since=0&part=%00", 200, 410),
	query("part-without-since", "txt&part=1", 200),
	query("part-after-climbs", "txt&since=0&part=1&after=../../outside", 200, 400, 410),
	query("part-of-all", "txt&since=-9223372036854775808.0&part=1", 200, 410),
	query("changes-garbage", "changes&after=%ff", 400),
	query("changes-after-climbs", "changes&after=../../secret", 400),
	query("changes-huge", "changes&after=0123456789abcdef.18446744073709551615&wait=0.01", 410),
	query("changes-overflow", "changes&after=0123456789abcdef.99999999999999999999", 400),
	query("changes-of-a-run-of-60-kib", "changes&after="+strings.Repeat("x", 60<<10)+".1", 400, 410, 414, 431),
	query("recent-zero", "recent=0", 400),
	query("recent-negative", "recent=-5", 400),
	query("recent-huge", "recent=1000000000000000000", 400),
	query("recent-overflow", "recent=99999999999999999999", 400),
	query("recent-garbage", "recent=all", 400),
	query("recent-1000", "recent=1000", 200, 409),
	query("formats-all", "txt&json&html&status&tar&sums&recent=1&since=0"),
	query("unknown-key", "nothing=x&%00=%00", 200),
	query("keys-10000", strings.Repeat("a=b&", 10_000), 200),
	query("keys-again-and-again", strings.Repeat("txt&", 10_000), 200),
	query("query-of-60-kib", strings.Repeat("x", 60<<10), 200, 414, 431),
	query("query-broken-escapes", "%zz=%z&%&=&&&==", 200, 400),
	query("query-climbs", "../../secret", 200),
	query("query-semicolons", "txt;wait=45;since=0", 200),
	query("token-in-the-url", "token="+secret, 200),
	query("sums-of-a-directory", "sums", 200),
	{name: "archive-of-all", send: request("/many/?tar"), statuses: []int{200}, most: 64 << 20},
	{name: "archive-of-a-link-out", send: request("/up/?tar"), statuses: nowhere},
	{name: "archive-of-the-marker", send: request("/.tidemark/?tar"), statuses: nowhere},
	{name: "sums-of-a-link-out", send: request("/up/?sums"), statuses: nowhere},
	{name: "head-of-everything", send: "HEAD /?tar HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", methods: []string{"HEAD"}},
}

// listed is an attack by a list of paths, of which nothing outside comes back.
func listed(name, paths string, headers ...string) []client {
	return []client{
		{name: name + "-tar", send: post("/?tar", paths, headers...), methods: []string{"POST"}},
		{name: name + "-sums", send: post("/?sums&tags", paths, headers...), methods: []string{"POST"}},
	}
}

// lists are bodies of POST.
var lists = join(
	listed("list-outside", "../secret\n../outside/secret\n/etc/passwd\nd/../../secret\n..%2fsecret\n%2e%2e/secret\n%2e%2e%2fsecret\n"),
	listed("list-links", "abs\nout\nup/secret\nd/out\nchain\nroot/etc/passwd\nproc\nloop\n"),
	listed("list-hidden", ".secret\n.tidemark/tree\nd/.dir/f\nprivate\nd/private\nhidden\nexcluded\nmarker/tree\n"),
	listed("list-special", "fifo\nsocket\nzero\nd\nd/\n./\n\n"),
	listed("list-odd", "f%00\nf\x00\n%\n%zz\n//f\n./f\nf/\n\r\n\xff\xfe\n f\n"),
	listed("list-without-line-end", "f\nd/x"),
	listed("list-of-a-million", strings.Repeat("f\n", 1_000_000)),
	listed("list-of-one-file-1000-times", strings.Repeat("f\n", 1000)),
	listed("list-of-a-path-of-8-mib", strings.Repeat("x/", 4<<20)+"\n"),
	listed("list-of-long-paths", strings.Repeat(strings.Repeat("d/", 2000)+"f\n", 1000)),
	listed("list-in-gzip", zippedText(strings.Repeat("f\n", 1_000_000)), "Content-Encoding: gzip"),
	listed("list-as-a-form", "f=1&d=2", "Content-Type: application/x-www-form-urlencoded"),
	listed("list-in-parts", "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../../x\"\r\n\r\nf\r\n--x--\r\n", "Content-Type: multipart/form-data; boundary=x"),
	listed("list-empty", ""),
	listed("list-with-if-headers", "f\n", "If-None-Match: *", "If-Match: \"x\"", "Range: bytes=0-1,2-3"),
	[]client{
		{name: "list-of-what", send: post("/", "f\n"), methods: []string{"POST"}, statuses: []int{400, 404, 405}},
		{name: "list-to-a-file", send: post("/f?tar", "f\n"), methods: []string{"POST"}, statuses: []int{400, 404, 405}},
		{name: "list-to-a-link-out", send: post("/up/?tar", "secret\n"), methods: []string{"POST"}, statuses: nowhere},
		{name: "list-in-chunks-without-end", send: "POST /?tar HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat(fmt.Sprintf("10000\r\n%s\r\n", strings.Repeat("f\n", 0x8000)), 300), half: true, methods: []string{"POST"}},
	},
)

func join(all ...[]client) (joined []client) {
	for _, some := range all {
		joined = append(joined, some...)
	}
	return joined
}

// zippedText is a text in gzip.
func zippedText(text string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return out.String()
}
