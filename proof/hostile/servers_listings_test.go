package hostile

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
)

// addTo adds lines to the listing of a directory, in their places, and counts them.
func addTo(dir string, lines ...string) play {
	return play{listing: func(_ *peer, d, text string) string {
		if d == dir {
			for _, line := range lines {
				text = insert(text, line)
			}
		}
		return text
	}}
}

// nameOf is the name in a line of a listing, as far as it can be read.
func nameOf(line string) string {
	_, name, _ := strings.Cut(line, " ")
	name, _, _ = strings.Cut(name, "\t")
	name = strings.TrimSuffix(name, "/")
	if plain, err := mtree.UnescapeName(name); err == nil {
		return plain
	}
	return name
}

// insert puts a line into a listing: without a time it gets one.
func insert(text, line string) string {
	if head, _, _ := strings.Cut(line, "\t"); !strings.Contains(head, " ") {
		line = stampOf(second).String() + " " + line
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	end := len(lines) - 1
	at := 1
	for at < end && nameOf(lines[at]) < nameOf(line) {
		at++
	}
	count, _ := strconv.Atoi(strings.TrimPrefix(lines[end], "#end "))
	lines[end] = fmt.Sprintf("#end %d", count+1)
	return strings.Join(slices.Insert(lines, at, line), "\n") + "\n"
}

// edit alters the listing of a directory.
func edit(dir string, f func(text string) string) play {
	return play{listing: func(_ *peer, d, text string) string {
		if d == dir {
			return f(text)
		}
		return text
	}}
}

// spoils is an attack by a line in the listing of "a", which makes it none. So nothing in
// "a" changes, and everything beside it does.
func spoils(name string, lines ...string) server {
	return server{name: name, play: addTo("a", lines...), codes: []exit.Code{exit.Failed}, check: aUntouched}
}

// refused is an attack by the text of the listing of "a", which makes it none.
func refused(name string, f func(text string) string) server {
	return server{name: name, play: edit("a", f), codes: []exit.Code{exit.Failed}, check: aUntouched}
}

// aUntouched requires that nothing in "a" changed, and all beside it did.
func aUntouched(b *box, _ *peer, _ result) (faults []string) {
	for path, version := range map[string]tree{"a/changes": honest(first), "a/gone": honest(first), "b/changes": honest(second), "b/deep/new2": honest(second)} {
		text, err := os.ReadFile(filepath.Join(b.copy, path))
		if err != nil || string(text) != version[path].data {
			faults = append(faults, fmt.Sprintf("%q is %q, %v", path, text, err))
		}
	}
	return faults
}

// accepts is an attack by strange entries that are right: they are copied.
func accepts(name string, change func(t tree)) server {
	return server{name: name, play: play{tree: change}, codes: fine, check: func(b *box, _ *peer, _ result) []string {
		want := honest(second)
		change(want)
		return b.differences(want)
	}}
}

// names are names that may lead out, or be something else.
var names = []server{
	spoils("name-parent-dir", "../\t-"),
	spoils("name-parent-file", "..\t1"),
	spoils("name-self", "./\t-"),
	spoils("name-self-file", ".\t1"),
	spoils("name-parent-encoded", "%2e%2e/\t-"),
	spoils("name-parent-half-encoded", ".%2E/\t-"),
	spoils("name-slash", "x/y\t1"),
	spoils("name-slash-encoded", "x%2fy\t1"),
	spoils("name-climbs", "..%2foutside\t1"),
	spoils("name-climbs-twice", "..%2f..%2fcanary\t1"),
	spoils("name-absolute", "/etc/passwd\t1"),
	spoils("name-absolute-encoded", "%2Fetc%2Fpasswd\t1"),
	spoils("name-nul", "x%00\t1"),
	spoils("name-nul-cuts", "outside%00.txt\t1"),
	spoils("name-nul-raw", "x\x00y\t1"),
	spoils("name-empty", "\t1"),
	spoils("name-empty-dir", "/\t-"),
	spoils("name-two-slashes", "x//\t-"),
	spoils("name-marker", ".tidemark/\t-"),
	spoils("name-marker-file", ".tidemark\t1"),
	spoils("name-marker-encoded", "%2etidemark/\t-"),
	spoils("name-marker-all-encoded", "%2e%74%69%64%65%6d%61%72%6b/\t-"),
	spoils("name-256-bytes", strings.Repeat("x", 256)+"\t1"),
	spoils("name-256-bytes-encoded", strings.Repeat("%FF", 256)+"\t1"),
	spoils("name-megabyte", strings.Repeat("x", 1<<20)+"\t1"),
	spoils("name-escape-broken", "x%zz\t1"),
	spoils("name-escape-cut", "x%4\t1"),
	spoils("name-twice", "twice\t1", "twice\t1"),
	spoils("name-twice-spelled-differently", "twice\t1", "%74wice\t1"),
	spoils("name-file-and-dir", "twice\t1", "twice/\t-"),
	spoils("name-link-and-dir", "twice\t-\tlink=b", "twice/\t-"),
	spoils("name-of-a-dir-that-is-there", "sub\t3"),
	refused("name-unsorted", func(text string) string {
		lines := strings.SplitAfter(text, "\n")
		lines[1], lines[2] = lines[2], lines[1]
		return strings.Join(lines, "")
	}),
	{name: "name-in-root", play: addTo("", "..%2foutside\t1"), codes: []exit.Code{exit.Unreachable}, says: "bad name"},
	{name: "name-in-root-of-a-new-copy", play: addTo("", "..%2foutside\t1"), codes: []exit.Code{exit.Unreachable}, empty: true},
	accepts("names-like-the-marker", func(t tree) {
		for _, name := range []string{".TIDEMARK", ".Tidemark", ".tidemar\u212a", "\uff0etidemark", ".tidemark.", ".tidemark ", "%2etidemark", "x.tidemark"} {
			t.dir("a/"+name, stampOf(second))
			t.file("a/"+name+"/tree", "evil", stampOf(second))
			t.dir(name, stampOf(second))
			t.file(name+"/tree", "evil", stampOf(second))
		}
	}),
	accepts("names-that-a-terminal-obeys", func(t tree) {
		for _, name := range []string{"\x1b]0;pwned\x07", "\x1b[2J", "a\nb", "\r", "\t", "\x7f", "\u009b31m", "\u202etxt.exe", "\xff\xfe", "\xed\xa0\x80", " ", "...", "-rf", "~", "$(id)", "`id`", "\\..\\outside"} {
			t.file("a/"+name, "evil", stampOf(second))
			t.file("b/"+name, "evil", stampOf(second))
		}
	}),
	{name: "names-that-a-terminal-obeys-fail", codes: []exit.Code{exit.Failed}, play: play{
		tree: func(t tree) {
			for _, name := range []string{"\x1b]0;pwned\x07", "a\nlevel=INFO b", "\u009b31m", "\u202etxt.exe", "\xff\xfe"} {
				t.file("a/"+name, "evil", stampOf(second))
				t.dir("b/"+name, stampOf(second))
			}
		},
		answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/a/") && r.URL.Path != "/a/" || strings.HasPrefix(r.URL.Path, "/b/") && r.URL.Path != "/b/" || r.Method == http.MethodPost {
				http.Error(w, "404", http.StatusNotFound)
				return true
			}
			return false
		},
	}},
	accepts("names-of-255-bytes", func(t tree) {
		dir := "a"
		for range 14 {
			dir += "/" + strings.Repeat("\xff", 255)
			t.dir(dir, stampOf(second))
		}
		t.file(dir+"/f", "deep", stampOf(second))
	}),
	{name: "names-beyond-the-longest-path", codes: fine, says: "skipped 1", play: play{tree: func(t tree) {
		dir := "a"
		for range 17 {
			dir += "/" + strings.Repeat("d", 255)
			t.dir(dir, stampOf(second))
		}
	}}},
}

