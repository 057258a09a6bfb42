package remote

import (
	"context"
	"io"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// bulk asks for small files in one tar stream, and marks those that came as listed as
// done, even if the caller did not read them to the end. What the stream fails to bring
// is left to single requests. It reports whether yield wants more.
func (s *Source) bulk(ctx context.Context, want []source.Wanted, done []bool, yield func(int, source.File) bool) bool {
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
	resp, err := s.post(ctx, request{query: wire.TarQuery, body: string(body)})
	if err != nil {
		return true
	}
	defer resp.Body.Close()
	archive := wire.NewTarReader(resp.Body)
	defer archive.Close()
	member := &tarBody{in: archive}
	left := len(index) + 100 // how many members are looked at
	for {
		f, err := archive.Next()
		if err != nil {
			return true
		}
		if left--; left < 0 {
			return true // more than asked for: it may have no end
		}
		i, ok := index[string(f.Name)]
		if !ok || done[i] {
			continue // not asked for, or yielded already
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

// tarBody reads the present member of a stream, and keeps the error of that.
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
