package watch

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/identity"
	"tidemark/pkg/mtree/wire"
)

// treeReport is what a tree says about its watcher, as --status --json prints it. Times are stamps.
type treeReport struct {
	State      wire.State       `json:"state"`
	Tree       string           `json:"tree,omitempty"`
	Epoch      uint64           `json:"epoch,omitempty"`
	Root       *mtree.Stamp     `json:"root,omitempty"` // the time of the root itself
	Checkpoint *mtree.Stamp     `json:"checkpoint,omitempty"`
	Floor      *mtree.Stamp     `json:"floor,omitempty"`
	Updated    *mtree.Stamp     `json:"updated,omitempty"`
	Entries    *state.Entries   `json:"entries,omitempty"` // as the last audit counted them
	Backend    string           `json:"backend,omitempty"`
	PID        int              `json:"pid,omitempty"` // of a program that runs
	Trouble    string           `json:"trouble,omitempty"`
	Counters   map[string]int64 `json:"counters,omitempty"`
}

// PrintStatus writes what the tree at root says about its watcher, one "key: value" a
// line: state first.
func PrintStatus(out io.Writer, root, stateDir string) error {
	r, err := lookAtTree(root, stateDir)
	if err == nil {
		_, err = io.WriteString(out, r.lines())
		err = exit.With(exit.Local, err, "")
	}
	return err
}

// EncodeStatus writes the same as an object of JSON.
func EncodeStatus(out io.Writer, root, stateDir string) error {
	r, err := lookAtTree(root, stateDir)
	if err != nil {
		return err
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return exit.With(exit.Local, e.Encode(r), "")
}

// lookAtTree reads what the tree at root says about its watcher.
func lookAtTree(root, stateDir string) (*treeReport, error) {
	dir, err := identity.OpenRoot(root, stateDir, false)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	p, err := state.ReadPublished(dir, stateDir)
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	r := &treeReport{
		State: p.State, Checkpoint: p.Status.Checkpoint, Floor: p.Status.Floor, Updated: p.Status.Updated,
		Entries: p.Counted(), Backend: p.Status.Backend, Trouble: p.Status.Error, Counters: p.Status.Counters,
	}
	if p.Tree.ID != "" {
		r.Tree, r.Epoch = p.Tree.ID, p.Tree.Epoch
	}
	if info, err := dir.Self(); err == nil {
		r.Root = &info.MTime
	}
	if runs, err := isKept(dir, stateDir); err == nil && runs { // guard: TestStatusOfADegradedTreeThatNobodyWatches
		r.PID = p.Status.PID
	}
	return r, nil
}

// isKept reports whether a program keeps the tree now.
func isKept(root *disk.Dir, stateDir string) (bool, error) {
	m, err := state.OpenMarker(root, stateDir)
	if err != nil {
		return false, err
	}
	defer m.Close()
	return m.Locked()
}

// lines returns the report as text.
func (r *treeReport) lines() string {
	lines := []string{"state: " + string(r.State)}
	add := func(key, value string) {
		if value != "" {
			lines = append(lines, key+": "+value)
		}
	}
	stamp := func(key string, s *mtree.Stamp) {
		if s != nil {
			add(key, s.String())
		}
	}
	if r.Tree != "" {
		add("tree", r.Tree)
		add("epoch", fmt.Sprint(r.Epoch))
	}
	stamp("root", r.Root)
	stamp("checkpoint", r.Checkpoint)
	stamp("floor", r.Floor)
	stamp("updated", r.Updated)
	if r.Entries != nil {
		add("entries", r.Entries.String())
	}
	add("backend", r.Backend)
	if r.PID != 0 {
		add("pid", fmt.Sprint(r.PID))
	}
	add("trouble", r.Trouble)
	for _, key := range slices.Sorted(maps.Keys(r.Counters)) {
		add(key, fmt.Sprint(r.Counters[key]))
	}
	return strings.Join(lines, "\n") + "\n"
}
