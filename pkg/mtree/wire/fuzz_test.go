package wire_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// Each codec of the protocol, by round trip: what was read or made up is written,
// and what was written reads the same.

func FuzzRuns(f *testing.F) {
	f.Add("0123456789abcdef 1.000000002, 0123456789abcde0 -")
	f.Fuzz(func(t *testing.T, text string) {
		runs := wire.ParseRuns(text)
		require.LessOrEqual(t, len(runs), wire.MaxRuns)
		require.Equal(t, runs, wire.ParseRuns(wire.FormatRuns(runs)))
	})
}

func FuzzUpstreams(f *testing.F) {
	f.Add("a.example:8077#0123456789abcdef 1.000000002 7.000000005, local -2.999999996 -")
	f.Fuzz(func(t *testing.T, text string) {
		upstreams := wire.ParseUpstreams(text)
		require.LessOrEqual(t, len(upstreams), wire.MaxUpstreams)
		require.Equal(t, upstreams, wire.ParseUpstreams(wire.FormatUpstreams(upstreams)))
	})
}

func FuzzFileTag(f *testing.F) {
	f.Add(`"-1.500000000-7--0.000000001"`)
	f.Add(`"1707019506.123456789-5-1707019506.123456789"`)
	f.Fuzz(func(t *testing.T, text string) {
		tag, ok := wire.ParseFileTag(text)
		if !ok {
			require.Zero(t, tag)
			return
		}
		again, ok := wire.ParseFileTag(tag.String())
		require.True(t, ok)
		require.Equal(t, tag, again)
		require.Equal(t, tag, wire.FileTagOf(&mtree.Entry{MTime: tag.MTime, Size: tag.Size, CTime: tag.CTime}))
	})
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 10-19/20", int64(10), int64(10), int64(20))
	f.Add("bytes */20", int64(0), int64(1), int64(1))
	f.Fuzz(func(t *testing.T, text string, start, length, size int64) {
		if a, b, c, ok := wire.ParseContentRange(text); ok {
			start, length, size = a, b, c
		}
		if start < 0 || length < 1 || size < length || start > size-length {
			return
		}
		a, b, c, ok := wire.ParseContentRange(wire.FormatContentRange(start, length, size))
		require.True(t, ok)
		require.Equal(t, [3]int64{start, length, size}, [3]int64{a, b, c})
	})
}

func FuzzListingTag(f *testing.F) {
	f.Add(`W/"1707019506.123456789-txt-0a1b2c-gzip"`, []byte("options"), true)
	f.Add(`"-1.5-html-0a1b2c-hot;gzip"`, []byte(nil), false)
	f.Fuzz(func(t *testing.T, text string, options []byte, hot bool) {
		tag, ok := wire.ParseListingTag(text)
		if !ok {
			tag = wire.ListingTag{Validator: "1.5", Format: "json"}
		}
		tag.Fingerprint, tag.Hot = wire.Fingerprint(options), hot
		for _, coding := range []string{"", "gzip"} {
			quoted := wire.QuoteTag(tag.String(), coding)
			require.Equal(t, tag.String(), wire.BareTag(quoted))
			again, ok := wire.ParseListingTag(quoted)
			require.True(t, ok)
			require.Equal(t, tag.String(), again.String())
			require.Equal(t, tag.Fingerprint, again.Fingerprint)
			require.Equal(t, hot, again.Hot)
		}
	})
}

func FuzzURLPath(f *testing.F) {
	f.Add("a b/ü%/?#")
	f.Add("//./.tidemark")
	f.Fuzz(func(t *testing.T, path string) {
		require.Regexp(t, `^[A-Za-z0-9._~/%-]*$`, wire.URLPath(path))
		if len(path) > wire.MaxPath || mtree.CheckPath(path) != nil {
			if got, err := wire.ParseURLPath(path); err == nil {
				require.NoError(t, mtree.CheckPath(got.Path))
			}
			return
		}
		got, err := wire.ParseURLPath("/" + wire.URLPath(path))
		require.NoError(t, err)
		require.Equal(t, wire.URLTarget{Path: path, Dir: path == ""}, got)
		got, err = wire.ParseURLPath("/" + wire.DirURLPath(path))
		require.NoError(t, err)
		require.Equal(t, wire.URLTarget{Path: path, Dir: true}, got)
	})
}

func FuzzEpoch(f *testing.F) {
	f.Add("7")
	f.Fuzz(func(t *testing.T, text string) {
		epoch, err := wire.ParseEpoch(text)
		if err != nil {
			require.ErrorIs(t, err, mtree.ErrListing)
		}
		again, err := wire.ParseEpoch(wire.FormatEpoch(epoch))
		require.NoError(t, err)
		require.Equal(t, epoch, again)
	})
}

func FuzzTreePath(f *testing.F) {
	f.Add("/a%20b/c")
	f.Fuzz(func(t *testing.T, text string) {
		path := wire.ParseTreePath(text)
		require.Equal(t, path, wire.ParseTreePath(wire.FormatTreePath(path)))
	})
}

