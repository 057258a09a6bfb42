package hostile

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/wire"
)

// metadata are modes, times and sizes at the ends of what they can be.
var metadata = []server{
	{name: "mode-setuid", codes: fine, play: modes(0o4755, 0o4755)},
	{name: "mode-setgid", codes: fine, play: modes(0o2755, 0o2755)},
	{name: "mode-all-bits", codes: fine, play: modes(0o7777, 0o7777)},
	{name: "mode-none", codes: fine, play: modes(0, 0)},
	{name: "mode-sticky-world-writable", codes: fine, play: modes(0o1777, 0o1777)},
	{name: "owner-unasked", codes: fine, play: edit("a", func(text string) string {
		return strings.ReplaceAll(text, "\tmode=0644", "\tmode=0644\towner=4711:4711")
	}), check: func(b *box, _ *peer, _ result) []string { return ownedBy(b, "a/changes", os.Getuid()) }},
	{name: "owner-setuid-with-owner", codes: fine, args: []string{"--owner"}, play: edit("a", func(text string) string {
		return strings.ReplaceAll(text, "\tmode=0644", "\tmode=07755\towner=0:0")
	})},
	stamps("stamp-smallest", mtree.MinStamp),
	stamps("stamp-largest", mtree.MaxStamp),
	stamps("stamp-zero", mtree.Stamp{}),
	stamps("stamp-minus-one", mtree.Unix(-1, 999_999_999)),
	stamps("stamp-year-1901", mtree.Unix(-1<<31, 0)),
	stamps("stamp-year-2038", mtree.Unix(1<<31, 0)),
	stamps("stamp-year-2446", mtree.Unix(15032385535, 999_999_999)),
	stamps("stamp-year-10000", mtree.Unix(253402300800, 0)),
	stamps("stamp-2^62", mtree.Unix(1<<62, 0)),
	stamps("stamp-tomorrow", mtree.Unix(1_900_000_000, 1)),
	{name: "stamp-goes-back", codes: fine, play: play{tree: func(t tree) {
		for path, e := range t {
			if e.Kind == mtree.Dir && path != "still" {
				e.MTime = stampOf(-5)
			}
		}
	}}, deletes: true},
	{name: "stamp-is-another-at-each-answer", codes: fine, with: flips(func(n int, t tree) { t["a"].MTime = t["a"].MTime.Add(1 << 40) })},
	{name: "size-huge", codes: []exit.Code{exit.Failed, exit.Local}, play: play{tree: func(t tree) {
		t.file("a/huge", "little", stampOf(second))
		t["a/huge"].Size = 1<<63 - 1
	}}},
	{name: "size-of-an-exabyte-sent-in-part", codes: []exit.Code{exit.Failed, exit.Local}, play: play{
		tree: func(t tree) {
			t.file("a/huge", "little", stampOf(second))
			t["a/huge"].Size = 1 << 60
		},
		answer: func(p *peer, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/a/huge" {
				return false
			}
			p.hijack(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nETag: \"%s-%d-%[1]s\"\r\nContent-Length: %[2]d\r\n\r\n%s", stampOf(second), int64(1)<<60, poison), nil)
			return true
		},
	}},
}

// modes gives files and directories of "a" these modes.
func modes(file, dir uint32) play {
	return play{tree: func(t tree) {
		t["a/changes"].Mode, t["a/new2"].Mode, t["a/sub"].Mode, t["a"].Mode = file, file, dir, dir
		t.dir("a/fresh", stampOf(second))
		t.file("a/fresh/f", "f", stampOf(second))
		t["a/fresh"].Mode, t["a/fresh/f"].Mode = dir, file
	}}
}

// stamps gives a file, a link and a directory this time. What the file system cannot store
// is no failure.
func stamps(name string, at mtree.Stamp) server {
	return server{name: name, codes: fine, passes: 2, play: play{tree: func(t tree) {
		t.file("a/changes", "at the end of time", at)
		t.file("a/single", strings.Repeat("x", 2<<20), at)
		t.link("a/link2", "changes", at)
		t.dir("a/sub", at)
		t.dir("a/fresh", at)
		t.file("a/fresh/f", "f", at)
		t["a"].MTime, t[""].MTime = at, at
	}}, deletes: true}
}

