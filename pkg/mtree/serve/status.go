package serve

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// status is the answer to /?status. It names no path of this host.
type status struct {
	Version    string       `json:"version"`
	Protocol   int          `json:"protocol"`
	Tree       string       `json:"tree,omitempty"`
	Epoch      uint64       `json:"epoch"`
	State      disk.State   `json:"state"`
	Root       mtree.Stamp  `json:"root"`
	Now        mtree.Stamp  `json:"now"`
	Checkpoint *mtree.Stamp `json:"checkpoint,omitempty"`
	Lag        *float64     `json:"lag,omitempty"` // seconds since the checkpoint
	Upstream   []hop        `json:"upstream,omitempty"`
	Waiting    int64        `json:"waiting"` // long polls
}

// hop is one step of the way the tree came: of a copy, where it was made from.
type hop struct {
	Host       string       `json:"host"`
	Root       mtree.Stamp  `json:"root"`                 // its stamp when the copy was complete last
	Checkpoint *mtree.Stamp `json:"checkpoint,omitempty"` // by its clock: all before is in the copy
	Lag        *float64     `json:"lag,omitempty"`        // seconds by which the copy is behind, by this clock
}

// status answers /?status from what is on disk at this moment.
func (h *Handler) status(w http.ResponseWriter, _ *http.Request, v *view) {
	s := h.tree.fresh()
	self, err := h.tree.root.Self()
	if err != nil {
		h.fail(w, err)
		return
	}
	out := status{
		Version: h.cfg.Version, Protocol: 1, Tree: s.Tree.ID, Epoch: s.Tree.Epoch, State: s.State,
		Root: self.MTime, Now: v.now, Checkpoint: s.Status.Checkpoint, Waiting: h.cfg.Stats.Waiting.Load(),
	}
	if out.Checkpoint != nil {
		lag := max(v.now.Sub(*out.Checkpoint).Seconds(), 0)
		out.Lag = &lag
	}
	if s.Tree.Role == disk.Copy {
		root := self.MTime
		if s.Status.Root != nil {
			root = *s.Status.Root
		}
		out.Upstream = []hop{{hostOf(s.Tree.Upstream), root, out.Checkpoint, out.Lag}}
	}
	body, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		h.fail(w, err)
		return
	}
	header := w.Header()
	h.setTree(header, s, self.MTime, v.now)
	header["Content-Type"] = []string{"application/json"}
	header["Content-Security-Policy"] = []string{noCSP}
	header["Cache-Control"] = []string{"no-store"}
	header["Content-Length"] = []string{strconv.Itoa(len(body) + 1)}
	writeAll(w, append(body, '\n'))
}

// hostOf returns the host of a source, which tells nobody a path or password.
func hostOf(source string) string {
	if u, err := url.Parse(source); err == nil && u.Host != "" {
		return u.Host
	}
	return "local"
}
