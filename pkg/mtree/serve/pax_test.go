package serve

import (
	"archive/tar"
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// What is packed is what the standard library's reader unpacks: any name,
// target, time, size and owner.
func TestPaxRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := tarEntry{
			path:  anyName(t, "path"),
			kind:  rapid.SampledFrom([]mtree.Kind{mtree.File, mtree.Dir, mtree.Symlink}).Draw(t, "kind"),
			owner: rapid.Bool().Draw(t, "owner"),
			info: disk.Info{
				Mode:  rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
				MTime: mtree.Unix(rapid.Int64Range(-1<<31, 1<<34).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "nsec")),
				CTime: mtree.Unix(rapid.Int64Range(-1<<31, 1<<34).Draw(t, "csec"), rapid.Int64Range(0, 999_999_999).Draw(t, "cnsec")),
				UID:   rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid"),
			},
		}
		content := rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "content")
		switch e.kind {
		case mtree.File:
			e.info.Size = int64(len(content))
		case mtree.Symlink:
			e.link, content = anyName(t, "link"), nil
		default:
			content = nil
		}
		stream := append(appendTarHeader([]byte{}, e), content...)
		stream = appendTarEnd(appendTarPadding(stream, int64(len(content))))
		require.Zero(t, len(stream)%tarBlock)
		r := tar.NewReader(bytes.NewReader(stream))
		h, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, e.path, strings.TrimSuffix(h.Name, "/"))
		require.Equal(t, e.link, h.Linkname)
		require.Equal(t, int64(e.info.Mode&0o777), h.Mode)
		require.Equal(t, e.info.MTime, mtree.FromTime(h.ModTime))
		require.Equal(t, e.info.CTime, mtree.FromTime(h.ChangeTime))
		require.Equal(t, tarFlag(e.kind), h.Typeflag)
		if e.owner {
			require.Equal(t, [2]int{int(e.info.UID), int(e.info.GID)}, [2]int{h.Uid, h.Gid})
		} else {
			require.Zero(t, h.Uid|h.Gid)
		}
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, string(content), string(got))
		_, err = r.Next()
		require.Equal(t, io.EOF, err)
	})
}

// A size beyond what the old header holds, and a record whose length has one
// digit more for its own sake.
func TestPaxEdges(t *testing.T) {
	big := disk.Info{Size: 1 << 40}
	h, err := tar.NewReader(bytes.NewReader(appendTarHeader(nil, tarEntry{path: "f", kind: mtree.File, info: big}))).Next()
	require.NoError(t, err)
	require.Equal(t, int64(1<<40), h.Size)
	for n := range 1100 {
		record := string(appendRecord(nil, "k", strings.Repeat("v", n)))
		length, _, _ := strings.Cut(record, " ")
		require.Equal(t, length, strconv.Itoa(len(record)))
	}
}

func anyName(t *rapid.T, label string) string {
	raw := rapid.SliceOfN(rapid.ByteRange(1, 255), 1, 300).Draw(t, label)
	if rapid.Bool().Draw(t, label+" is ASCII") {
		for i := range raw {
			raw[i] = 'a' + raw[i]%26
		}
	}
	return strings.Trim(strings.ReplaceAll(string(raw), "/", "x"), " ") + "n"
}
