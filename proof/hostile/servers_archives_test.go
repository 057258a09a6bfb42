package hostile

import (
	"archive/tar"
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/wire"
)

// archive puts members before those of an honest tar stream. Nothing of them is taken, and
// all files come, if not in this stream then one by one.
func archive(name string, members ...tar.Header) server {
	return server{name: name, codes: fine, check: asSecond, play: play{tar: func(_ *peer, stream []byte) []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for i := range members {
			h := members[i]
			if h.Format == 0 {
				h.Format = tar.FormatPAX
			}
			if h.ModTime.IsZero() {
				h.ModTime, h.ChangeTime = stampOf(second).Time(), stampOf(second).Time()
			}
			if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
				h.Typeflag, h.Size = tar.TypeReg, int64(len(poison))
			}
			if err := w.WriteHeader(&h); err != nil {
				panic(err)
			}
			if h.Typeflag == tar.TypeReg {
				_, _ = w.Write([]byte(poison))
			}
		}
		_ = w.Flush()
		return append(out.Bytes(), stream...)
	}}}
}

// streamed alters the bytes of a tar stream.
func streamed(name string, f func(stream []byte) []byte) server {
	return server{name: name, codes: fine, check: asSecond, play: play{tar: func(_ *peer, stream []byte) []byte { return f(stream) }}}
}

// asSecond requires the copy to equal the second version.
func asSecond(b *box, _ *peer, _ result) []string { return b.differences(honest(second)) }

// member is the one member of a tar stream by its PAX records and a body.
func member(name string, size int64, records map[string]string, body string) []byte {
	var pax string
	for key, value := range records {
		record := fmt.Sprintf(" %s=%s\n", key, value)
		length := len(record) + 1
		for length != len(record)+len(fmt.Sprint(length)) {
			length = len(record) + len(fmt.Sprint(length))
		}
		pax += fmt.Sprint(length) + record
	}
	var out []byte
	if pax != "" {
		out = append(block("x", 'x', int64(len(pax))), pax...)
		out = wire.AppendTarPadding(out, int64(len(pax)))
	}
	out = append(out, block(name, '0', size)...)
	return wire.AppendTarPadding(append(out, body...), int64(len(body)))
}

// block is a ustar header.
func block(name string, kind byte, size int64) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00", size&0o77777777777))
	copy(h[136:], "14524770400\x00        ")
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

var at = stampOf(second).String()

