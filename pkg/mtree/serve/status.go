package serve

import (
	"encoding/json"
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// status is the answer to /?status. It names no path of this host.
type status struct {
	Version    string       `json:"version"`
	Protocol   int          `json:"protocol"`
	Tree       string       `json:"tree,omitempty"`
	Epoch      uint64       `json:"epoch"`
	State      wire.State   `json:"state"`
	Root       mtree.Stamp  `json:"root"`
	Now        mtree.Stamp  `json:"now"`
	Checkpoint *mtree.Stamp `json:"checkpoint,omitempty"`
	Lag        *float64     `json:"lag,omitempty"`      // seconds since the checkpoint
	Upstream   []hop        `json:"upstream,omitempty"` // of a copy: its source, the source of that, ...
	Path       string       `json:"path,omitempty"`     // which directory of the tree this is
	Runs       []wire.Run   `json:"runs,omitempty"`     // of its watch, the latest last
	Waiting    int64        `json:"waiting"`            // long polls
}

// hop is one step of the way the tree came: of a copy, where it was made from.
type hop struct {
	Host       string       `json:"host"`
	Root       mtree.Stamp  `json:"root"`                 // its stamp when the copy was complete last
	Checkpoint *mtree.Stamp `json:"checkpoint,omitempty"` // by its clock: all before is in the copy
	Lag        *float64     `json:"lag,omitempty"`        // seconds by which the copy is behind, by this clock
}

// lagOf returns the seconds since a checkpoint, nil if there is none.
func lagOf(checkpoint *mtree.Stamp, now mtree.Stamp) *float64 {
	if checkpoint == nil {
		return nil
	}
	lag := max(now.Sub(*checkpoint).Seconds(), 0)
	return &lag
}

// status answers /?status from what is on disk at this moment.
func (h *Handler) status(w http.ResponseWriter, _ *http.Request, v *view) {
	s := h.tree.fresh()
	self, err := h.lister(s).Self(h.tree.root, "")
	if err != nil {
		h.fail(w, v.base, err)
		return
	}
	out := status{
		Version: h.cfg.Version, Protocol: 1, Tree: s.Tree.ID, Epoch: s.Tree.Epoch, State: s.State,
		Root: self.MTime, Now: v.now, Checkpoint: s.Status.Current(), Lag: lagOf(s.Status.Current(), v.now), Waiting: h.cfg.Stats.Waiting.Load(),
	}
	if s.Tree.ID != "" {
		out.Path, out.Runs = s.Tree.At(""), s.Tree.Runs
	}
	for _, step := range s.Upstreams() {
		out.Upstream = append(out.Upstream, hop{step.Host, step.Root, step.Checkpoint, lagOf(step.Checkpoint, v.now)})
	}
	body, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		h.fail(w, v.base, err)
		return
	}
	a := reply{about: h.about(s, "", self.MTime, v.now), kind: "application/json", policy: render.NoScripts, cache: "no-store"}
	h.send(w, a.withBody(append(body, '\n')))
}
