package watch

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/identity"
	"tidemark/pkg/mtree/wire"
)

// PrintStatus writes what the tree at root says about its watcher, one "key: value" a
// line: state first.
func PrintStatus(out io.Writer, root, stateDir string) error {
	dir, err := identity.OpenRoot(root, stateDir, false)
	if err != nil {
		return err
	}
	defer dir.Close()
	p, err := state.ReadPublished(dir, stateDir)
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	lines := []string{"state: " + string(p.State)}
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
	if p.Tree.ID != "" {
		add("tree", p.Tree.ID)
		add("epoch", fmt.Sprint(p.Tree.Epoch))
	}
	if info, err := dir.Self(); err == nil {
		add("root", info.MTime.String())
	}
	stamp("checkpoint", p.Status.Checkpoint)
	stamp("floor", p.Status.Floor)
	stamp("updated", p.Status.Updated)
	add("backend", p.Status.Backend)
	if p.Status.PID != 0 && p.State != wire.Audited && p.State != wire.Unwatched {
		add("pid", fmt.Sprint(p.Status.PID))
	}
	add("trouble", p.Status.Error)
	for _, key := range slices.Sorted(maps.Keys(p.Status.Counters)) {
		add(key, fmt.Sprint(p.Status.Counters[key]))
	}
	_, err = io.WriteString(out, strings.Join(lines, "\n")+"\n")
	return exit.With(exit.Local, err, "")
}
