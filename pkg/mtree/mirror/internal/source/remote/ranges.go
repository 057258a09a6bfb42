package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"

	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// span is a range of a file, in bytes.
type span struct{ at, length int64 }

// ranges reads ranges of one file, one after another. It asks for mostRanges with one request, and
// for the rest anew where an answer breaks off. First it asks for one version by If-Match. Once the
// source has another one, it asks for any: its reader compares sums.
type ranges struct {
	s     *Source
	ctx   context.Context
	w     *source.Wanted
	tag   wire.FileTag
	loose bool   // any version
	spans []span // not read yet
	tries int    // requests without progress
	got   int64  // bytes since the last progress

	resp  *http.Response    // nil: none is open
	parts *multipart.Reader // of resp; nil: it is one range
	left  int               // ranges that resp has beside the present one
	body  io.Reader         // of the present range; nil: it is not open
}

const (
	mostRanges    = 128 // of one request: serve gives 256
	mostRangeless = 3   // requests without progress

	leastProgress = 64 << 10 // bytes of a range, or all of it
	mostPartHead  = 1 << 10  // bytes before a range in an answer
	mostExtra     = 4 << 10  // bytes of an answer beside its ranges
)

// errNoRanges says that something answers ranges in another way than they were asked for.
var errNoRanges = errors.New("no such ranges came")

// add adds a range after the last one.
func (r *ranges) add(at, length int64) {
	if last := len(r.spans) - 1; last >= 0 && r.spans[last].at+r.spans[last].length == at {
		r.spans[last].length += length
		return
	}
	r.spans = append(r.spans, span{at, length})
}

// close ends the request that is open.
func (r *ranges) close() {
	if r.resp != nil {
		_ = r.resp.Body.Close()
	}
	r.resp, r.parts, r.body, r.left = nil, nil, nil, 0
}

// readFull reads the next len(buf) bytes.
func (r *ranges) readFull(buf []byte) error {
	_, err := io.ReadFull(r, buf)
	return err
}

// Read reads on within the present range, or opens the next one.
func (r *ranges) Read(buf []byte) (n int, err error) {
	for n == 0 {
		if len(r.spans) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		if err := r.open(); err != nil {
			return 0, err
		}
		one := &r.spans[0]
		n, err = r.body.Read(buf[:min(int64(len(buf)), one.length)])
		one.at += int64(n)
		r.got += int64(n)
		if one.length -= int64(n); one.length == 0 || r.got >= leastProgress {
			r.tries, r.got = 0, 0
		}
		if one.length == 0 {
			r.spans, r.body = r.spans[1:], nil
		} else if err != nil {
			r.close() // it broke off: the rest is asked for anew
		}
	}
	return n, nil
}

// open opens the first range, unless it is open.
func (r *ranges) open() error {
	if r.body != nil {
		return nil
	}
	if r.resp != nil && r.left > 0 {
		if err := r.nextPart(); err == nil {
			return nil
		}
	}
	r.close()
	for {
		if r.tries++; r.tries > mostRangeless { // guard: TestRangesThatNeverCome
			return fmt.Errorf("%w: %w", source.ErrMoved, io.ErrUnexpectedEOF)
		}
		err := r.ask()
		if errors.Is(err, source.ErrMoved) && !r.loose {
			r.loose = true
			continue
		}
		if err != nil {
			r.close()
		}
		return err
	}
}

// ask sends a request for the next ranges.
func (r *ranges) ask() error {
	q := request{path: wire.URLPath(r.w.Path), header: map[string]string{}, plain: true}
	if !r.loose {
		q.header["If-Match"] = r.tag.String()
	}
	some := r.spans[:min(len(r.spans), mostRanges)]
	value := []byte("bytes=")
	for i, one := range some {
		if i > 0 {
			value = append(value, ',')
		}
		value = append(strconv.AppendInt(value, one.at, 10), '-')
		value = strconv.AppendInt(value, one.at+one.length-1, 10)
	}
	q.header["Range"] = string(value)
	resp, err := r.s.doFile(r.ctx, q, r.w)
	if err != nil {
		return err
	}
	most := int64(mostExtra)
	for _, one := range some {
		most += one.length + mostPartHead
	}
	resp.Body = &takenBody{io.LimitReader(resp.Body, most), resp.Body} // guard: TestRangesWithoutEnd
	if r.w.Old != nil && r.w.Old.Taken != nil {
		resp.Body = &takenBody{r.w.Old.Taken(resp.Body), resp.Body}
	}
	r.resp, r.left = resp, len(some)
	if resp.StatusCode != http.StatusPartialContent || codingOf(resp) != "" {
		return fmt.Errorf("%w: GET %s: %s", errNoRanges, resp.Request.URL.Redacted(), resp.Status)
	}
	return r.firstPart()
}

// takenBody is a body that is read through a wrapper.
type takenBody struct {
	io.Reader
	io.Closer
}

// firstPart opens the first range of an answer.
func (r *ranges) firstPart() error {
	kind, params, err := mime.ParseMediaType(r.resp.Header.Get("Content-Type"))
	if err == nil && kind == "multipart/byteranges" && r.left > 1 {
		r.parts = multipart.NewReader(r.resp.Body, params["boundary"])
		return r.nextPart()
	}
	r.left = 0
	return r.begin(r.resp.Header.Get("Content-Range"), r.resp.Body)
}

// nextPart opens the next range of an answer that has several.
func (r *ranges) nextPart() error {
	if r.parts == nil {
		return errNoRanges
	}
	r.left--
	part, err := r.parts.NextRawPart()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoRanges, err)
	}
	return r.begin(part.Header.Get("Content-Range"), part)
}

// begin makes sure that a range is the first of those that are wanted.
func (r *ranges) begin(text string, body io.Reader) error {
	at, length, _, ok := wire.ParseContentRange(text)
	if !ok || at != r.spans[0].at || length != r.spans[0].length {
		return fmt.Errorf("%w: %.60q for bytes %d-%d", errNoRanges, text, r.spans[0].at, r.spans[0].at+r.spans[0].length-1)
	}
	r.body = body
	return nil
}
