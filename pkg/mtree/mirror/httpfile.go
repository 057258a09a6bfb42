package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// Fetch implements source: small files in one tar stream, what that leaves out
// and large ones by a GET each.
func (s *httpSource) Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File] {
	return func(yield func(int, source.File) bool) {
		done := make([]bool, len(want))
		if len(want) > 1 && !s.bulk(ctx, want, done, yield) {
			return
		}
		oneByOne(ctx, want, done, s.open, yield)
	}
}

// open asks for one file: as listed by If-Match with the ETag that the listing
// implies; as found by that of a HEAD; as is without.
func (s *httpSource) open(ctx context.Context, e *source.Wanted, d demand) (source.File, error) {
	r := request{path: wire.URLPath(e.Path), header: map[string]string{}, plain: true}
	switch d {
	case asListed:
		if e.Has&mtree.HasCTime != 0 {
			r.header["If-Match"] = wire.FileTagOf(e.Entry).String()
		}
		if sec, _ := e.MTime.Unix(); e.Approx.ifModified(e.Name) {
			r.header["If-Modified-Since"] = time.Unix(sec, 0).UTC().Format(http.TimeFormat)
		}
	case asFound:
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
	if d == asIs {
		body.cut = func() error { return s.whyCut(ctx, r, resp, e, body.got) }
		f.Got.Size = -1 // what is read
	}
	return f, nil
}

// whyCut says why an answer ended after so many bytes, before its time: io.EOF if
// the file has shrunk to that, source.ErrChanging if it is another one by now, else
// source.ErrMoved: it may be the connection.
func (s *httpSource) whyCut(ctx context.Context, r request, was *http.Response, e *source.Wanted, got int64) error {
	r.method = http.MethodHead
	resp, err := s.do(ctx, r)
	if err != nil {
		return source.ErrMoved
	}
	_ = resp.Body.Close()
	now, ok := tagged(resp.Header.Get("ETag"), e.Entry)
	changed := ok && resp.Header.Get("ETag") != was.Header.Get("ETag")
	if _, approx := e.Approx.of(e.Name); approx {
		date, err := http.ParseTime(resp.Header.Get("Last-Modified"))
		now.Size, changed = resp.ContentLength, err == nil && !e.mayBeOf(date)
	}
	switch {
	case changed && now.Size >= 0 && now.Size <= got:
		return io.EOF
	case changed:
		return fmt.Errorf("%w: %w", source.ErrMoved, source.ErrChanging)
	}
	return source.ErrMoved
}

// continued is the rest of a file of which the first bytes are there. It is the
// file that was listed: the request said If-Match. It is none if the answer does
// not say that it is that rest.
func continued(resp *http.Response, e *source.Wanted, have int64) (f source.File, ok bool) {
	from, to, size := int64(-1), int64(-1), int64(-1)
	_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size)
	if err != nil || size != e.Size || to != size-1 || from != have || resp.Header.Get("ETag") != wire.FileTagOf(e.Entry).String() {
		return f, false
	}
	rest := size - from
	body := &wholeBody{ReadCloser: resp.Body, low: rest, high: rest}
	return source.File{Got: *e.Entry, From: from, Body: body, failed: &body.failed, close: body.close}, true
}

// described returns the file that an answer brings. However the answer is framed,
// its length is one that somebody vouches for: the ETag of serve, the listing, or
// at least the frame. What arrives in another length is an error when it is read.
func described(resp *http.Response, e *source.Wanted) (f source.File, body *wholeBody, err error) {
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return f, nil, fmt.Errorf("GET %s: content coding %.40q was not asked for", resp.Request.URL.Redacted(), coding)
	}
	body = &wholeBody{ReadCloser: resp.Body}
	f = source.File{Body: body, failed: &body.failed, close: body.close}
	got, ok := tagged(resp.Header.Get("ETag"), e.Entry)
	if _, approx := e.Approx.of(e.Name); !ok || approx {
		got, err = untagged(resp, e, body)
	} else if body.low, body.high = got.Size, got.Size; resp.ContentLength >= 0 && resp.ContentLength != got.Size {
		err = fmt.Errorf("GET %s: Content-Length %d of a file of %d bytes", resp.Request.URL.Redacted(), resp.ContentLength, got.Size)
	}
	f.Got = got
	return f, body, err
}

