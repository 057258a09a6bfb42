package serve

import (
	"encoding/json"
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/published"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// statusReport is the answer to /?status. It names no path of this host.
type statusReport struct {
	Version    string       `json:"version"`
	Protocol   int          `json:"protocol"`
	Tree       string       `json:"tree,omitempty"`
	Epoch      uint64       `json:"epoch"`
	State      wire.State   `json:"state"`
	Root       mtree.Stamp  `json:"root"`
	Now        mtree.Stamp  `json:"now"`
	Checkpoint *mtree.Stamp `json:"checkpoint,omitempty"`
	Lag        *float64     `json:"lag,omitempty"` // seconds since the checkpoint

	Entries  *state.Entries `json:"entries,omitempty"`  // how much the tree has, as the last audit counted it
	Upstream []upstream     `json:"upstream,omitempty"` // of a copy: its source, the source of that, ...
	Path     string         `json:"path,omitempty"`     // which directory of the tree this is
	Runs     []wire.Run     `json:"runs,omitempty"`     // of its watch, the latest last
	Waiting  int64          `json:"waiting"`            // long polls
}

// upstream is one of the trees that a copy comes from.
type upstream struct {
	Host       string       `json:"host"`
	Root       mtree.Stamp  `json:"root"`                 // its stamp when the copy was complete last
	Checkpoint *mtree.Stamp `json:"checkpoint,omitempty"` // by the source's clock: all changes before it are in the copy
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

// status answers GET and HEAD of /?status from what is on disk at this moment, even if
// the root was replaced: as JSON, and for browsers as a page.
func (h *Handler) status(w http.ResponseWriter, r *http.Request, t *target) {
	s, now := h.tree.Reread(), h.now()
	self, err := h.tree.Lister(s).Self(h.tree.Root(), "")
	if err != nil {
		h.fail(w, &reply{}, err)
		return
	}
	report := h.statusOf(s, self, now)
	a := &reply{about: h.about(s, "", self.MTime, now), cache: "no-store", vary: "Accept"}
	if t.has(string(render.HTML)) || negotiate.TakesPages(r) && !t.has(string(render.JSON)) {
		h.statusPage(w, a, s, &report)
		return
	}
	body, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		h.fail(w, a, err)
		return
	}
	a.kind, a.policy = "application/json", render.NoScripts
	h.send(w, a.withBody(append(body, '\n')))
}

// statusOf returns what /?status says under s.
func (h *Handler) statusOf(s *published.Snapshot, self disk.Info, now mtree.Stamp) statusReport {
	checkpoint := s.Status.Current()
	out := statusReport{
		Version: h.cfg.Version, Protocol: 1, Tree: s.Tree.ID, Epoch: s.Tree.Epoch, State: s.State, Root: self.MTime, Now: now,
		Checkpoint: checkpoint, Lag: lagOf(checkpoint, now), Waiting: h.cfg.Stats.Waiting.Load(), Entries: s.Counted(),
	}
	if s.Tree.ID != "" {
		out.Path, out.Runs = s.Tree.At(""), s.Tree.Runs
	}
	for _, step := range s.Upstreams() {
		out.Upstream = append(out.Upstream, upstream{step.Host, step.Root, step.Checkpoint, lagOf(step.Checkpoint, now)})
	}
	return out
}
