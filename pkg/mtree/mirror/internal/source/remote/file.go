package remote

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/autoindex"
	"tidemark/pkg/mtree/wire"
)

// Fetch yields files: small ones in one tar stream; large ones, and what the stream
// left out, with one GET each. See package source.
func (s *Source) Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File] {
	return func(yield func(int, source.File) bool) {
		done := make([]bool, len(want))
		if len(want) > 1 && !s.bulk(ctx, want, done, yield) {
			return
		}
		source.EachFile(ctx, want, done, s.open, yield)
	}
}

// open asks for one file. Which version, If-Match says: the one that was listed, by the
// ETag that follows from the listing; the present one, by the ETag that a HEAD returns;
// or whatever is there, without If-Match.
func (s *Source) open(ctx context.Context, e *source.Wanted, d source.Demand) (source.File, error) {
	r := request{path: wire.URLPath(e.Path), header: map[string]string{}, plain: true}
	switch d {
	case source.AsListed:
		if e.Has&mtree.HasCTime != 0 {
			r.header["If-Match"] = wire.FileTagOf(e.Entry).String()
		}
		if sec, _ := e.MTime.Unix(); e.Approx.IfModified(e.Name) {
			r.header["If-Modified-Since"] = time.Unix(sec, 0).UTC().Format(http.TimeFormat)
		}
	case source.AsFound:
		ask := r
		ask.method = http.MethodHead
		resp, err := s.do(ctx, ask)
		if err != nil {
			return source.File{}, err
		}
		_ = resp.Body.Close()
		if tag := resp.Header.Get("ETag"); strings.HasPrefix(tag, `"`) {
			r.header["If-Match"] = tag
		}
	}
	var have int64
	if e.Kept != nil && e.Has&mtree.HasCTime != 0 && r.header["If-Match"] == wire.FileTagOf(e.Entry).String() {
		if have = e.Kept(); have > 0 && have < e.Size {
			r.header["Range"] = "bytes=" + strconv.FormatInt(have, 10) + "-"
		}
	}
	resp, err := s.do(ctx, r)
	if err == nil && resp.StatusCode == http.StatusPartialContent {
		f, ok := continued(resp, e, have)
		if ok {
			return f, nil
		}
		_ = resp.Body.Close()
		delete(r.header, "Range") // somebody in between has altered it: from the beginning
		resp, err = s.do(ctx, r)
	}
	if err != nil {
		return source.File{}, err
	}
	if resp.StatusCode == http.StatusNotModified {
		_ = resp.Body.Close()
		return source.File{}, source.ErrSame
	}
	f, body, err := described(resp, e)
	if err != nil {
		_ = resp.Body.Close()
		return source.File{}, err
	}
	if d == source.AsIs {
		body.cut = func() error { return s.whyCut(ctx, r, resp, e, body.got) }
		f.Got.Size = -1 // what is read
	}
	return f, nil
}

// whyCut says why an answer ended after so many bytes, before its time: io.EOF if
// the file has shrunk to that, source.ErrChanging if it is another one by now, else
// source.ErrMoved: it may be the connection.
func (s *Source) whyCut(ctx context.Context, r request, was *http.Response, e *source.Wanted, got int64) error {
	r.method = http.MethodHead
	resp, err := s.do(ctx, r)
	if err != nil {
		return source.ErrMoved
	}
	_ = resp.Body.Close()
	now, ok := tagged(resp.Header.Get("ETag"), e.Entry)
	changed := ok && resp.Header.Get("ETag") != was.Header.Get("ETag")
	if b, approx := e.Approx.Of(e.Name); approx {
		date, err := http.ParseTime(resp.Header.Get("Last-Modified"))
		now.Size, changed = resp.ContentLength, err == nil && !mayBeOf(&b, date)
	}
	switch {
	case changed && now.Size >= 0 && now.Size <= got:
		return io.EOF
	case changed:
		return fmt.Errorf("%w: %w", source.ErrMoved, source.ErrChanging)
	}
	return source.ErrMoved
}

