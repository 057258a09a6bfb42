package remote

import (
	"context"
	"errors"
	"fmt"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// Sums returns the SHA-256 of files by their paths. serve computes them; if no POST goes
// through, Sums reads the files. A file that cannot be read, is gone or changes meanwhile
// is missing from the result. An error says that nothing is known.
func (s *Source) Sums(ctx context.Context, paths []string) (map[string]source.Sum, error) {
	all := make(map[string]source.Sum, len(paths))
	for len(paths) > 0 {
		some := paths[:min(len(paths), wire.MaxPaths)]
		paths = paths[len(some):]
		err := errNoPost
		if !s.other.Load() {
			err = s.sumsOf(ctx, some, all)
		}
		if errors.Is(err, errNoPost) {
			err = s.sumEach(ctx, some, all)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// sumsOf asks for the sums of at most wire.MaxPaths files.
func (s *Source) sumsOf(ctx context.Context, paths []string, into map[string]source.Sum) error {
	var body []byte
	for _, path := range paths {
		body = wire.AppendPathLine(body, path)
	}
	resp, err := s.post(ctx, request{query: wire.SumsQuery, body: string(body), patient: true})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	err = wire.ReadSums(resp.Body, len(paths), func(s wire.Sum) {
		into[s.Path] = source.Sum{SHA256: s.SHA256, File: mtree.Entry{MTime: s.Tag.MTime, Size: s.Tag.Size, CTime: s.Tag.CTime, Has: mtree.HasCTime}, Known: s.Tagged}
	})
	if err != nil {
		return fmt.Errorf("POST %s: %w", resp.Request.URL.Redacted(), err)
	}
	return nil
}

// sumEach reads the files itself. As in the answer to a POST, a file that is gone, may
// not be read or changes meanwhile has no sum.
func (s *Source) sumEach(ctx context.Context, paths []string, into map[string]source.Sum) error {
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

// sumOf reads a file, whose length must be known, and hashes it.
func (s *Source) sumOf(ctx context.Context, path string) (got source.Sum, err error) {
	resp, err := s.doFile(ctx, request{path: wire.URLPath(path), plain: true}, &source.Wanted{Entry: &mtree.Entry{}, Path: path})
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	size := resp.ContentLength
	if got.File, got.Known = tagged(resp.Header.Get("ETag"), &mtree.Entry{}); got.Known {
		size = got.File.Size
	} else if resp.Header.Get("Last-Modified") == "" && !s.other.Load() { // guard (without !s.other.Load()): TestSumsOfFilesWithoutADate
		// Of another server: lighttpd sends neither with a file of a type that it does not know. If it is
		// something else, it has another sum, and the fetch that follows finds that out.
		return got, fmt.Errorf("GET %s: something else answers: neither ETag nor date of a file", resp.Request.URL.Redacted())
	}
	if size < 0 {
		return got, unbounded(resp)
	}
	got.SHA256, err = source.Hash(&wholeBody{ReadCloser: resp.Body, low: size, high: size})
	return got, err
}
