package mirror

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// fetch implements source: small files in one tar stream, what that leaves out
// and large ones by a GET each.
func (s *httpSource) fetch(ctx context.Context, want []wanted, put putFunc) []error {
	errs := make([]error, len(want))
	got := make([]bool, len(want))
	if len(want) > 1 {
		s.bulk(ctx, want, put, errs, got)
	}
	var rest []wanted
	var index []int
	for i := range want {
		if !got[i] {
			rest, index = append(rest, want[i]), append(index, i)
		}
	}
	single := oneByOne(ctx, rest, func(i int, f opened) error { return put(index[i], f) },
		func(ctx context.Context, e wanted, d demand) (opened, error) { return s.open(ctx, e, d) })
	for i, err := range single {
		errs[index[i]] = err
	}
	return errs
}

// open asks for one file: as listed by If-Match with the ETag that the listing
// implies; as found by that of a HEAD; as is without.
func (s *httpSource) open(ctx context.Context, e wanted, d demand) (opened, error) {
	r := request{path: escapePath(e.path), header: map[string]string{}, plain: true}
	switch d {
	case asListed:
		if e.Has&mtree.HasCTime != 0 {
			r.header["If-Match"] = fileTag(e.Entry)
		}
		if sec, _ := e.MTime.Unix(); e.unless {
			r.header["If-Modified-Since"] = time.Unix(sec, 0).UTC().Format(http.TimeFormat)
		}
	case asFound:
		ask := r
		ask.method = http.MethodHead
		resp, err := s.do(ctx, ask)
		if err != nil {
			return opened{}, err
		}
		_ = resp.Body.Close()
		if tag := resp.Header.Get("ETag"); strings.HasPrefix(tag, `"`) {
			r.header["If-Match"] = tag
		}
	}
	var have int64
	if e.part != nil && e.Has&mtree.HasCTime != 0 && r.header["If-Match"] == fileTag(e.Entry) {
		if have = e.part(); have > 0 && have < e.Size {
			r.header["Range"] = "bytes=" + strconv.FormatInt(have, 10) + "-"
		}
	}
	resp, err := s.do(ctx, r)
	if err == nil && resp.StatusCode == http.StatusPartialContent {
		f, ok := continued(resp, &e, have)
		if ok {
			return f, nil
		}
		_ = resp.Body.Close()
		delete(r.header, "Range") // somebody in between has altered it: from the beginning
		resp, err = s.do(ctx, r)
	}
	if err != nil {
		return opened{}, err
	}
	if resp.StatusCode == http.StatusNotModified {
		_ = resp.Body.Close()
		return opened{}, errSame
	}
	f, err := described(resp, &e)
	if err != nil {
		_ = resp.Body.Close()
		return opened{}, err
	}
	if d == asIs {
		body := f.body.(*wholeBody)
		body.cut = func() error { return s.whyCut(ctx, r, resp, &e, body.got) }
		f.got.Size = -1 // what is read
	}
	return f, nil
}

// whyCut says why an answer ended after so many bytes, before its time: io.EOF if
// the file has shrunk to that, errChanging if it is another one by now, else
// errMoved: it may be the connection.
func (s *httpSource) whyCut(ctx context.Context, r request, was *http.Response, e *wanted, got int64) error {
	r.method = http.MethodHead
	resp, err := s.do(ctx, r)
	if err != nil {
		return errMoved
	}
	_ = resp.Body.Close()
	now, ok := parseFileTag(resp.Header.Get("ETag"), e.Entry)
	changed := ok && resp.Header.Get("ETag") != was.Header.Get("ETag")
	if e.vague != nil {
		date, err := http.ParseTime(resp.Header.Get("Last-Modified"))
		now.Size, changed = resp.ContentLength, err == nil && !e.mayBeOf(date)
	}
	switch {
	case changed && now.Size >= 0 && now.Size <= got:
		return io.EOF
	case changed:
		return fmt.Errorf("%w: %w", errMoved, errChanging)
	}
	return errMoved
}

// continued is the rest of a file of which the first bytes are there. It is the
// file that was listed: the request said If-Match. It is none if the answer does
// not say that it is that rest.
func continued(resp *http.Response, e *wanted, have int64) (f opened, ok bool) {
	from, to, size := int64(-1), int64(-1), int64(-1)
	_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size)
	if err != nil || size != e.Size || to != size-1 || from != have || resp.Header.Get("ETag") != fileTag(e.Entry) {
		return f, false
	}
	rest := size - from
	return opened{
		got: *e.Entry, from: from,
		body: &wholeBody{ReadCloser: resp.Body, low: rest, high: rest}, done: func() { _ = resp.Body.Close() },
	}, true
}