// listings are texts that are no listing.
var listings = []server{
	spoils("line-size-negative", "x\t-5"),
	spoils("line-size-too-large", "x\t9223372036854775808"),
	spoils("line-size-hexadecimal", "x\t0x10"),
	spoils("line-size-empty", "x\t"),
	spoils("line-size-of-a-dir", "x/\t5"),
	spoils("line-stamp-huge", "9223372036854775808.000000000 x\t1"),
	spoils("line-stamp-float", "1e9 x\t1"),
	spoils("line-stamp-nan", "NaN x\t1"),
	spoils("line-stamp-ten-digits", "1.0000000000 x\t1"),
	spoils("line-mode-garbage", "x\t1\tmode=rwxrwxrwx"),
	spoils("line-mode-huge", "x\t1\tmode=0177777777777777"),
	spoils("line-link-without-target", "x\t-"),
	spoils("line-link-target-broken", "x\t-\tlink=%zz"),
	spoils("line-of-17000-bytes", "x\t1\tz="+strings.Repeat("z", 17_000)),
	spoils("line-empty", ""),
	spoils("line-html", "<a href=\"x\">x</a>"),
	refused("listing-without-end", func(text string) string { return text[:strings.Index(text, "#end")] }),
	refused("listing-cut-in-its-end", func(text string) string { return text[:len(text)-1] }),
	refused("listing-count-too-small", func(text string) string { return strings.Replace(text, "#end ", "#end 1", 1)[:len(text)] }),
	refused("listing-count-negative", func(text string) string { return strings.Replace(text, "#end ", "#end -", 1) }),
	refused("listing-count-huge", func(text string) string {
		return strings.Replace(text, "#end ", "#end 99999999999999999999", 1)
	}),
	refused("listing-two", func(text string) string { return text + text }),
	refused("listing-text-after-end", func(text string) string { return text + "x" }),
	refused("listing-without-self", func(text string) string { _, rest, _ := strings.Cut(text, "\n"); return rest }),
	refused("listing-of-another-directory", func(text string) string { return strings.Replace(text, " ./\t", " ./b/\t", 1) }),
	refused("listing-of-a-parent", func(text string) string { return strings.Replace(text, " ./\t", " ./../\t", 1) }),
	refused("listing-empty-body", func(string) string { return "" }),
	refused("listing-byte-order-mark", func(text string) string { return "\ufeff" + text }),
	refused("listing-line-ends-of-dos", func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }),
	refused("listing-utf-16", func(text string) string {
		return "\xff\xfe" + strings.ReplaceAll(strings.Join(strings.Split(text, ""), "\x00"), "\n", "\n\x00")
	}),
	refused("listing-hidden-negative", func(text string) string { return strings.Replace(text, "\tnow=", "\thidden=-1\tnow=", 1) }),
	refused("listing-must-understand", func(text string) string { return strings.Replace(text, "\tnow=", "\tKeep=all\tnow=", 1) }),
	refused("listing-of-nul-bytes", func(string) string { return strings.Repeat("\x00", 1<<20) }),
	refused("listing-100-mib-in-one-line", func(string) string { return strings.Repeat("x", 100<<20) }),
	{name: "listing-empty-but-whole", codes: fine, says: "deleted", deletes: true, play: edit("a/sub", func(text string) string {
		self, _, _ := strings.Cut(text, "\n")
		return self + "\n#end 0\n"
	})},
	{name: "listing-of-the-root-empty-but-whole", codes: []exit.Code{exit.Held}, play: edit("", func(text string) string {
		self, _, _ := strings.Cut(text, "\n")
		return self + "\n#end 0\n"
	})},
	{name: "listing-of-the-root-of-another-directory", codes: []exit.Code{exit.Unreachable}, play: edit("", func(text string) string {
		return strings.Replace(text, " ./\t", " ./../outside/\t", 1)
	})},
	{name: "listing-of-10^6-entries-without-end", slow: true, codes: []exit.Code{exit.Failed}, check: aUntouched, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/" || r.Method != http.MethodGet {
			return false
		}
		_, _ = fmt.Fprintf(w, "%s ./\t-\n", stampOf(second))
		for n := range 1_000_000 {
			if _, err := fmt.Fprintf(w, "1700000000.000000001 f%07d\t1\tmode=0644\tctime=1700000000.000000001\n", n); err != nil {
				break
			}
		}
		return true
	}}},
	{name: "listing-of-comments-that-never-ends", codes: []exit.Code{exit.Failed}, check: aUntouched, play: endless("/a/", stampOf(second).String()+" ./\t-\n", "#"+strings.Repeat("x", 8000)+"\n")},
	{name: "listing-of-entries-that-never-ends", slow: true, codes: []exit.Code{exit.Failed}, check: aUntouched, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/" || r.Method != http.MethodGet {
			return false
		}
		_, err := fmt.Fprintf(w, "%s ./\t-\n", stampOf(second))
		for n := 0; err == nil; n++ {
			_, err = fmt.Fprintf(w, "1700000000.000000001 %s%020d\t1\n", strings.Repeat("f", 200), n)
		}
		return true
	}}},
	{name: "listing-drips", hours: true, codes: []exit.Code{exit.Failed}, check: aUntouched, play: play{answer: func(p *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/" || r.Method != http.MethodGet {
			return false
		}
		p.hijack(w, "HTTP/1.1 200 OK\r\nTidemark-Version: 1\r\n\r\n", drip("#"))
		return true
	}}},
}

// endless answers a path with a text, and then another one again and again.
func endless(path, begin, again string) play {
	return play{answer: func(p *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path || r.Method != http.MethodGet {
			return false
		}
		w.Header().Set("Tidemark-Tree", treeID)
		w.Header().Set("Tidemark-Epoch", p.epoch)
		w.Header().Set("Tidemark-State", "watched")
		_, err := fmt.Fprint(w, begin)
		for block := strings.Repeat(again, 1+(64<<10)/len(again)); err == nil; {
			_, err = fmt.Fprint(w, block)
		}
		return true
	}}
}

// drip sends one byte a second.
func drip(text string) func(conn net.Conn) error {
	return func(conn net.Conn) error {
		pause()
		_, err := fmt.Fprint(conn, text)
		return err
	}
}
