package state

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
)

// Hop is one step of the way that a copy's contents came.
type Hop struct {
	Host       string       // of the source, "local" for a directory; no path, no password
	Root       mtree.Stamp  // its stamp of which the copy is complete; zero while it never was
	Checkpoint *mtree.Stamp // all before is in the copy, by the source's clock or the copy's; nil: not known
	Copy       string       // Tree.Copy of the copy made there; "": not told
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
	first := Hop{Host: hostOf(p.Tree.Upstream), Checkpoint: p.Status.Current(), Copy: p.Tree.Copy}
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

// Current returns until when a tree is known to be what it was made from, or heard
// to be as published: of a copy that may be later than what it copied last, for its
// source says again and again that nothing is new. nil: not known.
func (s *Status) Current() *mtree.Stamp {
	if s.Checkpoint == nil || s.Confirmed != nil && s.Confirmed.After(*s.Checkpoint) {
		return s.Confirmed
	}
	return s.Checkpoint
}

// CameBy reports whether what the chain tells of came by way of t, a copy: the
// chain names it, with the source that it has. A clone of its disk on another
// machine has its name, and another source.
func (t *Tree) CameBy(chain string) bool {
	return t.Copy != "" && slices.ContainsFunc(ParseHops(chain), func(h Hop) bool {
		return h.Copy == t.Copy && h.Host == hostOf(t.Upstream)
	})
}

// FormatHops returns "HOST#COPY ROOT CHECKPOINT, ...", the nearest first, without
// "#COPY" if that is not told, the checkpoint as "-" if it is not known. ParseHops is
// its inverse.
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
		host := hop.Host
		if hop.Copy != "" {
			host += "#" + hop.Copy
		}
		fmt.Fprintf(&out, "%s %s %s", host, hop.Root, checkpoint)
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
		hop := Hop{Root: root}
		hop.Host, hop.Copy, _ = strings.Cut(fields[0], "#")
		if at, err := mtree.ParseStamp(fields[2]); err == nil {
			hop.Checkpoint = &at
		}
		hops = append(hops, hop)
	}
	return hops
}

// notOfHost reports whether r has no business in HOST[:PORT].
func notOfHost(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'<>\/@%`, r) }