// fileTag is the ETag that serve gives a file with this entry.
func fileTag(e *mtree.Entry) string {
	b := append(e.MTime.Append([]byte{'"'}), '-')
	b = append(strconv.AppendInt(b, e.Size, 10), '-')
	return string(append(e.CTime.Append(b), '"'))
}

// described returns the file that an answer brings. However the answer is framed,
// its length is one that somebody vouches for: the ETag of serve, the listing, or
// at least the frame. What arrives in another length is an error when it is read.
func described(resp *http.Response, e *wanted) (f opened, err error) {
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return f, fmt.Errorf("GET %s: content coding %.40q was not asked for", resp.Request.URL.Redacted(), coding)
	}
	body := &wholeBody{ReadCloser: resp.Body}
	f = opened{body: body, done: func() { _ = resp.Body.Close() }}
	got, ok := parseFileTag(resp.Header.Get("ETag"), e.Entry)
	if !ok || e.vague != nil {
		got, err = untagged(resp, e, body)
	} else if body.low, body.high = got.Size, got.Size; resp.ContentLength >= 0 && resp.ContentLength != got.Size {
		err = fmt.Errorf("GET %s: Content-Length %d of a file of %d bytes", resp.Request.URL.Redacted(), resp.ContentLength, got.Size)
	}
	f.got = got
	return f, err
}

