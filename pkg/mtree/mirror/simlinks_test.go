package mirror

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source/sourcetest"
)

// checkLinks: names are one file in the copy only if they ever were names of one file at the source.
func (s *sim) checkLinks(now map[string]simEntry) {
	first := map[uint64]string{}
	for _, path := range sortedKeys(now) {
		is := now[path]
		if is.kind != mtree.File || s.isLoose(path) {
			continue
		}
		other, has := first[is.node]
		if !has {
			first[is.node] = path
			continue
		}
		if !slices.ContainsFunc(s.trees, func(t *sourcetest.Tree) bool { return t.MayBeOne(path, other) }) {
			s.wrong("/%s and /%s are one file, and never were at the source", other, path)
		}
	}
}

// checkSameLinks: names are one file in the copy where they are at the source, and only there.
func (s *sim) checkSameLinks() {
	if !s.config.HardLinks || s.err != nil {
		return
	}
	now, files := s.read(), s.tree().Files()
	paths := sortedKeys(files)
	for i, a := range paths {
		for _, b := range paths[i+1:] {
			if one := now[a].node == now[b].node; one != (files[a] == files[b]) {
				s.wrong("/%s and /%s are one file: %t, at the source: %t", a, b, one, !one)
			}
		}
	}
}

// everLimited reports whether limits that the mirror ever had leave a version out.
func (s *sim) everLimited(v *sourcetest.Version) bool {
	if v.Kind != mtree.File {
		return false
	}
	now := s.tree().Now()
	for _, l := range s.limits {
		if l.Refuse(int64(len(v.Text)), v.MTime, now) {
			return true
		}
	}
	return false
}

// mayShowBefore reports whether the copy may have that where a limit leaves a file out: nothing, or what
// the source had.
func (s *sim) mayShowBefore(path string, is *simEntry, has bool) bool {
	return !has || is.kind == mtree.File && s.gave(path, is.text)
}

// TestSimulatedLinks has a history for each way in which names of one file change: with a kill, a power cut or
// a call that fails at many of its calls, what is written under one name reaches the others.
func TestSimulatedLinks(t *testing.T) {
	for name, history := range map[string]string{
		"written": "mkdir a; mkdir b; write a/f; hardlink a/f b/f; hardlink a/f a/g; publish; %; write b/f; publish; %; write a/f; publish; %",
		"comes":   "mkdir a; mkdir b; write a/f; write f; publish; pass; hardlink a/f b/f; publish; %; write b/f; publish; %; hardlink b/f f; hardlink b/f b/e; publish; %; write b/e; publish; %",
		"apart":   "mkdir a; mkdir b; write a/f; hardlink a/f b/f; hardlink a/f f; publish; pass; replace b/f; publish; %; write a/f; publish; %; write b/f; publish; %",
		"moves":   "mkdir a; mkdir b; write a/f; hardlink a/f b/f; publish; pass; mv a b/e; publish; %; write b/e/f; publish; %; mv b/f f; publish; %; write f; publish; %",
		"mode":    "mkdir a; mkdir b; write a/f; hardlink a/f b/f; publish; pass; chmod b/f; publish; %; write a/f; chmod a/f; publish; %",
	} {
		t.Run(name, func(t *testing.T) {
			for call := 5; call < 400; call += 1 + call/3 {
				for _, end := range []string{"kill %d", "cut %d"} {
					for at := range strings.Count(history, "%") {
						steps := strings.Split(history, "%")
						text := strings.Join(steps[:at+1], "pass") + fmt.Sprintf(end, call) + strings.Join(steps[at+1:], "pass")
						begin := []string{"set hard-links", "set walk=-1s", "set commit=" + []string{"1", "100"}[call%2]}
						simulateOnce(t, append(begin, strings.Split(strings.TrimSuffix(text, "; "), "; ")...))
					}
				}
			}
		})
	}
}
