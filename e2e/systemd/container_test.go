//go:build systemd || packages || recipes

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

// debian makes a small Debian with systemd, and other packages. On tmpfs that takes half a minute.
func debian(t *testing.T, packages ...string) string {
	base := ""
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		base = "/dev/shm"
	}
	for try := 1; ; try++ { // a package may not come at the first try
		root, err := os.MkdirTemp(base, "tidemark-debian-")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(root)) })
		require.NoError(t, os.Chmod(root, 0o755)) // it is "/" for every user in the container
		out, err := exec.CommandContext(t.Context(), "debootstrap", "--variant=minbase", "--include="+strings.Join(append(packages, "systemd", "dbus"), ","), "stable", root).CombinedOutput()
		if err == nil {
			return root
		}
		require.Less(t, try, 3, "%v: %s", err, out)
	}
}

// boot starts the container, waits until it has ended, and returns what its job
// found.
func boot(t *testing.T, root string) []string {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemd-nspawn", "--boot", "--private-network", "--register=no",
		"--system-call-filter=fanotify_init fanotify_mark open_by_handle_at", "--keep-unit", "--directory="+root)
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

// examine boots the container, and runs a test for each line that its job wrote: "ok NAME" or
// "FAIL NAME: what was seen".
func examine(t *testing.T, root string) {
	for _, line := range boot(t, root) {
		name, ok := strings.CutPrefix(line, "ok ")
		if !ok {
			name, _, _ = strings.Cut(strings.TrimPrefix(line, "FAIL "), ":")
		}
		t.Run(name, func(t *testing.T) { require.True(t, ok, line) })
	}
	if t.Failed() {
		journal, _ := os.ReadFile(filepath.Join(root, "srv/journal"))
		errors, _ := os.ReadFile(filepath.Join(root, "srv/errors"))
		t.Logf("%s\n%s", journal, errors)
	}
}

// write makes a file of the container, and the directories above it.
func write(t *testing.T, root, path, text string, mode os.FileMode) {
	t.Helper()
	path = filepath.Join(root, path)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
}

// job makes the container run the script of testdata as root when it is up, and stop then.
func job(t *testing.T, root, script string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", script))
	require.NoError(t, err)
	write(t, root, "usr/local/bin/inside", string(text), 0o755)
	write(t, root, "etc/systemd/system/inside.service", `[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'inside >/srv/results 2>/srv/errors'
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
`, 0o644)
	run(t, "systemctl", "--root="+root, "enable", "inside")
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", name, out)
}
