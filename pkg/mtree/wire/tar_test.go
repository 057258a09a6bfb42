package wire

import (
	"archive/tar"
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tidemark/pkg/mtree"
)

// The standard library's reader unpacks what was packed: any name, target, time,
// size and owner.
func TestPaxRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := TarMember{
			Path:  anyName(t, "path"),
			Kind:  rapid.SampledFrom([]mtree.Kind{mtree.File, mtree.Dir, mtree.Symlink}).Draw(t, "kind"),
			Mode:  rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
			MTime: mtree.Unix(rapid.Int64Range(-1<<31, 1<<34).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "nsec")),
			CTime: mtree.Unix(rapid.Int64Range(-1<<31, 1<<34).Draw(t, "csec"), rapid.Int64Range(0, 999_999_999).Draw(t, "cnsec")),
		}
		if rapid.Bool().Draw(t, "owner") {
			e.UID, e.GID = rapid.Uint32().Draw(t, "uid"), rapid.Uint32().Draw(t, "gid")
		}
		content := rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "content")
		switch e.Kind {
		case mtree.File:
			e.Size = int64(len(content))
		case mtree.Symlink:
			e.Link, content = anyName(t, "link"), nil
		default:
			content = nil
		}
		stream := append(AppendTarHeader([]byte{}, &e), content...)
		stream = AppendTarEnd(AppendTarPadding(stream, int64(len(content))))
		require.Zero(t, len(stream)%TarBlock)
		r := tar.NewReader(bytes.NewReader(stream))
		h, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, e.Path, strings.TrimSuffix(h.Name, "/"))
		require.Equal(t, e.Link, h.Linkname)
		require.Equal(t, int64(e.Mode&0o777), h.Mode)
		require.Equal(t, e.MTime, mtree.FromTime(h.ModTime))
		require.Equal(t, e.CTime, mtree.FromTime(h.ChangeTime))
		require.Equal(t, tarFlag(e.Kind), h.Typeflag)
		require.Equal(t, [2]int{int(e.UID), int(e.GID)}, [2]int{h.Uid, h.Gid})
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
	big := TarMember{Path: "f", Kind: mtree.File, Size: 1 << 40}
	h, err := tar.NewReader(bytes.NewReader(AppendTarHeader(nil, &big))).Next()
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

// The reader of tar streams agrees with archive/tar on what serve sends, and
// takes no stream that is cut or spoilt anywhere.
func TestTarReader(t *testing.T) {
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	long := strings.Repeat("d/", 100) + "ü %"
	var want []TarFile
	for i, name := range []string{"a", long, "empty", "old"} {
		mtime := []time.Time{time.Unix(1, 1), time.Unix(1700000000, 0), time.Unix(0, 5), time.Unix(-2, 5e8)}[i]
		size := int64([]int{3, 512, 0, 1000}[i])
		require.NoError(t, archive.WriteHeader(&tar.Header{Name: name, Size: size, ModTime: mtime, ChangeTime: mtime, Mode: 0o644, Format: tar.FormatPAX, Typeflag: tar.TypeReg}))
		_, err := archive.Write(bytes.Repeat([]byte{'x'}, int(size)))
		require.NoError(t, err)
		want = append(want, TarFile{[]byte(name), size, mtree.FromTime(mtime), mtree.FromTime(mtime)})
	}
	require.NoError(t, archive.Close())
	whole := out.Bytes()
	read := func(text []byte) (files []TarFile, err error) {
		stream := NewTarReader(bytes.NewReader(text))
		for {
			f, err := stream.Next()
			if err != nil {
				return files, err
			}
			body, err := io.ReadAll(stream)
			if err != nil {
				return files, err
			}
			require.Len(t, body, int(f.Size))
			f.Name = bytes.Clone(f.Name)
			files = append(files, f)
		}
	}
	got, err := read(whole)
	require.Equal(t, io.EOF, err)
	require.Equal(t, want, got)
	for cut := range len(whole) - 1024 {
		got, err := read(whole[:cut])
		require.ErrorIs(t, err, errTar)
		require.LessOrEqual(t, len(got), len(want))
	}
	for at := range 512 {
		spoilt := bytes.Clone(whole)
		spoilt[at] ^= 0x15
		_, err := read(spoilt)
		require.Error(t, err)
	}
}

// A stream of PAX headers without a file was read for ever: the pass that asked for a few
// small files never ended.
func TestTarOfHeadersAlone(t *testing.T) {
	one := AppendTarHeader(nil, &TarMember{Path: "f", Kind: mtree.File, MTime: mtree.Unix(1, 1)})
	header := one[:len(one)-TarBlock]
	stream := NewTarReader(bytes.NewReader(append(bytes.Repeat(header, 1000), one...)))
	defer stream.Close()
	_, err := stream.Next()
	require.ErrorIs(t, err, errTar)
}