// untagged describes what comes without the ETag of serve, and bounds its body.
func untagged(resp *http.Response, e *source.Wanted, body *wholeBody) (mtree.Entry, error) {
	got := *e.Entry
	got.Has &^= mtree.HasCTime
	modified, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if !mayBeFile(e, resp.ContentLength, modified) {
		return got, fmt.Errorf("GET %s: something else answers: neither ETag nor date of a file, %d bytes", resp.Request.URL.Redacted(), resp.ContentLength)
	}
	g, approx := e.Approx.of(e.Name)
	if approx && g.step > 0 {
		if got.MTime = g.utc(); err == nil {
			g.zones.learn(&g, mtree.FromTime(modified))
		}
	}
	// Of ours it is the second that was listed, or none: then it is that file.
	if err == nil && approx && (g.step != 1 || got.MTime.Floor(time.Second) != mtree.FromTime(modified)) {
		got.MTime = mtree.FromTime(modified)
	}
	got.Size, body.low, body.high = resp.ContentLength, resp.ContentLength, resp.ContentLength
	low, high := e.sizes()
	switch {
	case got.Size < 0 && low == high:
		got.Size, body.low, body.high = low, low, low
	case got.Size < 0 && len(resp.TransferEncoding) == 0 && resp.ProtoMajor < 2:
		return got, unbounded(resp)
	case got.Size < 0:
		body.low, body.high = low, high
	case (got.Size < low || high >= 0 && got.Size > high) && e.mayBeOf(modified):
		return got, fmt.Errorf("GET %s: %d bytes, and the time of a file of another size", resp.Request.URL.Redacted(), got.Size)
	}
	return got, nil
}

// unbounded is the error of an answer that ends with its connection.
func unbounded(resp *http.Response) error {
	return fmt.Errorf("GET %s: nothing tells how long it is, and so whether it is whole", resp.Request.URL.Redacted())
}

// sizes returns the bounds of a file's size, as it was listed; high < 0: not told.
func (w *source.Wanted) sizes() (low, high int64) {
	if g, is := w.Approx.of(w.Name); is {
		return g.low, g.high
	}
	return w.Size, w.Size
}

// mayBeOf reports whether a date, zero if there is none, may be that of the file
// as it was listed by another server.
func (w *source.Wanted) mayBeOf(date time.Time) bool {
	g, is := w.Approx.of(w.Name)
	return !is || date.IsZero() || g.fits(g.listed, mtree.FromTime(date), -1)
}

// mayBeFile reports whether an answer without the ETag of serve may be a file of
// the source at all, and not the page of a portal or a proxy: of ours only one of
// the size and date that were listed, if somebody took the ETag away; of another
// server one with a date, or of a size that was listed. The date is zero if there
// is none.
func mayBeFile(e *source.Wanted, size int64, date time.Time) bool {
	g, is := e.Approx.of(e.Name)
	if !is {
		listed, _ := e.MTime.Unix()
		return (size < 0 || size == e.Size) && (date.IsZero() && e.Has&mtree.HasCTime == 0 || date.Unix() == listed)
	}
	return !date.IsZero() || g.high < 0 || size < 0 || size >= g.low && size <= g.high
}

// tagged returns the entry of the file that an ETag of serve names; what the ETag
// does not say is as in e.
func tagged(tag string, e *mtree.Entry) (got mtree.Entry, ok bool) {
	got = *e
	t, ok := wire.ParseFileTag(tag)
	if ok {
		got.MTime, got.Size, got.CTime = t.MTime, t.Size, t.CTime
		got.Has |= mtree.HasCTime
	}
	return got, ok
}

// wholeBody reads a body whose length is known, or bounded. One that breaks off
// may have done so because the file changed.
type wholeBody struct {
	io.ReadCloser
	low, high int64 // bounds of its length; high < 0: none
	got       int64
	cut       func() error // why it ends before its time; nil: source.ErrMoved
	failed    error        // why it ended early
}

func (b *wholeBody) close() { _ = b.ReadCloser.Close() }

func (b *wholeBody) Read(buf []byte) (int, error) {
	n, err := b.read(buf)
	if err != nil && err != io.EOF {
		b.failed = err
	}
	return n, err
}

func (b *wholeBody) read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	b.got += int64(n)
	switch {
	case b.high >= 0 && b.got > b.high:
		return 0, fmt.Errorf("%w: more bytes than announced", source.ErrMoved)
	case (err == io.EOF && b.got < b.low || err != nil && err != io.EOF) && b.cut != nil:
		return n, b.cut()
	case err == io.EOF && b.got < b.low, err != nil && err != io.EOF:
		return n, fmt.Errorf("%w: %w", source.ErrMoved, io.ErrUnexpectedEOF)
	}
	return n, err
}

// bulk asks for small files in one tar stream and marks those that came as listed, or
// that the caller did not read to their end. Whatever goes wrong with it is left to
// single requests. It reports whether the caller goes on.
func (s *httpSource) bulk(ctx context.Context, want []source.Wanted, done []bool, yield func(int, source.File) bool) bool {
	index := make(map[string]int, len(want))
	var body []byte
	for i := range want {
		if e := &want[i]; e.Size <= wire.MaxBulkFile && e.Has&mtree.HasCTime != 0 {
			index[e.Path] = i
			body = wire.AppendPathLine(body, e.Path)
		}
	}
	if len(index) < 2 {
		return true
	}
	resp, err := s.post(ctx, request{query: "tar", body: string(body)})
	if err != nil {
		return true
	}
	defer resp.Body.Close()
	archive := wire.NewTarReader(resp.Body)
	defer archive.Close()
	member := &tarBody{in: archive}
	left := len(index) + 100 // files to be looked at
	for {
		f, err := archive.Next()
		if err != nil {
			return true
		}
		if left--; left < 0 {
			return true // more than was asked for: it may have no end
		}
		i, ok := index[string(f.Name)]
		if !ok || done[i] {
			continue // not asked for, or given already: not looked at
		}
		e := *want[i].Entry
		e.Size, e.MTime, e.CTime = f.Size, f.MTime, f.CTime
		if !source.SameFile(want[i].Entry, &e) {
			continue
		}
		if !yield(i, source.File{Got: e, Body: member}) {
			return false
		}
		if member.failed != nil || ctx.Err() != nil {
			return true
		}
		done[i] = true
	}
}

