package mirror

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"tidemark/pkg/mtree/exit"
)

// hook runs the --exec command after a pass that changed something, and waits until the
// command has ended. If that pass ended early, the hook runs after the next pass that does
// not.
func (m *mirror) hook(ctx context.Context) error {
	if m.config.Exec == "" || !m.hookDue {
		return nil
	}
	m.hookDue = false
	cmd := exec.CommandContext(ctx, "sh", "-c", m.config.Exec)
	cmd.Dir = m.replica.Path
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return exit.With(exit.Failed, fmt.Errorf("--exec: %w", err), "")
	}
	return nil
}
