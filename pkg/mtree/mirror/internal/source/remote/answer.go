package remote

import (
	"fmt"
	"net/http"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/autoindex"
	"tidemark/pkg/mtree/wire"
)

// restOf returns the rest of a file whose first bytes the caller has. It is of the
// version that was listed, because the request had If-Match. ok is false unless the
// answer says that it is that rest.
func restOf(resp *http.Response, w *source.Wanted, kept int64) (f source.Opened, ok bool) {
	from, rest, size, ok := wire.ParseContentRange(resp.Header.Get("Content-Range"))
	if !ok || size != w.Size || from+rest != size || from != kept || resp.Header.Get("ETag") != wire.FileTagOf(w.Entry).String() {
		return f, false
	}
	if codingOf(resp) != "" || resp.ContentLength >= 0 && resp.ContentLength != rest { // guard: TestARestInACoding
		return f, false
	}
	body := &wholeBody{ReadCloser: resp.Body, low: rest, high: rest}
	return opened(body, *w.Entry, from), true
}

// codingOf returns the content coding of a file, which was not asked for; "" if it has none.
func codingOf(resp *http.Response) string {
	if coding := resp.Header.Get("Content-Encoding"); coding != "identity" {
		return coding
	}
	return ""
}

// fileOf returns the file that an answer brings, and the reader of its body. Its length
// is known from the ETag of serve, from the listing, or at least from the framing of the
// answer. A body of another length fails when it is read.
func fileOf(resp *http.Response, w *source.Wanted) (f source.Opened, body *wholeBody, err error) {
	if coding := codingOf(resp); coding != "" {
		return f, nil, fmt.Errorf("GET %s: content coding %.40q was not asked for", resp.Request.URL.Redacted(), coding)
	}
	body = &wholeBody{ReadCloser: resp.Body}
	got, ok := tagged(resp.Header.Get("ETag"), w.Entry)
	if _, approx := w.Approx.Of(w.Name); !ok || approx {
		got, err = untagged(resp, w, body)
	} else if body.low, body.high = got.Size, got.Size; resp.ContentLength >= 0 && resp.ContentLength != got.Size {
		err = fmt.Errorf("GET %s: Content-Length %d of a file of %d bytes", resp.Request.URL.Redacted(), resp.ContentLength, got.Size)
	}
	return opened(body, got, 0), body, err
}

// opened is the file that got describes, read from body.
func opened(body *wholeBody, got mtree.Entry, from int64) source.Opened {
	return source.Opened{File: source.File{Got: got, From: from, Body: body}, Failed: &body.failed, Close: body.close}
}

// untagged describes a file that comes without the ETag of serve, and bounds its body.
func untagged(resp *http.Response, w *source.Wanted, body *wholeBody) (mtree.Entry, error) {
	got := *w.Entry
	got.Has &^= mtree.HasCTime
	modified, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if !mayBeFile(w, resp.ContentLength, modified) && !(isHeldBack(resp, w, modified) && mayBeFile(w, resp.ContentLength, listedDate(w))) {
		return got, fmt.Errorf("GET %s: something else answers: neither ETag nor date of a file, %d bytes", resp.Request.URL.Redacted(), resp.ContentLength)
	}
	b, approx := w.Approx.Of(w.Name)
	if approx && b.Step > 0 {
		if got.MTime = b.UTC(); err == nil {
			b.Learn(mtree.FromTime(modified))
		}
	}
	// If a proxy removed the ETag of serve, the answer has the listed second as its date,
	// or no date at all: then it is the listed file.
	if err == nil && approx && (b.Step != 1 || got.MTime.Floor(time.Second) != mtree.FromTime(modified)) {
		got.MTime = mtree.FromTime(modified)
	}
	got.Size, body.low, body.high = resp.ContentLength, resp.ContentLength, resp.ContentLength
	low, high := w.Size, w.Size
	if approx {
		low, high = b.Low, b.High
	}
	switch {
	case got.Size < 0 && low == high:
		got.Size, body.low, body.high = low, low, low
	case got.Size < 0 && len(resp.TransferEncoding) == 0 && resp.ProtoMajor < 2:
		return got, unbounded(resp)
	case got.Size < 0:
		body.low, body.high = low, high
	case (got.Size < low || high >= 0 && got.Size > high) && (!approx || mayBeOf(&b, modified)):
		return got, fmt.Errorf("GET %s: %d bytes, and the time of a file of another size", resp.Request.URL.Redacted(), got.Size)
	}
	return got, nil
}

// unbounded returns the error for an answer that ends with its connection.
func unbounded(resp *http.Response) error {
	return fmt.Errorf("GET %s: nothing tells how long it is, and so whether it is whole", resp.Request.URL.Redacted())
}

// mayBeOf reports whether a date may be that of a file in the listing of another server.
// A zero date means that there is none; then it may.
func mayBeOf(b *autoindex.Bounds, date time.Time) bool {
	return date.IsZero() || b.Fits(mtree.FromTime(date), -1)
}

// mayBeFile reports whether an answer without the ETag of serve may be a file at all, and
// not the page of a portal or a proxy. A file of serve without its ETag, which a proxy
// removed, has the listed size and date. A file of another server has a date, or a size
// that fits the listing. A zero date means that there is none.
func mayBeFile(w *source.Wanted, size int64, date time.Time) bool {
	b, approx := w.Approx.Of(w.Name)
	if !approx {
		listed, _ := w.MTime.Unix()
		return (size < 0 || size == w.Size) && (date.IsZero() && w.Has&mtree.HasCTime == 0 || date.Unix() == listed)
	}
	return !date.IsZero() || b.High < 0 || size < 0 || size >= b.Low && size <= b.High
}

// isHeldBack reports whether the date of a file is the one that serve sends while the second of its
// mtime may not be over: that of a second or two before the answer.
func isHeldBack(resp *http.Response, w *source.Wanted, date time.Time) bool {
	sent, err := http.ParseTime(resp.Header.Get("Date"))
	before := sent.Unix() - date.Unix()
	return err == nil && isServe(resp) && date.Before(listedDate(w)) && (before == 1 || before == 2)
}

// listedDate is the mtime of the listed file in whole seconds.
func listedDate(w *source.Wanted) time.Time {
	sec, _ := w.MTime.Unix()
	return time.Unix(sec, 0)
}

// tagged returns the entry of the file that an ETag of serve names. What the ETag does
// not say is taken from e.
func tagged(tag string, e *mtree.Entry) (got mtree.Entry, ok bool) {
	got = *e
	t, ok := wire.ParseFileTag(tag)
	if ok {
		got.MTime, got.Size, got.CTime = t.MTime, t.Size, t.CTime
		got.Has |= mtree.HasCTime
	}
	return got, ok
}
