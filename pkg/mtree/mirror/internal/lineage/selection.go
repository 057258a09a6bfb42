package lineage

import (
	"slices"
	"strconv"
	"strings"

	"tidemark/pkg/mtree/mirror/internal/limits"
	"tidemark/pkg/mtree/mirror/internal/rights"
)

// Selection decides which entries a complete copy has. If it changes, a copy that was
// complete no longer is.
type Selection struct {
	Filters   []string // "+ GLOB" and "- GLOB"
	NoDelete  bool     // entries that the source no longer has stay
	NoLinks   bool     // symlinks are left out
	Owner     bool     // owners are copied
	HardLinks bool     // what is one file at the source is one here
	Chmod     []string // --chmod
	Chown     string   // --chown; "": not given
	Limits    limits.Limits
}

// Options that the tree file lists among the filters.
const (
	noDelete  = "no-delete"
	noLinks   = "no-links"
	owner     = "owner"
	hardLinks = "hard-links"
)

// Rules returns the selection as the tree file lists it.
func (s Selection) Rules() []string {
	rules := slices.Clone(s.Filters)
	if s.NoDelete {
		rules = append(rules, noDelete)
	}
	if s.NoLinks {
		rules = append(rules, noLinks)
	}
	if s.Owner {
		rules = append(rules, owner)
	}
	if s.HardLinks {
		rules = append(rules, hardLinks)
	}
	return slices.Concat(rules, rights.Lines(s.Chmod, s.Chown), s.Limits.Lines())
}

// ParseSelection is the inverse of Selection.Rules.
func ParseSelection(rules []string) (s Selection) {
	for _, rule := range rules {
		switch rule {
		case noDelete:
			s.NoDelete = true
		case noLinks:
			s.NoLinks = true
		case owner:
			s.Owner = true
		case hardLinks:
			s.HardLinks = true
		default:
			if chmod, chown, ok := rights.ParseLine(rule); !ok && !s.Limits.Add(rule) {
				s.Filters = append(s.Filters, rule)
			} else if chmod != "" {
				s.Chmod = []string{chmod}
			} else if chown != "" {
				s.Chown = chown
			}
		}
	}
	return s
}

// IsLike reports whether both keep the same entries from being deleted: owners, modes, limits and hard links do not count.
func (s Selection) IsLike(other Selection) bool {
	return slices.Equal(s.Filters, other.Filters) && s.NoDelete == other.NoDelete && s.NoLinks == other.NoLinks
}

// Options returns the selection as a command line has it, for messages; "" if nothing is selected.
func (s Selection) Options() string {
	var words []string
	for _, rule := range s.Rules() {
		option := "--" + rule
		if glob, ok := strings.CutPrefix(rule, "+ "); ok {
			option = "--include " + strconv.Quote(glob)
		} else if glob, ok := strings.CutPrefix(rule, "- "); ok {
			option = "--exclude " + strconv.Quote(glob)
		}
		words = append(words, option)
	}
	return strings.Join(words, " ")
}
