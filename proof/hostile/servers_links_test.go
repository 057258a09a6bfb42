package hostile

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
)

// leads is an attack by symlinks, pairs of a path and a target, some of which lead out:
// these are not made, and that is no failure.
func leads(name string, links ...string) server {
	return server{name: name, codes: fine, says: `skipped [1-9]`, play: play{tree: func(t tree) {
		for i := 0; i < len(links); i += 2 {
			t.link(links[i], links[i+1], stampOf(second))
		}
	}}}
}

// planted is an attack by somebody who may write to the copy: name is replaced by a symlink
// before the pass.
func planted(name, path, target string) server {
	return server{name: name, codes: fine, before: func(b *box) {
		_ = os.RemoveAll(filepath.Join(b.copy, path))
		_ = os.Symlink(target, filepath.Join(b.copy, path))
	}, cure: []string{"--max-delete", "100%"}}
}

// swapped is the same in the middle of a pass, when asked is asked for: a directory of the
// copy is moved away, and a symlink is in its place.
func swapped(name, asked, path, target string) server {
	return server{name: name, codes: []exit.Code{exit.Done, exit.Failed, exit.Local}, deletes: true, planted: []string{path, "a/link"}, with: func(b *box) play {
		return play{answer: func(_ *peer, _ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == asked && r.Method == http.MethodGet || asked == "POST" && r.Method == http.MethodPost {
				at := filepath.Join(b.copy, path)
				if os.Rename(at, at+".moved") == nil {
					_ = os.Symlink(strings.ReplaceAll(target, "COPY", b.copy), at)
				}
			}
			return false
		}}
	}, cure: []string{"--max-delete", "100%"}}
}

