package disk

import (
	"fmt"
	"net/url"
	"strings"

	"tidemark/pkg/mtree"
)

// Hop is one step of the way that a copy's contents came.
type Hop struct {
	Host       string       // of the source, "local" for a directory; no path, no password
	Root       mtree.Stamp  // its stamp of which the copy is complete; zero while it never was
	Checkpoint *mtree.Stamp // by the source's clock: all before is in the copy; nil: not known
}

// MaxHops bounds a chain of copies that is told on.
const MaxHops = 16

// Chain returns where a copy was made from, and then how that came about as its
// own source told it when the copy was complete last. It is empty for a tree
// that is no copy.
func (p *Published) Chain() []Hop {
	if p.Tree.Role != Copy {
		return nil
	}
	first := Hop{Host: hostOf(p.Tree.Upstream), Checkpoint: p.Status.Checkpoint}
	if p.Status.Root != nil {
		first.Root = *p.Status.Root
	}
	return append([]Hop{first}, ParseHops(p.Status.Chain)...)
}

// hostOf returns the host of a source.
func hostOf(source string) string {
	if u, err := url.Parse(source); err == nil && u.Host != "" {
		return u.Host
	}
	return "local"
}

// FormatHops returns "HOST ROOT CHECKPOINT, ...", the nearest first, the
// checkpoint as "-" if it is not known. ParseHops is its inverse.
func FormatHops(hops []Hop) string {
	var out strings.Builder
	for i, hop := range hops[:min(len(hops), MaxHops)] {
		if i > 0 {
			out.WriteString(", ")
		}
		checkpoint := "-"
		if hop.Checkpoint != nil {
			checkpoint = hop.Checkpoint.String()
		}
		fmt.Fprintf(&out, "%s %s %s", hop.Host, hop.Root, checkpoint)
	}
	return out.String()
}

// ParseHops reads what FormatHops wrote, as far as it makes sense.
func ParseHops(text string) (hops []Hop) {
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ", ") {
		fields := strings.Split(part, " ")
		if len(fields) != 3 || len(fields[0]) > 255 || len(hops) == MaxHops || strings.ContainsFunc(fields[0], notOfHost) {
			break
		}
		root, err := mtree.ParseStamp(fields[1])
		if err != nil {
			break
		}
		hop := Hop{Host: fields[0], Root: root}
		if at, err := mtree.ParseStamp(fields[2]); err == nil {
			hop.Checkpoint = &at
		}
		hops = append(hops, hop)
	}
	return hops
}

// notOfHost reports whether r has no business in HOST[:PORT].
func notOfHost(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'<>\/@%`, r) }
