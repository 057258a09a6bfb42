// Package glob decides with a list of rules which paths of a tree are included.
//
// A pattern with a leading slash is anchored at the root. One with a trailing slash
// matches directories only. One without any other slash matches the base name in any
// directory; one with a slash inside matches the end of a path. "*", "?", "[a-z]" and
// "{a,b}" stay within a component. "**" stands for any number of whole components, and
// is refused beside other characters in a component. The first pattern that matches
// decides; a path that none matches is included. Everything below an excluded directory
// is excluded.
//
//	list, err := glob.New([]string{"+ *.go", "- /build/", "- *.o"})
//	list.Excluded("a/b.o", false) // true
//
// crossing.go finds a "**" beside other characters of its component.
package glob

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// List is an ordered list of rules. The zero value, and nil, exclude nothing. A List is
// immutable and may be used by several goroutines at once.
type List struct{ rules []rule }

// rule is one compiled rule.
type rule struct {
	include bool
	dirOnly bool
	base    bool   // match the base name only
	pattern string // for doublestar
	itself  string // what stands before a "/**" at its end, "" if there is none
}

// New compiles rules of the form "+ GLOB" (include) and "- GLOB" (exclude).
func New(rules []string) (*List, error) {
	for _, text := range rules {
		if _, pattern, ok := strings.Cut(text, " "); ok && withinComponent(pattern) {
			return nil, fmt.Errorf("bad glob %q: ** stands for whole components, as in a/**/b; within one write *", pattern)
		}
	}
	return Recorded(rules)
}

// Recorded is New for rules that were accepted before, perhaps by a version for which
// "**" within a component was "*".
func Recorded(rules []string) (*List, error) {
	l := &List{}
	for _, text := range rules {
		r, err := compile(text)
		if err != nil {
			return nil, err
		}
		l.rules = append(l.rules, r)
	}
	return l, nil
}

// Among returns those of the words that are rules.
func Among(words []string) (rules []string) {
	for _, word := range words {
		if strings.HasPrefix(word, "+ ") || strings.HasPrefix(word, "- ") {
			rules = append(rules, word)
		}
	}
	return rules
}

// Excluding compiles globs, each of which excludes.
func Excluding(globs []string) (*List, error) {
	rules := make([]string, len(globs))
	for i, g := range globs {
		rules[i] = "- " + g
	}
	return New(rules)
}

// compile reads one rule.
func compile(text string) (rule, error) {
	if len(text) < 3 || text[1] != ' ' || text[0] != '+' && text[0] != '-' {
		return rule{}, fmt.Errorf("bad filter %q: want \"+ GLOB\" or \"- GLOB\"", text)
	}
	r := rule{include: text[0] == '+'}
	pattern := text[2:]
	pattern, r.dirOnly = strings.CutSuffix(pattern, "/")
	anchored := strings.HasPrefix(pattern, "/")
	pattern = strings.TrimPrefix(pattern, "/")
	switch {
	case pattern == "" || !doublestar.ValidatePattern(pattern):
		return rule{}, fmt.Errorf("bad glob %q", text[2:])
	case anchored:
	case !strings.Contains(pattern, "/"):
		r.base = true
	case !strings.HasPrefix(pattern, "**/"):
		pattern = "**/" + pattern
	}
	r.pattern = pattern
	if itself, ok := strings.CutSuffix(pattern, "/**"); ok && doublestar.ValidatePattern(itself) {
		r.itself = itself
	}
	return r, nil
}

// matches reports whether the pattern selects a path, or a base name. "a/**" is a itself, too;
// doublestar says so, but not where a star before the slash stands for nothing, as in "a*/**".
func (r *rule) matches(subject string) bool {
	return doublestar.MatchUnvalidated(r.pattern, subject) ||
		r.itself != "" && doublestar.MatchUnvalidated(r.itself, subject)
}

// Empty reports whether there is no rule.
func (l *List) Empty() bool { return l == nil || len(l.rules) == 0 }

// Excluded reports whether path itself is excluded. It does not look at the directories
// above: the caller walks down from the root.
func (l *List) Excluded(path string, isDir bool) bool {
	if l.Empty() {
		return false
	}
	base := path[strings.LastIndexByte(path, '/')+1:]
	for i := range l.rules {
		r := &l.rules[i]
		if r.dirOnly && !isDir {
			continue
		}
		subject := path
		if r.base {
			subject = base
		}
		if r.matches(subject) {
			return !r.include
		}
	}
	return false
}

// Hides reports whether path or a directory above it is excluded.
func (l *List) Hides(path string, isDir bool) bool {
	if l.Empty() {
		return false
	}
	for i := range len(path) {
		if path[i] == '/' && l.Excluded(path[:i], true) {
			return true
		}
	}
	return l.Excluded(path, isDir)
}
