package cli

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

// Only a unit has ReadWritePaths=, and the code of the error stays.
func TestErrorsOfUnits(t *testing.T) {
	readOnly := exit.With(exit.Local, fmt.Errorf("mkdir /tank/.tidemark: %w", syscall.EROFS), "the root must be writable")
	for _, c := range []struct {
		socket string
		err    error
		want   string
		not    string
	}{
		{socket: "", err: readOnly, want: "the root must be writable\n", not: "ReadWritePaths"},
		{socket: "/run/systemd/notify", err: readOnly, want: "name the directory in ReadWritePaths="},
		{socket: "/run/systemd/notify", err: exit.With(exit.Local, syscall.ENOENT, ""), want: "see ProtectHome="},
		{socket: "/run/systemd/notify", err: exit.With(exit.Local, errors.New("odd"), ""), want: "odd\n", not: "unit"},
	} {
		t.Setenv("NOTIFY_SOCKET", c.socket)
		p := probe{err: c.err}
		code, text := p.run("a", "b")
		require.Equal(t, exit.Local, code)
		require.Contains(t, text, c.want)
		if c.not != "" {
			require.NotContains(t, text, c.not)
		}
	}
}