// ownedBy requires the owner of a file of the copy.
func ownedBy(b *box, path string, uid int) []string {
	info, err := os.Stat(filepath.Join(b.copy, path))
	if err != nil {
		return []string{fmt.Sprint(err)}
	}
	if owner := ownerOf(info); owner != uid {
		return []string{fmt.Sprintf("%q belongs to %d", path, owner)}
	}
	return nil
}

// file answers for one file, which is asked for by itself. It fails, and nothing else does.
func file(name string, answer func(p *peer, w http.ResponseWriter, r *http.Request)) server {
	return server{name: name, codes: []exit.Code{exit.Failed}, play: play{answer: func(p *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/a/changes" {
			w.Header().Set("ETag", tagOfChanges)
			answer(p, w, r)
			return true
		}
		return noPost(w, r)
	}}, check: fileUntouched}
}

// tagOfChanges is the ETag of the file whose answers are attacked, as it is listed.
var tagOfChanges = wire.FileTagOf(&honest(second)["a/changes"].Entry).String()

// fileUntouched requires that the file of which the answers were wrong is what it was, and
// all beside it is new.
func fileUntouched(b *box, _ *peer, _ result) (faults []string) {
	for path, version := range map[string]tree{"a/changes": honest(first), "b/changes": honest(second), "b/deep/new2": honest(second), "a/new2": honest(second)} {
		text, err := os.ReadFile(filepath.Join(b.copy, path))
		if err != nil || string(text) != version[path].data {
			faults = append(faults, fmt.Sprintf("%q is %q, %v", path, text, err))
		}
	}
	return faults
}

// fileRaw is file with an answer as it stands.
func fileRaw(name, text string) server {
	return file(name, func(p *peer, w http.ResponseWriter, _ *http.Request) { p.hijack(w, text, nil) })
}

const fileHead = "HTTP/1.1 200 OK\r\nTidemark-Version: 1\r\n"

