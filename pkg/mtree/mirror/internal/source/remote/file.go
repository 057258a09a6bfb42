package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
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

// open asks for one file, or for what differs from the version that the caller has.
func (s *Source) open(ctx context.Context, w *source.Wanted, d source.Demand) (source.Opened, error) {
	if s.mayPatch(w) {
		if f, err := s.patch(ctx, w, d); err == nil || errors.Is(err, source.ErrMoved) && d != source.AsIs || IsAway(err) || ctx.Err() != nil {
			return f, err
		}
		w.Old = nil
	}
	return s.openWhole(ctx, w, d)
}

// openWhole asks for one file, or for the rest of one.
func (s *Source) openWhole(ctx context.Context, w *source.Wanted, d source.Demand) (source.Opened, error) {
	r, err := s.fileRequest(ctx, w, d)
	if err != nil {
		return source.Opened{}, err
	}
	kept := askForRest(r.header, w)
	resp, err := s.doFile(ctx, r, w)
	if r.header["Range"] != "" && refusesRanges(err) { // guard: TestRangesThatAreRefused
		delete(r.header, "Range")
		resp, err = s.doFile(ctx, r, w)
	}
	if err == nil && resp.StatusCode == http.StatusPartialContent {
		if f, ok := restOf(resp, w, kept); ok {
			return f, nil
		}
		_ = resp.Body.Close()
		delete(r.header, "Range") // a proxy altered it: from the beginning
		resp, err = s.doFile(ctx, r, w)
	}
	if err != nil {
		return source.Opened{}, err
	}
	if resp.StatusCode == http.StatusNotModified {
		_ = resp.Body.Close()
		return source.Opened{}, source.ErrSame
	}
	f, body, err := fileOf(resp, w)
	if want := r.header["If-Match"]; err == nil && isAnother(want, resp.Header.Get("ETag")) {
		err = fmt.Errorf("%w: GET %s: If-Match was passed over", source.ErrMoved, resp.Request.URL.Redacted())
	}
	if err != nil {
		_ = resp.Body.Close()
		return source.Opened{}, err
	}
	if d == source.AsIs {
		body.cut = func() error { return s.whyCut(ctx, r, resp, w, body.got) }
		f.Got.Size = -1 // known only after reading
	}
	return f, nil
}

// doFile does what doDenied does for a request of a file. An answer that says that it is of another
// file is refused: a proxy mixed them up, and both may have the same size, times and so
// the same ETag. If serve followed symlinks to it no file
// is at this path any more: Content-Location says so. Other servers may send it with any file.
func (s *Source) doFile(ctx context.Context, r request, w *source.Wanted) (*http.Response, error) {
	resp, err := s.doDenied(ctx, r)
	if err != nil {
		return nil, err
	}
	if is := s.otherThan(resp, w.Path); is != "" { // guard: TestAnAnswerOfAnotherFile
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w: %s: the answer is of %q", source.ErrMoved, resp.Request.URL.Redacted(), is)
	}
	to := resp.Header.Get("Content-Location")
	if _, approx := w.Approx.Of(w.Name); to == "" || approx || !isServe(resp) { // guard (always): TestALinkThatTookAFilesPlace, TestAFileBehindASymlinkIsGone
		return resp, nil
	}
	_ = resp.Body.Close()
	return nil, fmt.Errorf("%w: %s: symlinks lead to %.200q by now", source.ErrGone, resp.Request.URL.Redacted(), to)
}

// pastCaches lets no cache answer that finds its answers by their URLs: the URL gets a key that serve
// ignores, with another value each time. nginx's answers a request with no-cache, too, out of what it has.
func (r *request) pastCaches() {
	r.query += "&fresh=" + strconv.FormatUint(rand.Uint64(), 36)
}

// doDenied does what do does. A cache may keep for long that serve had no right to read something,
// and what is denied does not leave its directory unfinished: so it asks again, past every cache.
func (s *Source) doDenied(ctx context.Context, r request) (*http.Response, error) {
	resp, err := s.do(ctx, r)
	if errors.Is(err, source.ErrDenied) { // guard: TestARefusalOutOfACache
		r.pastCaches()
		resp, err = s.do(ctx, r)
	}
	return resp, err
}

