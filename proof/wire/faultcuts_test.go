package wire

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Answers that end early, or do not come.

// cuts are breaks at a byte of the answer.
var cuts = slices.Concat(
	[]fault{
		{name: "late", make: func(ex *exchange) reply {
			r := ex.as(ex.answer)
			r.pause = 30 * time.Millisecond
			return r
		}},
		{name: "hang", make: func(*exchange) reply { return reply{end: hang} }, only: []string{isListing, isFile, isHead, isTar, isNews}},
		{name: "hang-head", make: upTo(hang, inHead), only: []string{isListing, isFile, isHead, isTar, isNews}},
		{name: "hang-body", make: upTo(hang, inBody), only: []string{isListing, isFile, isTar, isNews}},
	},
	cutsAt("first", func(ex *exchange, raw []byte) int { return 1 }),
	cutsAt("nothing", func(ex *exchange, raw []byte) int { return 0 }),
	cutsAt("head", inHead),
	cutsAt("head-end", func(ex *exchange, raw []byte) int { return headLength(raw) - 1 }),
	cutsAt("body-first", func(ex *exchange, raw []byte) int { return headLength(raw) }),
	cutsAt("body-second", func(ex *exchange, raw []byte) int { return min(headLength(raw)+1, len(raw)-1) }),
	cutsAt("half", inBody),
	cutsAt("last", func(ex *exchange, raw []byte) int { return len(raw) - 1 }),
	[]fault{
		{name: "chunk-size", make: cutChunked(func(raw []byte) int { return headLength(raw) + 2 })},
		{name: "chunk-after-size", make: cutChunked(func(raw []byte) int { return headLength(raw) + 5 })},
		{name: "chunk-end", make: cutChunked(func(raw []byte) int { return len(raw) - len("0\r\n\r\n") })},
		{name: "chunk-last", make: cutChunked(func(raw []byte) int { return len(raw) - 2 })},
	},
)

// spot finds the byte of a cut.
type spot = func(ex *exchange, raw []byte) int

// cutsAt are two faults: the connection is closed, and it is reset.
func cutsAt(name string, at spot) []fault {
	return []fault{{name: "cut-" + name, make: upTo(shut, at)}, {name: "reset-" + name, make: upTo(reset, at)}}
}

// upTo returns the reply that has the answer up to a byte.
func upTo(end ending, at spot) func(ex *exchange) reply {
	return func(ex *exchange) reply {
		raw := ex.answer.bytes(ex.req.Method)
		return reply{raw: raw[:max(0, at(ex, raw))], end: end}
	}
}

func headLength(raw []byte) int { return bytes.Index(raw, []byte("\r\n\r\n")) + 4 }

func inHead(_ *exchange, raw []byte) int { return headLength(raw) / 2 }
func inBody(_ *exchange, raw []byte) int { return (headLength(raw) + len(raw)) / 2 }

// cutChunked returns the reply that has the answer in chunks up to a byte.
func cutChunked(at func(raw []byte) int) func(ex *exchange) reply {
	return func(ex *exchange) reply {
		a := ex.answer.clone()
		a.chunked = true
		raw := a.bytes(ex.req.Method)
		return reply{raw: raw[:min(len(raw), at(raw))], end: shut}
	}
}

// framings are answers whose length is told otherwise, or wrongly.
var framings = []fault{
	{name: "short", blindElsewhere: true, make: body(func(b []byte) []byte { return b[:len(b)/2] })},
	{name: "short-by-one", blindElsewhere: true, make: body(func(b []byte) []byte { return b[:max(0, len(b)-1)] })},
	{name: "short-by-a-line", blindElsewhere: true, make: body(func(b []byte) []byte {
		lines := bytes.SplitAfter(b, []byte("\n"))
		return bytes.Join(lines[:max(0, len(lines)-2)], nil)
	})},
	{name: "empty", blindElsewhere: true, make: body(func([]byte) []byte { return nil })},
	{name: "padded", blindElsewhere: true, make: body(func(b []byte) []byte { return append(b, make([]byte, 100)...) })},
	{name: "injected", blindElsewhere: true, make: body(func(b []byte) []byte { return append(b, "<script src=//ads.example/x.js></script>\n"...) })},
	{name: "double-body", blindElsewhere: true, make: body(func(b []byte) []byte { return append(b, b...) })},
	{name: "double-answer", make: func(ex *exchange) reply {
		raw := ex.answer.bytes(ex.req.Method)
		return reply{raw: append(slices.Clone(raw), raw...)}
	}},
	{name: "shifted", blindElsewhere: true, otherDir: true, make: func(ex *exchange) reply {
		ex.proxy.mu.Lock()
		last := ex.proxy.last
		ex.proxy.mu.Unlock()
		if last == nil {
			last = say(200, "", "")
		}
		return ex.as(last)
	}},
	{name: "chunked", make: changed(func(a *answer) { a.chunked = true })},
	{name: "not-chunked", make: changed(func(a *answer) { a.chunked = false })},
	{name: "http-1.0", make: oldProtocol(func(b []byte) []byte { return b })},
	{name: "http-1.0-half", blindElsewhere: true, make: oldProtocol(func(b []byte) []byte { return b[:len(b)/2] })},
	{name: "http-1.0-empty", blindElsewhere: true, make: oldProtocol(func(b []byte) []byte { return nil })},
	{name: "early-hints", make: prefixed(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 4))},
	{name: "hints-flood", make: prefixed(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 4000))},
	{name: "continue", make: prefixed("HTTP/1.1 100 Continue\r\n\r\n")},
	{name: "garbage", make: func(*exchange) reply {
		return reply{raw: []byte("220 mail.example ESMTP ready\r\n"), end: shut}
	}},
	{name: "garbage-kept", make: prefixed("\x00\x15\x03\x01\r\n")},
	{name: "huge-head", make: changed(func(a *answer) { a.header.Set("X-Trace", strings.Repeat("x", 200<<10)) })},
	{name: "two-lengths", make: func(ex *exchange) reply {
		raw := ex.answer.bytes(ex.req.Method)
		return reply{raw: bytes.Replace(raw, []byte("\r\n\r\n"), fmt.Appendf(nil, "\r\nContent-Length: %d\r\n\r\n", len(ex.answer.body)+1), 1), end: shut}
	}},
	{name: "flipped", blind: true, make: body(func(b []byte) []byte {
		if len(b) > 0 {
			b[len(b)/2] ^= 1
		}
		return b
	})},
}

// body returns the reply that has another body of the length that it says.
func body(change func(b []byte) []byte) func(ex *exchange) reply {
	return changed(func(a *answer) { a.body = change(a.body) })
}

// oldProtocol returns the reply of a proxy that speaks HTTP/1.0 and ends the body with
// the connection.
func oldProtocol(change func(b []byte) []byte) func(ex *exchange) reply {
	return func(ex *exchange) reply {
		a := ex.answer.clone()
		r := reply{raw: a.head(ex.req.Method, "HTTP/1.0", -1), end: shut}
		if a.hasBody(ex.req.Method) {
			r.raw = append(r.raw, change(a.body)...)
		}
		return r
	}
}

// prefixed returns the reply that has something before the answer.
func prefixed(text string) func(ex *exchange) reply {
	return func(ex *exchange) reply {
		return reply{raw: append([]byte(text), ex.answer.bytes(ex.req.Method)...)}
	}
}
