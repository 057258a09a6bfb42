//go:build systemd

// Package systemd boots Debian in a container (debootstrap, systemd-nspawn) and
// runs the three installed units in it. It needs root, and Debian's packages.
package systemd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The shipped tidemark-serve.service answered 500 to everything: DynamicUser=
// implies RestrictSUIDSGID=, which refuses openat2(2). And systemd did not start a
// program again that ended by a panic or by the watchdog.
func TestUnits(t *testing.T) {
	root := debian(t)
	install(t, root)
	examine(t, root)
}

// install puts programs and units where a package would put them, with their options, trees, and a
// job that examines them when the system is up.
func install(t *testing.T, root string) {
	run(t, "make", "-C", "../..", "install", "DESTDIR="+root, "PREFIX=/usr")
	write(t, root, "etc/default/tidemark-watch", "TIDEMARK_WATCH_DIR=/srv/tree\n", 0o644)
	write(t, root, "etc/default/tidemark-serve", "TIDEMARK_SERVE_DIR=/srv/tree\n", 0o644)
	write(t, root, "etc/default/tidemark-mirror", "TIDEMARK_MIRROR_SOURCE=http://127.0.0.1:8077/\nTIDEMARK_MIRROR_DEST=/srv/copy\n", 0o644)
	write(t, root, "srv/tree/a/file", "first\n", 0o644)
	write(t, root, "srv/tree/secret/file", "secret\n", 0o600)
	require.NoError(t, os.Chmod(filepath.Join(root, "srv/tree/secret"), 0o700))
	instances(t, root)
	job(t, root, "inside.sh")
	for _, unit := range []string{"tidemark-watch", "tidemark-serve", "tidemark-mirror"} {
		run(t, "systemctl", "--root="+root, "enable", unit)
	}
}

// instances makes what the instances of the units with @ need: users by sysusers.d (the directories of
// tmpfiles.d come with the boot), options, a tree with directories of several users, and a command for --exec.
func instances(t *testing.T, root string) {
	run(t, "chroot", root, "systemd-sysusers", "tidemark.conf")
	write(t, root, "etc/tidemark/photos.env", `TIDEMARK_WATCH_DIR=/srv/photos
TIDEMARK_WATCH_EXEC=hook
TIDEMARK_WATCH_METRICS=127.0.0.1:9101
TIDEMARK_SERVE_DIR=/srv/photos
TIDEMARK_SERVE_TOKEN_FILE=/etc/tidemark/tokens
`, 0o640)
	write(t, root, "etc/tidemark/copy.env", `TIDEMARK_MIRROR_SOURCE=unix:/run/tidemark/photos.sock
TIDEMARK_MIRROR_DEST=/var/lib/tidemark/copy
TIDEMARK_MIRROR_TOKEN_FILE=/etc/tidemark/tokens
TIDEMARK_MIRROR_HARD_LINKS=true
TIDEMARK_MIRROR_BACKUP_DIR=.tidemark/backup
TIDEMARK_SERVE_DIR=/var/lib/tidemark/copy
`, 0o640)
	write(t, root, "etc/tidemark/tank.env", "TIDEMARK_WATCH_DIR=/tank\n", 0o640)
	write(t, root, "tank/file", "", 0o644)
	write(t, root, "etc/tidemark/tokens", "secret-of-both\n", 0o640)
	run(t, "chroot", root, "chgrp", "tidemark", "/etc/tidemark/tokens")
	write(t, root, "srv/photos/a/file", "first\n", 0o644)
	write(t, root, "srv/photos/theirs/file", "first\n", 0o644)
	require.NoError(t, os.Chown(filepath.Join(root, "srv/photos/theirs"), 1234, 1234))
	write(t, root, "srv/photos/secret/file", "secret\n", 0o600)
	require.NoError(t, os.Chmod(filepath.Join(root, "srv/photos/secret"), 0o700))
	write(t, root, "usr/local/bin/hook", `#!/bin/sh
sed -n 's/^CapEff:\t//p' /proc/self/status >/srv/hook/rights
tr '\0' '\n' >>/srv/hook/paths
`, 0o755)
	run(t, "chroot", root, "install", "-d", "-o", "tidemark-watch", "/srv/hook")
	script, err := os.ReadFile("testdata/instances.sh")
	require.NoError(t, err)
	write(t, root, "usr/local/lib/instances.sh", string(script), 0o644)
}