// isAnother reports whether a file that was asked for by If-Match comes with the ETag of
// another one: the answer is not to this request, or from a cache.
func isAnother(want, got string) bool {
	is, ok := wire.ParseFileTag(got)
	asked, known := wire.ParseFileTag(want)
	return ok && known && is != asked
}

// fileRequest returns the request for a file. Its If-Match says which version is wanted:
// the listed one, by the ETag that follows from the listing, or the present one, by the
// ETag that a HEAD returns. Without If-Match, any version will do.
func (s *Source) fileRequest(ctx context.Context, w *source.Wanted, d source.Demand) (request, error) {
	r := request{path: wire.URLPath(w.Path), header: map[string]string{}, plain: true}
	switch d {
	case source.AsListed:
		if w.Has&mtree.HasCTime != 0 {
			r.header["If-Match"] = wire.FileTagOf(w.Entry).String()
		}
		if w.Approx.IfModified(w.Name) {
			return s.ifAnother(ctx, r, w)
		}
	case source.AsFound:
		ask := r
		ask.method = http.MethodHead
		resp, err := s.doFile(ctx, ask, w)
		if err != nil {
			return r, err
		}
		_ = resp.Body.Close()
		if tag := resp.Header.Get("ETag"); strings.HasPrefix(tag, `"`) {
			r.header["If-Match"] = tag
		}
	}
	return r, nil
}

// ifAnother makes r the request for a file of another server whose listing leaves open whether it is the
// copy's, which w describes. A HEAD tells it by date and length; then the error is source.ErrSame.
// If-Modified-Since does not: many servers say "not modified" of a file that took the place of a newer
// one. It is left to those that give no date with a HEAD. Cost: a request.
func (s *Source) ifAnother(ctx context.Context, r request, w *source.Wanted) (request, error) {
	sec, _ := w.MTime.Unix()
	ask := r
	ask.method = http.MethodHead
	resp, err := s.doFile(ctx, ask, w)
	if err == nil {
		_ = resp.Body.Close()
	}
	var date time.Time
	if err == nil {
		date, err = http.ParseTime(resp.Header.Get("Last-Modified"))
	}
	switch {
	case err != nil:
		r.header["If-Modified-Since"] = time.Unix(sec, 0).UTC().Format(http.TimeFormat)
	case date.Unix() == sec && (resp.ContentLength < 0 || resp.ContentLength == w.Size): // guard: TestAFileThatTookANewerOnesPlace
		return r, source.ErrSame
	}
	return r, nil
}

// refusesRanges reports whether a request for the rest of a file may have failed only because it asked for
// a range. A server that has no time (429, 503) is asked for the rest again, later.
func refusesRanges(err error) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Status >= 400 && e.Status < 500 &&
		e.Status != http.StatusUnauthorized && e.Status != http.StatusRequestTimeout &&
		e.Status != http.StatusPreconditionFailed && e.Status != http.StatusTooManyRequests
}

// askForRest adds a Range for the bytes that the caller does not have yet, if the request
// asks for the version whose beginning the caller has. It returns the length of that
// beginning. If ranges of the file were not its bytes, none is asked for.
func askForRest(header map[string]string, w *source.Wanted) (kept int64) {
	if errors.Is(w.Whole, errOtherBytes) || errors.Is(w.Whole, errNoRanges) { // guard: TestRangesOfOtherBytes
		return 0
	}
	if w.Kept == nil || w.Has&mtree.HasCTime == 0 || header["If-Match"] != wire.FileTagOf(w.Entry).String() {
		return 0
	}
	if kept = w.Kept(); kept > 0 && kept < w.Size {
		header["Range"] = wire.RangeFrom(kept)
	}
	return kept
}

// whyCut says why an answer ended early, after got bytes: io.EOF if the file has shrunk to
// that size; source.ErrChanging if it is another version by now; else source.ErrMoved, for
// the connection may have broken.
func (s *Source) whyCut(ctx context.Context, r request, was *http.Response, w *source.Wanted, got int64) error {
	r.method = http.MethodHead
	resp, err := s.doFile(ctx, r, w)
	if err != nil {
		return source.ErrMoved
	}
	_ = resp.Body.Close()
	now, ok := tagged(resp.Header.Get("ETag"), w.Entry)
	changed := ok && resp.Header.Get("ETag") != was.Header.Get("ETag")
	if b, approx := w.Approx.Of(w.Name); approx {
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