// bodies are files that are not what they are said to be.
var bodies = []server{
	file("body-empty", func(*peer, http.ResponseWriter, *http.Request) {}),
	file("body-short", func(_ *peer, w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, poison) }),
	file("body-long", func(_ *peer, w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, strings.Repeat(poison, 1000))
	}),
	file("body-long-in-chunks", func(_ *peer, w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = fmt.Fprint(w, strings.Repeat(poison, 1000))
	}),
	file("body-endless", func(_ *peer, w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		if r.Method == http.MethodHead {
			return // what is written would go nowhere, for ever, and the connection would say no more
		}
		for text := strings.Repeat(poison, 10_000); ; {
			if _, err := fmt.Fprint(w, text); err != nil {
				return
			}
		}
	}),
	file("body-compressed-unasked", func(_ *peer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = fmt.Fprint(w, strings.Repeat(poison, 3)[:16])
	}),
	file("body-of-another-version", func(_ *peer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", strings.Replace(tagOfChanges, "17000", "17001", 1))
		_, _ = fmt.Fprint(w, poison)
	}),
	file("body-is-a-listing", func(_ *peer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Del("ETag")
		_, _ = fmt.Fprintf(w, "1.0 ./\t-\n#end 0\n%s", poison)
	}),
	file("body-is-a-page", func(_ *peer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Del("ETag")
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, "<html>Sign in %s</html>", poison)
	}),
	file("body-without-a-tag", func(_ *peer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Del("ETag")
		_, _ = fmt.Fprint(w, strings.Repeat(poison, 4)[:len(honest(second)["a/changes"].data)])
	}),
	file("body-no-longer-a-file", func(_ *peer, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "changes/")
		w.WriteHeader(http.StatusMovedPermanently)
	}),
	file("body-partial-unasked", func(_ *peer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-5/16")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = fmt.Fprint(w, poison)
	}),
	file("body-not-modified-unasked", func(_ *peer, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }),
	file("body-no-content", func(_ *peer, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
	file("body-of-another-name", func(_ *peer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Disposition", `attachment; filename="../../outside/f"`)
		w.Header().Set("Content-Location", "/../../outside/f")
		w.Header().Set("ETag", `"x"`)
		_, _ = fmt.Fprint(w, poison)
	}),
	fileRaw("body-length-negative", fileHead+"Content-Length: -1\r\n\r\n"+poison),
	fileRaw("body-length-huge", fileHead+"Content-Length: 99999999999999999999\r\n\r\n"+poison),
	fileRaw("body-length-twice", fileHead+"Content-Length: 6\r\nContent-Length: 16\r\n\r\n"+poison),
	fileRaw("body-length-and-chunks", fileHead+"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nPOI\r\n0\r\n\r\n"),
	fileRaw("body-until-the-end", fileHead+"\r\n"+poison),
	fileRaw("body-chunk-size-huge", fileHead+"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"+poison),
	fileRaw("body-chunk-size-garbage", fileHead+"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"+poison),
	fileRaw("body-chunks-cut", fileHead+"ETag: "+tagOfChanges+"\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n"+poison+"\r\n"),
	fileRaw("body-in-an-unknown-transfer-coding", fileHead+"Transfer-Encoding: gzip, chunked\r\n\r\n6\r\n"+poison+"\r\n0\r\n\r\n"),
	file("body-chunk-extensions-without-end", func(p *peer, w http.ResponseWriter, _ *http.Request) {
		p.hijack(w, fileHead+"ETag: "+tagOfChanges+"\r\nTransfer-Encoding: chunked\r\n\r\n1;", func(conn net.Conn) error {
			_, err := fmt.Fprint(conn, strings.Repeat("x=y;", 10_000))
			return err
		})
	}),
	file("body-one-byte-in-a-large-chunk-line", func(p *peer, w http.ResponseWriter, _ *http.Request) {
		p.hijack(w, fileHead+"ETag: "+tagOfChanges+"\r\nTransfer-Encoding: chunked\r\n\r\n", func(conn net.Conn) error {
			_, err := fmt.Fprint(conn, "1;"+strings.Repeat("x", 3000)+"\r\nP\r\n")
			return err
		})
	}),
	file("body-trailers-without-end", func(p *peer, w http.ResponseWriter, _ *http.Request) {
		p.hijack(w, fileHead+"Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", func(conn net.Conn) error {
			_, err := fmt.Fprint(conn, "X: "+strings.Repeat("x", 60_000)+"\r\n")
			return err
		})
	}),
	{name: "body-drips", hours: true, codes: []exit.Code{exit.Failed}, check: fileUntouched, play: play{answer: func(p *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/a/changes" {
			p.hijack(w, fileHead+"ETag: "+tagOfChanges+"\r\nContent-Length: 100000\r\n\r\n", drip("P"))
			return true
		}
		return noPost(w, r)
	}}},
	{name: "files-and-directories-are-exchanged", codes: []exit.Code{exit.Failed}, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/a/sub/":
			_, _ = fmt.Fprint(w, poison)
		case "/a/changes", "/a/new2":
			w.Header().Set("ETag", "W/"+tagOfChanges)
			_, _ = fmt.Fprintf(w, "%s ./\t-\n#end 0\n", stampOf(second))
		default:
			return noPost(w, r)
		}
		return true
	}}},
	{name: "files-are-gone-when-asked-for", codes: []exit.Code{exit.Failed}, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost || r.URL.Path != "/" && !strings.HasSuffix(r.URL.Path, "/") {
			http.Error(w, "404", http.StatusNotFound)
			return true
		}
		return false
	}}},
	{name: "directories-are-gone-when-asked-for", codes: []exit.Code{exit.Failed}, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/" && strings.HasSuffix(r.URL.Path, "/") {
			http.Error(w, "404", http.StatusNotFound)
			return true
		}
		return false
	}}},
	{name: "directories-deny-themselves", codes: []exit.Code{exit.Done}, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/" && strings.HasSuffix(r.URL.Path, "/") {
			http.Error(w, "403", http.StatusForbidden)
			return true
		}
		return false
	}}},
}