// links are symlinks that lead out, and what is put in the place of directories.
var links = []server{
	leads("link-absolute", "a/evil", "/etc/passwd"),
	leads("link-absolute-into-the-copy", "a/evil", "/dev/shm"),
	leads("link-parent", "evil", ".."),
	leads("link-parents", "a/sub/evil", "../../.."),
	leads("link-beside", "a/evil", "../../outside/f"),
	leads("link-down-and-up", "a/evil", "sub/../../../outside"),
	leads("link-up-beyond-the-root", "a/evil", strings.Repeat("../", 50)+"etc/passwd"),
	leads("link-slashes", "a/evil", "//etc//passwd"),
	leads("link-dots", "a/evil", "./././../../outside"),
	leads("link-chain", "a/sub/up", "../..", "a/sub/evil", "up/../outside"),
	leads("link-chain-of-three", "a/up", "..", "a/sub/up", "../up", "a/sub/evil", "up/../outside/f"),
	leads("link-through-a-file", "a/evil", "stays/../../../outside"),
	leads("link-4000-parents", "a/evil", strings.Repeat("../", 1300)+"x"),
	spoils("link-nul", "evil\t-\tlink=..%00x"),
	{name: "link-empty-target", codes: []exit.Code{exit.Done, exit.Failed}, play: addTo("a", "evil\t-\tlink=")},
	{name: "link-target-too-long", codes: []exit.Code{exit.Done, exit.Failed, exit.Local}, play: play{tree: func(t tree) { t.link("a/evil", strings.Repeat("x/", 4000), stampOf(second)) }}},
	accepts("link-to-itself", func(t tree) { t.link("a/evil", "evil", stampOf(second)) }),
	accepts("link-ring", func(t tree) {
		t.link("a/ring1", "ring2", stampOf(second))
		t.link("a/ring2", "../a/ring1", stampOf(second))
	}),
	accepts("link-target-that-a-terminal-obeys", func(t tree) { t.link("a/evil", "\x1b]0;pwned\x07", stampOf(second)) }),
	{name: "link-to-the-marker", codes: fine, play: play{tree: func(t tree) { t.link("evil", ".tidemark", stampOf(second)) }}},
	{name: "link-then-directory", codes: fine, passes: 2, deletes: true, cure: []string{"--max-delete", "100%"}, with: flips(func(n int, t tree) {
		delete(t, "a/evil")
		delete(t, "a/evil/changes")
		if n%2 == 0 {
			t.link("a/evil", "../b", stampOf(second))
		} else {
			t.dir("a/evil", stampOf(second))
			t.file("a/evil/changes", "evil", stampOf(second))
		}
	})},
	{name: "link-to-a-link-of-an-earlier-pass", codes: fine, passes: 3, with: flips(func(n int, t tree) {
		t.link("a/sub/up", "../..", stampOf(second))
		if n > 0 {
			t.link("a/sub/upper", "up/..", stampOf(second))
		}
		if n > 1 {
			t.link("a/sub/evil", "upper/outside", stampOf(second))
		}
	})},
	{name: "link-in-the-place-of-a-directory", codes: fine, deletes: true, cure: []string{"--max-delete", "100%"}, play: play{tree: func(t tree) {
		for path := range t {
			if strings.HasPrefix(path, "a/sub/") {
				delete(t, path)
			}
		}
		t.link("a/sub", "../b", stampOf(second))
	}}},

	planted("planted-directory", "a", "../outside"),
	planted("planted-directory-absolute", "a", "/dev/shm"),
	planted("planted-deep", "a/sub", "../../outside/sub"),
	planted("planted-file", "a/changes", "../../outside/f"),
	planted("planted-in-the-place-of-what-goes", "a/gone", "../../outside/f"),
	{name: "planted-marker", codes: []exit.Code{exit.Refused, exit.Local}, planted: []string{mtree.MarkerName}, statusFails: true, before: func(b *box) {
		_ = os.Rename(filepath.Join(b.copy, mtree.MarkerName), filepath.Join(b.copy, "away"))
		_ = os.Symlink("../outside", filepath.Join(b.copy, mtree.MarkerName))
	}, check: func(b *box, _ *peer, _ result) []string {
		_ = os.Remove(filepath.Join(b.copy, mtree.MarkerName))
		_ = os.Rename(filepath.Join(b.copy, "away"), filepath.Join(b.copy, mtree.MarkerName))
		return nil
	}, deletes: true},
	{name: "planted-staging", codes: []exit.Code{exit.Done, exit.Failed, exit.Refused, exit.Local}, before: func(b *box) {
		_ = os.RemoveAll(filepath.Join(b.copy, ".tidemark/tmp"))
		_ = os.Symlink("../../outside", filepath.Join(b.copy, ".tidemark/tmp"))
	}, check: func(b *box, _ *peer, _ result) []string {
		if to, err := os.Readlink(filepath.Join(b.copy, ".tidemark/tmp")); err == nil {
			_ = os.Remove(filepath.Join(b.copy, ".tidemark/tmp"))
			b.t.Logf("still there: %s", to)
		}
		return nil
	}},
	swapped("swapped-parent", "/a/sub/", "a", "../outside"),
	swapped("swapped-directory", "/a/sub/", "a/sub", "../../outside/sub"),
	swapped("swapped-while-fetching", "POST", "a", "../outside"),
	swapped("swapped-by-an-absolute-link", "POST", "a", "COPY/../outside"),
	swapped("swapped-by-a-link-within", "POST", "a", "b"),
}

// flips makes the tree another one for each listing of the root: n counts them.
func flips(change func(n int, t tree)) func(b *box) play {
	return func(*box) play {
		n := -1
		return play{answer: func(p *peer, _ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/" && r.Method == http.MethodGet && r.URL.RawQuery != "" {
				n++
				p.mu.Lock()
				defer p.mu.Unlock()
				p.tree = p.tree.clone()
				for path, e := range p.tree { // every directory has another stamp
					if e.Kind == mtree.Dir && path != "still" {
						e.MTime = e.MTime.Add(1)
					}
				}
				change(n, p.tree)
			}
			return false
		}}
	}
}