// tarBody reads the present member of a stream, and keeps why that failed.
type tarBody struct {
	in     *wire.TarReader
	failed error
}

func (b *tarBody) Read(buf []byte) (int, error) {
	n, err := b.in.Read(buf)
	if err != nil && err != io.EOF {
		b.failed = err
	}
	return n, err
}

// errNoPost says that somebody between here and the source lets no POST through.
var errNoPost = errors.New("no POST goes through to the source")

// noPostFor is how long it is not tried again.
const noPostFor = time.Minute

// post posts; where that is refused everything is done by GETs for a while.
func (s *httpSource) post(ctx context.Context, r request) (*http.Response, error) {
	if time.Now().Unix() < s.noPost.Load() {
		return nil, errNoPost
	}
	r.method, r.plain = http.MethodPost, true
	resp, err := s.do(ctx, r)
	var status *statusError
	if errors.As(err, &status) && refusesPost(status) {
		s.noPost.Store(time.Now().Add(noPostFor).Unix())
		return nil, fmt.Errorf("%w: %w", errNoPost, err)
	}
	return resp, err
}

// refusesPost reports whether an answer is a proxy's that lets GET and HEAD
// through only, or no bodies of such a length, or that of a server which knows no
// POST.
func refusesPost(e *statusError) bool {
	switch e.status {
	case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	case http.StatusLengthRequired, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return true
	case http.StatusBadRequest, http.StatusNotFound:
		return e.server != ours
	}
	return false
}

// Sums implements source: by lists of sha256sum(1), or where no POST goes through
// by reading the files.
func (s *httpSource) Sums(ctx context.Context, paths []string) (map[string]source.Sum, error) {
	all := make(map[string]source.Sum, len(paths))
	for len(paths) > 0 {
		some := paths[:min(len(paths), wire.MaxPaths)]
		paths = paths[len(some):]
		err := s.sumsOf(ctx, some, all)
		if errors.Is(err, errNoPost) {
			err = s.sumEach(ctx, some, all)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s *httpSource) sumsOf(ctx context.Context, paths []string, into map[string]source.Sum) error {
	var body []byte
	for _, path := range paths {
		body = wire.AppendPathLine(body, path)
	}
	resp, err := s.post(ctx, request{query: "sums&tags", body: string(body), patient: true})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	err = wire.ReadSums(resp.Body, len(paths), func(s wire.Sum) {
		into[s.Path] = source.Sum{s.SHA256, mtree.Entry{MTime: s.Tag.MTime, Size: s.Tag.Size, CTime: s.Tag.CTime, Has: mtree.HasCTime}, s.Tagged}
	})
	if err != nil {
		return fmt.Errorf("POST %s: %w", resp.Request.URL.Redacted(), err)
	}
	return nil
}

// sumEach reads the files themselves. As in the answer to a POST, one that is
// gone, may not be read or changes meanwhile has no sum.
func (s *httpSource) sumEach(ctx context.Context, paths []string, into map[string]source.Sum) error {
	for _, path := range paths {
		got, err := s.sumOf(ctx, path)
		switch {
		case err == nil:
			into[path] = got
		case errors.Is(err, source.ErrMoved), errors.Is(err, source.ErrGone), errors.Is(err, source.ErrDenied):
		default:
			return err
		}
	}
	return nil
}

// sumOf reads a file whose whole length is told, and hashes it.
func (s *httpSource) sumOf(ctx context.Context, path string) (got source.Sum, err error) {
	resp, err := s.do(ctx, request{path: wire.URLPath(path), plain: true})
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	size := resp.ContentLength
	if got.file, got.known = tagged(resp.Header.Get("ETag"), &mtree.Entry{}); got.known {
		size = got.file.Size
	} else if resp.Header.Get("Last-Modified") == "" {
		return got, fmt.Errorf("GET %s: something else answers: neither ETag nor date of a file", resp.Request.URL.Redacted())
	}
	if size < 0 {
		return got, unbounded(resp)
	}
	hash := sha256.New()
	if _, err := copyBody(hash, &wholeBody{ReadCloser: resp.Body, low: size, high: size}); err != nil {
		return got, err
	}
	got.SHA256 = source.Digest(hash.Sum(nil))
	return got, nil
}