func FuzzPathLines(f *testing.F) {
	f.Add("a b\nc/d%\n\n..")
	f.Fuzz(func(t *testing.T, text string) {
		var body []byte
		var want []string
		for path := range strings.SplitSeq(text, "\n") {
			if path != "" && mtree.CheckPath(path) == nil {
				body, want = wire.AppendPathLine(body, path), append(want, path)
			}
		}
		got, err := wire.ReadPaths(bytes.NewReader(body), func(string) error { return nil })
		if len(want) > wire.MaxPaths {
			require.ErrorIs(t, err, wire.ErrTooManyPaths)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want, got)
		_, err = wire.ReadPaths(strings.NewReader(text), func(string) error { return nil })
		if err != nil && err != wire.ErrTooManyPaths {
			require.ErrorIs(t, err, mtree.ErrName)
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("1.5", "a b&c/d", int64(time.Second/3))
	f.Fuzz(func(t *testing.T, since, after string, wait int64) {
		q := wire.ListingQuery{After: after, Wait: time.Duration(wait)}
		want := wire.Query{"txt": ""}
		if at, err := mtree.ParseStamp(since); err == nil {
			q.Since, want["since"] = &at, at.String()
		}
		if after != "" {
			want["after"] = after
		}
		got := wire.ParseQuery(q.String())
		seconds, waits := got.Wait()
		require.Equal(t, wait > 0, waits)
		if waits {
			require.InDelta(t, min(q.Wait, wire.MaxWait), seconds, float64(time.Microsecond))
			delete(got, "wait")
		}
		require.Equal(t, want, got)
		wire.ParseQuery(after).Has("txt") // any text is a query
	})
}

func FuzzSums(f *testing.F) {
	f.Add("a\\\nb\rc", []byte("content"), `"1.000000000-5-2.000000000"`)
	f.Fuzz(func(t *testing.T, path string, content []byte, tag string) {
		one := wire.Sum{Path: path}
		copy(one.SHA256[:], content)
		one.Tag, one.Tagged = wire.ParseFileTag(tag)
		text := wire.AppendSum(wire.AppendSum(nil, &one), &wire.Sum{Path: "z"})
		var got []wire.Sum
		err := wire.ReadSums(bytes.NewReader(text), 2, func(s wire.Sum) { got = append(got, s) })
		if len(path) > 30<<10 { // longer than any path, and than a line may be
			return
		}
		require.NoError(t, err)
		require.Equal(t, []wire.Sum{one, {Path: "z"}}, got)
		_ = wire.ReadSums(bytes.NewReader(content), 2, func(wire.Sum) {})
	})
}

func FuzzSince(f *testing.F) {
	f.Add([]byte("1.000000000 ./\t-\n1.000000000 a/\t-\n#end 1\n1.000000000 ./a/\t-\n#end 0\n#more 1.000000000 a\n"))
	f.Add([]byte("000 ./00000000/\t-\n#00000\n#end 0\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		listings, trailer, ended, err := readSince(stream)
		if err != nil {
			return
		}
		var again []byte
		for _, l := range listings {
			again = mtree.AppendListing(again, l)
		}
		if ended {
			again = mtree.AppendTrailer(again, trailer)
		}
		listings2, trailer2, ended2, err := readSince(again)
		require.NoError(t, err)
		require.Equal(t, listings, listings2)
		require.Equal(t, trailer, trailer2)
		require.Equal(t, ended, ended2)
	})
}

func readSince(stream []byte) (listings []mtree.Listing, trailer mtree.Trailer, ended bool, err error) {
	r := wire.NewSinceReader(bytes.NewReader(stream))
	for {
		path, block, err := r.Next()
		if err == io.EOF {
			trailer, ended = r.Trailer()
			return listings, trailer, ended, nil
		}
		if err != nil {
			return nil, trailer, false, err
		}
		text, _, err := block.Text(nil, 1<<20)
		if err != nil {
			return nil, trailer, false, err
		}
		l, err := mtree.ParseListing(text)
		if err != nil {
			return nil, trailer, false, err
		}
		if l.Path != path {
			return nil, trailer, false, mtree.ErrListing
		}
		if len(l.Entries) == 0 {
			l.Entries = nil // a line that is skipped leaves an empty slice
		}
		listings = append(listings, l)
	}
}

func FuzzTar(f *testing.F) {
	f.Add("d/ü\xff", int64(5), int64(7), int64(-3), []byte("content"))
	f.Fuzz(func(t *testing.T, path string, sec, nsec, csec int64, content []byte) {
		if r := wire.NewTarReader(bytes.NewReader(content)); r != nil { // any bytes at all
			_, _ = r.Next()
			r.Close()
		}
		m := wire.TarMember{
			Path: path, Kind: mtree.File, Mode: 0o644, Size: int64(len(content)),
			MTime: mtree.Unix(sec, nsec), CTime: mtree.Unix(csec, nsec),
		}
		if strings.ContainsAny(path, "\x00") || path == "" || len(path) > 4<<10 || len(content) > wire.MaxBulkFile {
			return
		}
		stream := append(wire.AppendTarHeader(nil, &m), content...)
		stream = wire.AppendTarEnd(wire.AppendTarPadding(stream, m.Size))
		r := wire.NewTarReader(bytes.NewReader(stream))
		defer r.Close()
		got, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, path, string(got.Name))
		require.Equal(t, []any{m.Size, m.MTime, m.CTime}, []any{got.Size, got.MTime, got.CTime})
		body, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, string(content), string(body))
		_, err = r.Next()
		require.Equal(t, io.EOF, err)
	})
}