// archives are tar streams and sums with what was not asked for.
var archives = []server{
	archive("tar-climbs", tar.Header{Name: "../outside/f"}, tar.Header{Name: "../../canary"}),
	archive("tar-absolute", tar.Header{Name: "/etc/tidemark-poison"}),
	archive("tar-into-the-marker", tar.Header{Name: ".tidemark/tree"}, tar.Header{Name: ".tidemark/status"}),
	archive("tar-not-asked-for", tar.Header{Name: "a/stays"}, tar.Header{Name: "a/other"}, tar.Header{Name: "still/f1"}),
	archive("tar-dot-names", tar.Header{Name: "./a/changes"}, tar.Header{Name: "a//changes"}, tar.Header{Name: "a/../a/changes"}),
	archive("tar-hard-link", tar.Header{Name: "a/changes", Typeflag: tar.TypeLink, Linkname: "../outside/f"}),
	archive("tar-symlink", tar.Header{Name: "a/changes", Typeflag: tar.TypeSymlink, Linkname: "../../outside/f"}),
	archive("tar-symlink-then-below-it", tar.Header{Name: "a/sub", Typeflag: tar.TypeSymlink, Linkname: "../../outside"}, tar.Header{Name: "a/sub/f"}),
	archive("tar-device", tar.Header{Name: "a/changes", Typeflag: tar.TypeBlock, Devmajor: 8}),
	archive("tar-fifo", tar.Header{Name: "a/changes", Typeflag: tar.TypeFifo}),
	archive("tar-directory", tar.Header{Name: "a/changes/", Typeflag: tar.TypeDir, Mode: 0o7777}),
	archive("tar-setuid", tar.Header{Name: "a/other", Mode: 0o7777}),
	archive("tar-older-version", tar.Header{Name: "a/changes", ModTime: time.Unix(1, 1), ChangeTime: time.Unix(1, 1)}),
	archive("tar-xattr", tar.Header{Name: "a/other", PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x", "SCHILY.xattr.user.tidemark": "x"}}),
	archive("tar-long-name", tar.Header{Name: strings.Repeat("x/", 3000) + "x"}),
	archive("tar-gnu", tar.Header{Name: strings.Repeat("x", 300), Format: tar.FormatGNU}),
	archive("tar-pax-large", tar.Header{Name: "a/changes", PAXRecords: map[string]string{"VENDOR.x": strings.Repeat("x", 900_000)}}),
	archive("tar-global-header", tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "../outside/f"}}),
	streamed("tar-same-file-twice", func(stream []byte) []byte { return append(stream[:len(stream)-1024:len(stream)-1024], stream...) }),
	streamed("tar-size-of-8-exabytes", func(stream []byte) []byte {
		return append(member("a/changes", 0, map[string]string{"size": "9223372036854775807", "mtime": at, "ctime": at}, poison), stream...)
	}),
	streamed("tar-size-negative", func(stream []byte) []byte {
		return append(member("a/changes", 0, map[string]string{"size": "-6", "mtime": at, "ctime": at}, poison), stream...)
	}),
	streamed("tar-two-sizes", func(stream []byte) []byte {
		return append(member("a/changes", 1<<19, map[string]string{"size": "6", "mtime": at, "ctime": at}, poison), stream...)
	}),
	streamed("tar-pax-path", func(stream []byte) []byte {
		return append(member("a/changes", 6, map[string]string{"path": "../outside/f", "mtime": at, "ctime": at}, poison), stream...)
	}),
	streamed("tar-pax-nul", func(stream []byte) []byte {
		return append(member("x", 6, map[string]string{"path": "a/changes\x00x", "mtime": at, "ctime": at}, poison), stream...)
	}),
	streamed("tar-pax-record-lengths", func(stream []byte) []byte {
		return append(append(block("x", 'x', 30), append([]byte("99999999999999999999 path=x\n"), make([]byte, 484)...)...), stream...)
	}),
	streamed("tar-empty", func(stream []byte) []byte { return stream[len(stream)-1024:] }),
	streamed("tar-nothing", func([]byte) []byte { return nil }),
	streamed("tar-cut", func(stream []byte) []byte { return stream[:len(stream)/3] }),
	streamed("tar-cut-in-a-header", func(stream []byte) []byte { return stream[:700] }),
	streamed("tar-without-end", func(stream []byte) []byte { return stream[:len(stream)-1024] }),
	streamed("tar-is-a-page", func([]byte) []byte { return []byte("<html>Sign in " + poison + "</html>") }),
	streamed("tar-of-ones", func(stream []byte) []byte { return bytes.Repeat([]byte{1}, 1<<20) }),
	streamed("tar-in-gzip", func(stream []byte) []byte {
		return append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), stream...)
	}),
	{name: "tar-of-members-without-end", codes: fine, check: asSecond, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.RawQuery != wire.TarQuery {
			return false
		}
		one := member("other", 6, map[string]string{"mtime": at, "ctime": at}, poison)
		for {
			if _, err := w.Write(one); err != nil {
				return true
			}
		}
	}}},
	{name: "tar-of-pax-headers-without-end", codes: fine, check: asSecond, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.RawQuery != wire.TarQuery {
			return false
		}
		one := append(block("x", 'x', 18), append([]byte("18 mtime=17000000\n"), make([]byte, 494)...)...)
		one = bytes.Repeat(one, 100)
		for {
			if _, err := w.Write(one); err != nil {
				return true
			}
		}
	}}},

	sums("sums-wrong", func(text string) string { return strings.ReplaceAll(text, "  a/", "0  a/") }),
	sums("sums-of-other-files", func(text string) string { return strings.ReplaceAll(text, "  a/", "  ../outside/") }),
	sums("sums-garbage", func(string) string { return strings.Repeat("\x1b[31m\n", 100) }),
	sums("sums-one-line", func(string) string { return strings.Repeat("0", 100<<20) }),
	sums("sums-too-many", func(text string) string { return strings.Repeat(text, 1000) }),
	sums("sums-comments", func(text string) string { return strings.Repeat("# x\n", 1_000_000) + text }),
	{name: "sums-without-end", codes: []exit.Code{exit.Failed}, play: restamped(play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || strings.HasPrefix(r.URL.RawQuery, "tar") {
			return false
		}
		for {
			if _, err := fmt.Fprint(w, strings.Repeat("#\n", 10_000)); err != nil {
				return true
			}
		}
	}})},
}

// sums alters the sums of files that may have changed without another size or time. They are
// no proof of anything, so nothing changes by them.
func sums(name string, f func(text string) string) server {
	return server{name: name, codes: []exit.Code{exit.Done, exit.Failed}, play: restamped(play{sums: func(_ *peer, text string) string { return f(text) }})}
}

// restamped moves the ctimes of files in "still", so that their sums are asked for.
func restamped(p play) play {
	p.tree = func(t tree) {
		t.dir("still", stampOf(second))
		for path, e := range t {
			if strings.HasPrefix(path, "still/") {
				e.CTime = stampOf(second)
			}
		}
	}
	return p
}