// untagged describes what comes without the ETag of serve, and bounds its body.
func untagged(resp *http.Response, e *wanted, body *wholeBody) (mtree.Entry, error) {
	got := *e.Entry
	got.Has &^= mtree.HasCTime
	modified, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if !mayBeFile(e, resp.ContentLength, modified) {
		return got, fmt.Errorf("GET %s: something else answers: neither ETag nor date of a file, %d bytes", resp.Request.URL.Redacted(), resp.ContentLength)
	}
	if g := e.vague; g != nil && g.step > 0 {
		if got.MTime = g.utc(); err == nil {
			g.zones.learn(g, mtree.FromTime(modified))
		}
	}
	// Of ours it is the second that was listed, or none: then it is that file.
	if err == nil && e.vague != nil && (e.vague.step != 1 || got.MTime.Floor(time.Second) != mtree.FromTime(modified)) {
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
func (w *wanted) sizes() (low, high int64) {
	if w.vague != nil {
		return w.vague.low, w.vague.high
	}
	return w.Size, w.Size
}

// mayBeOf reports whether a date, zero if there is none, may be that of the file
// as it was listed by another server.
func (w *wanted) mayBeOf(date time.Time) bool {
	return date.IsZero() || w.vague == nil || w.vague.fits(w.vague.listed, mtree.FromTime(date), -1)
}

// mayBeFile reports whether an answer without the ETag of serve may be a file of
// the source at all, and not the page of a portal or a proxy: of ours only one of
// the size and date that were listed, if somebody took the ETag away; of another
// server one with a date, or of a size that was listed. The date is zero if there
// is none.
func mayBeFile(e *wanted, size int64, date time.Time) bool {
	if e.vague == nil {
		listed, _ := e.MTime.Unix()
		return (size < 0 || size == e.Size) && (date.IsZero() && e.Has&mtree.HasCTime == 0 || date.Unix() == listed)
	}
	return !date.IsZero() || e.vague.high < 0 || size < 0 || size >= e.vague.low && size <= e.vague.high
}

// parseFileTag is the inverse of fileTag.
func parseFileTag(tag string, e *mtree.Entry) (got mtree.Entry, ok bool) {
	tag = strings.Trim(tag, `"`)
	negative := strings.HasPrefix(tag, "-")
	mtime, rest, ok1 := strings.Cut(strings.TrimPrefix(tag, "-"), "-")
	size, ctime, ok2 := strings.Cut(rest, "-")
	if negative {
		mtime = "-" + mtime
	}
	got = *e
	var err1, err2, err3 error
	got.MTime, err1 = mtree.ParseStamp(mtime)
	got.Size, err2 = strconv.ParseInt(size, 10, 64)
	got.CTime, err3 = mtree.ParseStamp(ctime)
	got.Has |= mtree.HasCTime
	return got, ok1 && ok2 && errors.Join(err1, err2, err3) == nil && got.Size >= 0 && strings.Contains(ctime, ".")
}

// wholeBody reads a body whose length is known, or bounded. One that breaks off
// may have done so because the file changed.
type wholeBody struct {
	io.ReadCloser
	low, high int64 // bounds of its length; high < 0: none
	got       int64
	cut       func() error // why it ends before its time; nil: errMoved
}

func (b *wholeBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	b.got += int64(n)
	switch {
	case b.high >= 0 && b.got > b.high:
		return 0, fmt.Errorf("%w: more bytes than announced", errMoved)
	case (err == io.EOF && b.got < b.low || err != nil && err != io.EOF) && b.cut != nil:
		return n, b.cut()
	case err == io.EOF && b.got < b.low, err != nil && err != io.EOF:
		return n, fmt.Errorf("%w: %w", errMoved, io.ErrUnexpectedEOF)
	}
	return n, err
}

// maxBulk is the largest file worth asking for in bulk; serve gives up to 1 MiB.
const maxBulk = 1 << 20

// bulk asks for small files in one tar stream and marks those that came as
// listed. Whatever goes wrong with it is left to single requests.
func (s *httpSource) bulk(ctx context.Context, want []wanted, put putFunc, errs []error, got []bool) {
	index := make(map[string]int, len(want))
	var body strings.Builder
	for i, e := range want {
		if e.Size <= maxBulk && e.Has&mtree.HasCTime != 0 {
			index[e.path] = i
			body.WriteString(mtree.EscapeName(e.path) + "\n")
		}
	}
	if len(index) < 2 {
		return
	}
	resp, err := s.post(ctx, request{query: "tar", body: body.String()})
	if err != nil {
		return
	}
	defer resp.Body.Close()
	archive := newTarStream(resp.Body)
	defer archive.close()
	left := len(index) + 100 // files to be looked at
	for {
		f, err := archive.next()
		if err != nil {
			return
		}
		if left--; left < 0 {
			return // more than was asked for: it may have no end
		}
		i, ok := index[string(f.name)]
		if !ok || got[i] {
			continue // not asked for, or given already: not looked at
		}
		e := *want[i].Entry
		e.Size, e.MTime, e.CTime = f.size, f.mtime, f.ctime
		if !sameFile(want[i].Entry, &e) {
			continue
		}
		if err := put(i, opened{got: e, body: archive}); err != nil && !replica.IsLocal(err) {
			return
		} else {
			errs[i], got[i] = err, true
		}
	}
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

// sumsAtOnce bounds the paths of one request.
const sumsAtOnce = 10_000

// sums implements source: by lists of sha256sum(1), or where no POST goes through
// by reading the files.
func (s *httpSource) sums(ctx context.Context, paths []string) (map[string]summed, error) {
	all := make(map[string]summed, len(paths))
	for len(paths) > 0 {
		some := paths[:min(len(paths), sumsAtOnce)]
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

func (s *httpSource) sumsOf(ctx context.Context, paths []string, into map[string]summed) error {
	var body strings.Builder
	for _, path := range paths {
		body.WriteString(mtree.EscapeName(path) + "\n")
	}
	resp, err := s.post(ctx, request{query: "sums&tags", body: body.String(), patient: true})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := readSums(resp.Body, paths, into); err != nil {
		return fmt.Errorf("POST %s: %w", resp.Request.URL.Redacted(), err)
	}
	return nil
}

// sumEach reads the files themselves. As in the answer to a POST, one that is
// gone, may not be read or changes meanwhile has no sum.
func (s *httpSource) sumEach(ctx context.Context, paths []string, into map[string]summed) error {
	for _, path := range paths {
		got, err := s.sumOf(ctx, path)
		switch {
		case err == nil:
			into[path] = got
		case errors.Is(err, errMoved), errors.Is(err, errGone), errors.Is(err, errDenied):
		default:
			return err
		}
	}
	return nil
}

// sumOf reads a file whose whole length is told, and hashes it.
func (s *httpSource) sumOf(ctx context.Context, path string) (got summed, err error) {
	resp, err := s.do(ctx, request{path: escapePath(path), plain: true})
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	size := resp.ContentLength
	if got.file, got.told = parseFileTag(resp.Header.Get("ETag"), &mtree.Entry{}); got.told {
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
	got.sum = sum(hash.Sum(nil))
	return got, nil
}

// readSums reads lines of sha256sum(1), at most one for each of the paths, each
// behind a comment with the ETag of the file that was hashed, if the server knows
// &tags.
func readSums(in io.Reader, paths []string, into map[string]summed) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<10)
	var one summed
	for n, tags := 0, 0; lines.Scan(); {
		if tag, is := strings.CutPrefix(lines.Text(), "# "); is && tags <= n {
			one.file, one.told = parseFileTag(tag, &mtree.Entry{})
			tags++
			continue
		}
		if n++; n > len(paths) {
			return fmt.Errorf("more sums than files were asked for: %d", n)
		}
		line, escaped := strings.CutPrefix(lines.Text(), `\`)
		digits, name, ok := strings.Cut(line, "  ")
		raw, err := hex.DecodeString(digits)
		if !ok || err != nil || len(raw) != len(sum{}) {
			return fmt.Errorf("not a line of sha256sum: %.100q", line)
		}
		if escaped {
			name = sumEscapes.Replace(name)
		}
		one.sum = sum(raw)
		into[name] = one
		one = summed{}
	}
	return lines.Err()
}

var sumEscapes = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")
