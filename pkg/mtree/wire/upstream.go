package wire

import (
	"fmt"
	"strings"

	"tidemark/pkg/mtree"
)

// Upstream is one step of the way by which the contents of a copy came: where a
// copy was made from.
type Upstream struct {
	Host       string       // HOST[:PORT] of the source, "local" for a directory; no path, no password
	Root       mtree.Stamp  // the source's root stamp of which the copy is complete; zero while it never was
	Checkpoint *mtree.Stamp // all before is in the copy, by the source's clock or the copy's; nil: not known
	Copy       string       // 16 hex digits that name the copy made there; "": the source did not say
}

// MaxUpstreams bounds how many upstreams are passed on.
const MaxUpstreams = 16

// FormatUpstreams returns the value of Tidemark-Upstream: "HOST#COPY ROOT
// CHECKPOINT, ...", the nearest first. It leaves out "#COPY" if the name is not
// known, and writes "-" for a checkpoint that is not known (docs/protocol.md,
// "Whose tree it is"). ParseUpstreams is its inverse.
func FormatUpstreams(upstreams []Upstream) string {
	var out strings.Builder
	for i, u := range upstreams[:min(len(upstreams), MaxUpstreams)] {
		if i > 0 {
			out.WriteString(", ")
		}
		checkpoint := "-"
		if u.Checkpoint != nil {
			checkpoint = u.Checkpoint.String()
		}
		host := u.Host
		if u.Copy != "" {
			host += "#" + u.Copy
		}
		fmt.Fprintf(&out, "%s %s %s", host, u.Root, checkpoint)
	}
	return out.String()
}

// ParseUpstreams reads what FormatUpstreams wrote. It stops at the first part that
// makes no sense, and after MaxUpstreams.
func ParseUpstreams(text string) (upstreams []Upstream) {
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ", ") {
		fields := strings.Split(part, " ")
		if len(fields) != 3 || len(fields[0]) > 255 || len(upstreams) == MaxUpstreams || strings.ContainsFunc(fields[0], notInHost) {
			break
		}
		root, err := mtree.ParseStamp(fields[1])
		if err != nil {
			break
		}
		u := Upstream{Root: root}
		u.Host, u.Copy, _ = strings.Cut(fields[0], "#")
		if at, err := mtree.ParseStamp(fields[2]); err == nil {
			u.Checkpoint = &at
		}
		upstreams = append(upstreams, u)
	}
	return upstreams
}

// notInHost reports whether r cannot stand in HOST[:PORT].
func notInHost(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'<>\/@%`, r) }
