//go:build systemd

// Package systemd boots Debian in a container (debootstrap, systemd-nspawn) and
// runs the three installed units in it. It needs root, and Debian's packages.
package systemd

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The shipped tidemark-serve.service answered 500 to everything: DynamicUser=
// implies RestrictSUIDSGID=, which refuses openat2(2). And systemd did not start a
// program again that ended by a panic or by the watchdog.
func TestUnits(t *testing.T) {
	root := debian(t)
	install(t, root)
	for _, line := range boot(t, root) {
		name, ok := strings.CutPrefix(line, "ok ")
		if !ok {
			name, _, _ = strings.Cut(strings.TrimPrefix(line, "FAIL "), ":")
		}
		t.Run(name, func(t *testing.T) { require.True(t, ok, line) })
	}
	if t.Failed() {
		journal, _ := os.ReadFile(filepath.Join(root, "srv/journal"))
		t.Logf("%s", journal)
	}
}

// debian makes a small Debian with systemd. On tmpfs that takes half a minute.
func debian(t *testing.T) string {
	base := ""
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		base = "/dev/shm"
	}
	for try := 1; ; try++ { // a package may not come at the first try
		root, err := os.MkdirTemp(base, "tidemark-debian-")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(root)) })
		require.NoError(t, os.Chmod(root, 0o755)) // it is "/" for every user in the container
		out, err := exec.CommandContext(t.Context(), "debootstrap", "--variant=minbase", "--include=systemd,dbus", "stable", root).CombinedOutput()
		if err == nil {
			return root
		}
		require.Less(t, try, 3, "%v: %s", err, out)
	}
}

// install puts programs and units where a package would put them, with their options, a
// tree, and a job that examines them when the system is up.
func install(t *testing.T, root string) {
	run(t, "make", "-C", "../..", "install", "DESTDIR="+root, "PREFIX=/usr")
	inside, err := os.ReadFile("testdata/inside.sh")
	require.NoError(t, err)
	write := func(path, text string, mode os.FileMode) {
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
	}
	write("etc/default/tidemark-watch", "TIDEMARK_WATCH_DIR=/srv/tree\n", 0o644)
	write("etc/default/tidemark-serve", "TIDEMARK_SERVE_DIR=/srv/tree\n", 0o644)
	write("etc/default/tidemark-mirror", "TIDEMARK_MIRROR_SOURCE=http://127.0.0.1:8077/\nTIDEMARK_MIRROR_DEST=/srv/copy\n", 0o644)
	write("srv/tree/a/file", "first\n", 0o644)
	write("srv/tree/secret/file", "secret\n", 0o600)
	require.NoError(t, os.Chmod(filepath.Join(root, "srv/tree/secret"), 0o700))
	write("usr/local/bin/inside", string(inside), 0o755)
	write("etc/systemd/system/inside.service", `[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'inside >/srv/results 2>/srv/errors'
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
`, 0o644)
	for _, unit := range []string{"inside", "tidemark-watch", "tidemark-serve", "tidemark-mirror"} {
		run(t, "systemctl", "--root="+root, "enable", unit)
	}
}

// boot starts the container, waits until it has ended, and returns what its job
// found.
func boot(t *testing.T, root string) []string {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemd-nspawn", "--boot", "--private-network", "--register=no", "--keep-unit", "--directory="+root)
	cmd.WaitDelay = 10 * time.Second
	console, err := cmd.CombinedOutput()
	results, readErr := os.ReadFile(filepath.Join(root, "srv/results"))
	require.NoError(t, readErr, "%v\n%s", err, console)
	lines := strings.Split(strings.TrimSpace(string(results)), "\n")
	if last := lines[len(lines)-1]; last != "ok end" {
		errors, _ := os.ReadFile(filepath.Join(root, "srv/errors"))
		t.Fatalf("the job ended early:\n%s\n%s\n%s", results, errors, console[max(0, len(console)-2000):])
	}
	return lines
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", name, out)
}