// continued returns the rest of a file of which the caller has the first bytes. It is
// of the version that was listed, for the request said If-Match. ok is false if the
// answer does not say that it is that rest.
func continued(resp *http.Response, e *source.Wanted, have int64) (f source.File, ok bool) {
	from, to, size := int64(-1), int64(-1), int64(-1)
	_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size)
	if err != nil || size != e.Size || to != size-1 || from != have || resp.Header.Get("ETag") != wire.FileTagOf(e.Entry).String() {
		return f, false
	}
	rest := size - from
	body := &wholeBody{ReadCloser: resp.Body, low: rest, high: rest}
	return source.File{Got: *e.Entry, From: from, Body: body, Failed: &body.failed, Close: body.close}, true
}

// described returns the file that an answer brings, and the reader of its body. However
// the answer is framed, something says how long the file is: the ETag of serve, the
// listing, or at least the frame. A body of another length fails when it is read.
func described(resp *http.Response, e *source.Wanted) (f source.File, body *wholeBody, err error) {
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return f, nil, fmt.Errorf("GET %s: content coding %.40q was not asked for", resp.Request.URL.Redacted(), coding)
	}
	body = &wholeBody{ReadCloser: resp.Body}
	f = source.File{Body: body, Failed: &body.failed, Close: body.close}
	got, ok := tagged(resp.Header.Get("ETag"), e.Entry)
	if _, approx := e.Approx.Of(e.Name); !ok || approx {
		got, err = untagged(resp, e, body)
	} else if body.low, body.high = got.Size, got.Size; resp.ContentLength >= 0 && resp.ContentLength != got.Size {
		err = fmt.Errorf("GET %s: Content-Length %d of a file of %d bytes", resp.Request.URL.Redacted(), resp.ContentLength, got.Size)
	}
	f.Got = got
	return f, body, err
}

// untagged describes a file that comes without the ETag of serve, and bounds its body.
func untagged(resp *http.Response, e *source.Wanted, body *wholeBody) (mtree.Entry, error) {
	got := *e.Entry
	got.Has &^= mtree.HasCTime
	modified, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if !mayBeFile(e, resp.ContentLength, modified) {
		return got, fmt.Errorf("GET %s: something else answers: neither ETag nor date of a file, %d bytes", resp.Request.URL.Redacted(), resp.ContentLength)
	}
	b, approx := e.Approx.Of(e.Name)
	if approx && b.Step > 0 {
		if got.MTime = b.UTC(); err == nil {
			b.Learn(mtree.FromTime(modified))
		}
	}
	// The answer of a serve whose ETag was taken away has the second that was listed, or
	// no date at all: then it is that file.
	if err == nil && approx && (b.Step != 1 || got.MTime.Floor(time.Second) != mtree.FromTime(modified)) {
		got.MTime = mtree.FromTime(modified)
	}
	got.Size, body.low, body.high = resp.ContentLength, resp.ContentLength, resp.ContentLength
	low, high := e.Size, e.Size
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

// unbounded is the error of an answer that ends with its connection.
func unbounded(resp *http.Response) error {
	return fmt.Errorf("GET %s: nothing tells how long it is, and so whether it is whole", resp.Request.URL.Redacted())
}

// mayBeOf reports whether a date may be that of a file in the listing of another server.
// A zero date is none, and may.
func mayBeOf(b *autoindex.Bounds, date time.Time) bool {
	return date.IsZero() || b.Fits(mtree.FromTime(date), -1)
}

// mayBeFile reports whether an answer without the ETag of serve may be a file at all, and
// not the page of a portal or a proxy. A file of serve whose ETag was taken away has the
// size and the date that were listed. A file of another server has a date, or a size that
// was listed. A zero date is none.
func mayBeFile(e *source.Wanted, size int64, date time.Time) bool {
	b, approx := e.Approx.Of(e.Name)
	if !approx {
		listed, _ := e.MTime.Unix()
		return (size < 0 || size == e.Size) && (date.IsZero() && e.Has&mtree.HasCTime == 0 || date.Unix() == listed)
	}
	return !date.IsZero() || b.High < 0 || size < 0 || size >= b.Low && size <= b.High
}

// tagged returns the entry of the file that an ETag of serve names. What the ETag does
// not say is as in e.
func tagged(tag string, e *mtree.Entry) (got mtree.Entry, ok bool) {
	got = *e
	t, ok := wire.ParseFileTag(tag)
	if ok {
		got.MTime, got.Size, got.CTime = t.MTime, t.Size, t.CTime
		got.Has |= mtree.HasCTime
	}
	return got, ok
}
