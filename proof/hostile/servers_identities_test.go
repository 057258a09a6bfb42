package hostile

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/wire"
)

// says is an attack by a header of all listings.
func says(name, header, value string, codes ...exit.Code) server {
	return server{name: name, codes: codes, deletes: true, play: play{header: func(_ *peer, h http.Header, _ *http.Request) {
		h[header] = []string{value}
	}}}
}

// always is says of a header that must not keep the copy from becoming equal.
func always(name, header, value string) server {
	s := says(name, header, value, fine...)
	s.check = asSecond
	return s
}

// colours is what a terminal obeys. With the escapes of ASCII in it, a header is none for
// net/http.
const (
	colours = "\u009b31m\u202e\x9b2J\xff"
	escapes = "\x1b]0;pwned\x07\x1b[31m"
)

// heads are headers of listings that say what makes no sense.
var heads = []server{
	always("state-unknown", wire.HeaderState, "excellent"),
	always("state-in-colours", wire.HeaderState, colours),
	always("state-none", wire.HeaderState, ""),
	always("runs-in-colours", wire.HeaderRuns, colours),
	always("runs-without-end", wire.HeaderRuns, strings.Repeat("0123456789abcdef 1.000000000, ", 2000)),
	always("runs-of-the-future", wire.HeaderRuns, "0123456789abcdef 99999999999.000000000, fedcba9876543210 -"),
	always("upstream-in-colours", wire.HeaderUpstream, colours+"#0123456789abcdef 1.000000000 -"),
	always("upstream-hosts-in-colours", wire.HeaderUpstream, "http://x/\u009b31m%1B%5B31m#0123456789abcdef 1.000000000 -"),
	always("upstream-a-ring-of-1000", wire.HeaderUpstream, strings.Repeat("a#0123456789abcdef 1.000000000 -, b#fedcba9876543210 1.000000000 -, ", 500)),
	always("upstream-of-60-kib", wire.HeaderUpstream, strings.Repeat("x", 60<<10)),
	always("now-in-the-future", wire.HeaderNow, "9223372036854775807.999999999"),
	always("now-garbage", wire.HeaderNow, colours),
	always("stamp-garbage", wire.HeaderStamp, colours),
	always("version-of-the-future", wire.HeaderVersion, "99999999999999999999"),
	always("version-in-colours", wire.HeaderVersion, colours),
	always("tag-in-colours", "Etag", "W/\"x"+colours+"\""),
	always("tag-of-another-stamp", "Etag", `W/"9223372036854775807.999999999-txt-abcdef"`),
	always("tag-of-60-kib", "Etag", `W/"`+strings.Repeat("x", 60<<10)+`"`),
	always("tag-cut", "Etag", `"`),
	always("server-in-colours", "Server", colours),
	always("date-garbage", "Last-Modified", colours),
	says("header-with-escapes", wire.HeaderTree, escapes, exit.Unreachable),
	says("epoch-garbage", wire.HeaderEpoch, colours, exit.Failed, exit.Unreachable, exit.Refused),
	says("epoch-negative", wire.HeaderEpoch, "-1", exit.Failed, exit.Unreachable, exit.Refused),
	says("epoch-beyond-64-bits", wire.HeaderEpoch, "99999999999999999999", exit.Failed, exit.Unreachable, exit.Refused),
	{name: "epoch-largest", codes: fine, cure: []string{"--adopt"}, play: play{header: func(_ *peer, h http.Header, _ *http.Request) {
		h.Set(wire.HeaderEpoch, "18446744073709551615")
	}}},
	says("tree-in-colours", wire.HeaderTree, colours, exit.Unreachable),
	says("tree-in-colours-after-hex", wire.HeaderTree, treeID+colours, exit.Unreachable),
	says("tree-of-60-kib", wire.HeaderTree, strings.Repeat("0", 60<<10), exit.Unreachable),
	says("tree-climbs", wire.HeaderTree, "../../outside", exit.Unreachable),
	says("path-climbs", wire.HeaderPath, "/../../outside", exit.Done, exit.Failed, exit.Unreachable, exit.Refused),
	says("path-in-colours", wire.HeaderPath, "/"+colours, exit.Done, exit.Failed, exit.Unreachable, exit.Refused),
	{name: "path-in-colours-of-a-new-copy", empty: true, codes: []exit.Code{exit.Done, exit.Failed, exit.Unreachable, exit.Refused}, cure: []string{"--adopt"}, play: play{header: func(_ *peer, h http.Header, _ *http.Request) {
		h[wire.HeaderPath] = []string{"/%1B]0;x%07/%9B/" + colours}
		h[wire.HeaderUpstream] = []string{"%1B[31m" + colours + "#0123456789abcdef 1.000000000 -, \u009b31m 2.000000000 -"}
		h[wire.HeaderState] = []string{colours}
		h["Server"] = []string{colours}
	}}},
	{name: "tree-in-colours-of-a-new-copy", empty: true, codes: []exit.Code{exit.Done, exit.Unreachable, exit.Refused}, cure: []string{"--adopt"}, play: play{header: func(_ *peer, h http.Header, _ *http.Request) {
		h[wire.HeaderTree] = []string{colours}
	}}},
}

