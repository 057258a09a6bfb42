package mirror

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tidemark/pkg/mtree"
)

// fetch implements source: small files in one tar stream, what that leaves out
// and large ones by a GET each.
func (s *httpSource) fetch(ctx context.Context, want []wanted, put putFunc) []error {
	errs := make([]error, len(want))
	got := make([]bool, len(want))
	if s.hasTar() && len(want) > 1 {
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
	if e.part != nil && e.Has&mtree.HasCTime != 0 && r.header["If-Match"] == fileTag(e.Entry) {
		if have := e.part(); have > 0 {
			r.header["Range"] = "bytes=" + strconv.FormatInt(have, 10) + "-"
		}
	}
	resp, err := s.do(ctx, r)
	if err != nil {
		return opened{}, err
	}
	if resp.StatusCode == http.StatusPartialContent && r.header["Range"] != "" {
		return continued(resp, &e)
	}
	if resp.StatusCode == http.StatusNotModified && e.unless {
		_ = resp.Body.Close()
		return opened{}, errSame
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return opened{}, fmt.Errorf("GET %s: unexpected %s", resp.Request.URL.Redacted(), resp.Status)
	}
	got, err := described(resp, &e)
	if err != nil {
		_ = resp.Body.Close()
		return opened{}, err
	}
	f := opened{got: got, body: resp.Body, done: func() { _ = resp.Body.Close() }}
	if got.Size >= 0 {
		f.body = &wholeBody{resp.Body, got.Size}
	}
	return f, nil
}

// continued is the rest of a file of which the first bytes are there. It is the
// file that was listed: the request said If-Match.
func continued(resp *http.Response, e *wanted) (opened, error) {
	from, to, size := int64(-1), int64(-1), int64(-1)
	_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size)
	if err != nil || size != e.Size || to != size-1 || from < 0 || from > to || resp.Header.Get("ETag") != fileTag(e.Entry) {
		_ = resp.Body.Close()
		return opened{}, fmt.Errorf("GET %s: unexpected Content-Range %.60q", resp.Request.URL.Redacted(), resp.Header.Get("Content-Range"))
	}
	return opened{
		got: *e.Entry, from: from,
		body: &wholeBody{resp.Body, size - from}, done: func() { _ = resp.Body.Close() },
	}, nil
}

// fileTag is the ETag that serve gives a file with this entry.
func fileTag(e *mtree.Entry) string {
	b := append(e.MTime.Append([]byte{'"'}), '-')
	b = append(strconv.AppendInt(b, e.Size, 10), '-')
	return string(append(e.CTime.Append(b), '"'))
}

// described returns what an answer says of the file it brings.
func described(resp *http.Response, e *wanted) (mtree.Entry, error) {
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return *e.Entry, fmt.Errorf("GET %s: content coding %.40q was not asked for", resp.Request.URL.Redacted(), coding)
	}
	if got, ok := parseFileTag(resp.Header.Get("ETag"), e.Entry); ok && e.vague == nil {
		if resp.ContentLength >= 0 && resp.ContentLength != got.Size {
			return got, fmt.Errorf("GET %s: Content-Length %d of a file of %d bytes", resp.Request.URL.Redacted(), resp.ContentLength, got.Size)
		}
		return got, nil
	}
	got := *e.Entry
	got.Has &^= mtree.HasCTime
	got.Size = resp.ContentLength // -1: not told
	modified, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if !mayBeFile(e, got.Size, modified) {
		return got, fmt.Errorf("GET %s: something else answers: neither ETag nor date of a file, %d bytes", resp.Request.URL.Redacted(), got.Size)
	}
	if g := e.vague; g != nil && g.step > 0 {
		if got.MTime = g.utc(); err == nil {
			g.zones.learn(g, mtree.FromTime(modified))
		}
	}
	if err == nil && (e.vague == nil || e.vague.step != 1 || got.MTime.Floor(time.Second) != mtree.FromTime(modified)) {
		got.MTime = mtree.FromTime(modified)
	}
	return got, nil
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

// wholeBody reads a body of a known length. One that breaks off may have done
// so because the file changed.
type wholeBody struct {
	io.ReadCloser
	left int64
}

func (b *wholeBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	b.left -= int64(n)
	switch {
	case b.left < 0:
		return 0, fmt.Errorf("%w: more bytes than announced", errMoved)
	case err == io.EOF && b.left > 0, err != nil && err != io.EOF:
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
	resp, err := s.do(ctx, request{method: http.MethodPost, query: "tar", body: body.String(), plain: true})
	var status *statusError
	if errors.As(err, &status) && (status.status == http.StatusMethodNotAllowed || status.status == http.StatusNotImplemented) {
		s.lack(&s.noTar)
	}
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
		if err := put(i, opened{got: e, body: archive}); err != nil && !isLocal(err) {
			return
		} else {
			errs[i], got[i] = err, true
		}
	}
}

func (s *httpSource) hasTar() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.noTar
}

func (s *httpSource) lack(what *bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*what = true
}

// sumsAtOnce bounds the paths of one request.
const sumsAtOnce = 10_000

// sums implements source by POST ?sums.
func (s *httpSource) sums(ctx context.Context, paths []string) (map[string]sum, error) {
	all := make(map[string]sum, len(paths))
	for len(paths) > 0 {
		some := paths[:min(len(paths), sumsAtOnce)]
		paths = paths[len(some):]
		var body strings.Builder
		for _, path := range some {
			body.WriteString(mtree.EscapeName(path) + "\n")
		}
		resp, err := s.do(ctx, request{method: http.MethodPost, query: "sums", body: body.String(), plain: true, patient: true})
		if err != nil {
			return nil, err
		}
		err = readSums(resp.Body, some, all)
		_ = resp.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("POST %s: %w", resp.Request.URL.Redacted(), err)
		}
	}
	return all, nil
}

// readSums reads lines of sha256sum(1), at most one for each of the paths.
func readSums(in io.Reader, paths []string, into map[string]sum) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<10)
	for n := 0; lines.Scan(); n++ {
		if n == len(paths) {
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
		into[name] = sum(raw)
	}
	return lines.Err()
}

var sumEscapes = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")