// identities are servers that are not, or not always, what they were.
var identities = []server{
	{name: "another-tree", codes: []exit.Code{exit.Refused}, says: "--adopt", play: identify("ffeeddccbbaa99887766554433221100", "1")},
	{name: "no-tree", codes: []exit.Code{exit.Refused, exit.Held, exit.Failed}, play: play{header: func(_ *peer, h http.Header, _ *http.Request) { h.Del(wire.HeaderTree) }}},
	{name: "no-headers-at-all", codes: []exit.Code{exit.Refused, exit.Held, exit.Failed}, play: play{header: func(_ *peer, h http.Header, _ *http.Request) { clear(h) }}},
	{name: "an-older-epoch", codes: []exit.Code{exit.Done, exit.Held, exit.Refused}, play: identify(treeID, "0")},
	{name: "another-tree-below-the-root", codes: []exit.Code{exit.Failed}, play: play{header: func(_ *peer, h http.Header, r *http.Request) {
		if r.URL.Path != "/" {
			h.Set(wire.HeaderTree, "ffeeddccbbaa99887766554433221100")
		}
	}}},
	{name: "another-epoch-at-each-answer", codes: []exit.Code{exit.Done, exit.Failed}, cure: []string{"--adopt"}, with: counted(func(n int64, h http.Header) {
		h.Set(wire.HeaderEpoch, fmt.Sprint(1000+n))
	})},
	{name: "another-tree-at-each-answer", codes: []exit.Code{exit.Failed, exit.Refused}, passes: 3, with: counted(func(n int64, h http.Header) {
		h.Set(wire.HeaderTree, fmt.Sprintf("%032x", n))
	})},
	{name: "another-run-at-each-answer", codes: []exit.Code{exit.Done, exit.Failed}, passes: 3, with: counted(func(n int64, h http.Header) {
		h.Set(wire.HeaderRuns, fmt.Sprintf("%016x -", n))
	})},
	{name: "another-state-at-each-answer", codes: []exit.Code{exit.Done, exit.Failed}, passes: 3, with: counted(func(n int64, h http.Header) {
		states := []wire.State{wire.Watched, wire.Unwatched, wire.Filling, wire.Stale, wire.Degraded, wire.Mirrored, wire.Audited, wire.Auditing}
		h.Set(wire.HeaderState, string(states[n%int64(len(states))]))
	})},
	{name: "state-of-a-copy-that-fills", codes: []exit.Code{exit.Held}, play: play{
		header: func(_ *peer, h http.Header, _ *http.Request) { h.Set(wire.HeaderState, string(wire.Filling)) },
		tree: func(t tree) {
			for path := range t {
				if strings.HasPrefix(path, "still/") {
					delete(t, path)
				}
			}
			t.dir("still", stampOf(second))
		},
	}},
	{name: "ids-are-others-at-each-answer", codes: []exit.Code{exit.Done, exit.Failed}, passes: 3, with: func(*box) play {
		var n atomic.Int64
		return play{listing: func(_ *peer, _, text string) string {
			at := strings.Index(text, "id=")
			return fmt.Sprintf("%s%016x%s", text[:at+3], n.Add(1), text[at+19:])
		}}
	}},
	{name: "ids-in-colours", codes: []exit.Code{exit.Failed, exit.Unreachable, exit.Done}, play: play{listing: func(_ *peer, _, text string) string {
		at := strings.Index(text, "id=")
		return text[:at+3] + "\x1b[31m" + text[at+19:]
	}}},
	{name: "ids-of-60-kib", codes: []exit.Code{exit.Failed, exit.Unreachable, exit.Done}, play: play{listing: func(_ *peer, _, text string) string {
		at := strings.Index(text, "id=")
		return text[:at+3] + strings.Repeat("f", 12_000) + text[at+19:]
	}}},
	{name: "a-directory-comes-back-empty-as-another", codes: []exit.Code{exit.Held}, play: edit("still", func(text string) string {
		return "1700009999.000000001 ./\t-\tid=ffffffffffffffff\n#end 0\n"
	}), with: func(*box) play {
		return play{
			tree: func(t tree) { t.dir("still", stampOf(second)) },
			listing: func(_ *peer, dir, text string) string {
				if dir != "still" {
					return text
				}
				return stampOf(second).String() + " ./\t-\tid=ffffffffffffffff\n#end 0\n"
			},
		}
	}},
	{name: "claims-to-be-made-of-this-copy", codes: []exit.Code{exit.Done, exit.Refused}, with: func(b *box) play {
		text, _ := os.ReadFile(filepath.Join(b.copy, ".tidemark/tree"))
		id := "0123456789abcdef"
		if _, rest, ok := strings.Cut(string(text), `"copy":"`); ok && len(rest) > 16 {
			id = rest[:16]
		}
		return play{header: func(p *peer, h http.Header, _ *http.Request) {
			h.Set(wire.HeaderUpstream, fmt.Sprintf("%s#%s 1.000000000 -", p.Listener.Addr(), id))
		}}
	}},
	{name: "since-is-of-other-directories", codes: fine, args: []string{}, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.RawQuery, "since=") {
			_, _ = fmt.Fprintf(w, "1.5 ./../outside/\t-\n1.5 f\t1\n#end 1\n#stamp 1.5\n")
			return true
		}
		return false
	}}},
}

// identify says another identity in all listings.
func identify(tree, epoch string) play {
	return play{header: func(_ *peer, h http.Header, _ *http.Request) {
		h.Set(wire.HeaderTree, tree)
		h.Set(wire.HeaderEpoch, epoch)
	}}
}

// counted alters the headers of each listing by its number.
func counted(alter func(n int64, h http.Header)) func(*box) play {
	return func(*box) play {
		var n atomic.Int64
		return play{header: func(_ *peer, h http.Header, _ *http.Request) { alter(n.Add(1), h) }}
	}
}
