package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// built makes a directory with what make install takes: packaging and examples as they are, programs
// that only stand for those that make builds, and man pages and completions if they are wanted.
func built(t *testing.T, more ...string) string {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "cp", "-r", "--parents", "packaging", "docs/examples", dir)
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, file := range append([]string{"bin/watch", "bin/serve", "bin/mirror"}, more...) {
		path := filepath.Join(dir, file)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(file), 0o700))
	}
	return dir
}

// installed runs packaging/install, with an umask that lets nobody else read, and returns the files
// below DESTDIR with their modes.
func installed(t *testing.T, from, prefix string) (dest string, modes map[string]fs.FileMode) {
	dest, modes = t.TempDir(), map[string]fs.FileMode{}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `umask 077 && exec "$0" "$1" "$2"`, from+"/packaging/install", dest, prefix).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, filepath.WalkDir(dest, func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		if path != dest {
			modes[strings.TrimPrefix(path, dest)] = info.Mode()
		}
		return nil
	}))
	return dest, modes
}

// make install built as root what bin holds then, and had no place for man pages and completions.
func TestInstall(t *testing.T) {
	from := built(t, "build/man/tidemark-watch.1", "build/man/tidemark.7", "build/completions/bash/tidemark-watch",
		"build/completions/zsh/_tidemark-watch", "build/completions/fish/tidemark-watch.fish")
	dest, modes := installed(t, from, "/opt/tide")
	for _, file := range []string{"lib/systemd/system/tidemark-watch.service", "lib/systemd/system/tidemark-serve@.socket",
		"lib/sysusers.d/tidemark.conf", "lib/tmpfiles.d/tidemark.conf", "lib/sysctl.d/10-tidemark.conf",
		"share/doc/tidemark/examples/copy.env", "share/doc/tidemark/examples/nginx.conf",
		"share/doc/tidemark/examples/tidemark.json", "share/doc/tidemark/examples/tidemark.rules.yml",
		"share/man/man1/tidemark-watch.1", "share/man/man7/tidemark.7", "share/bash-completion/completions/tidemark-watch",
		"share/zsh/site-functions/_tidemark-watch", "share/fish/vendor_completions.d/tidemark-watch.fish"} {
		require.Equal(t, fs.FileMode(0o644), modes["/opt/tide/"+file], file)
	}
	for path, mode := range modes {
		require.True(t, !mode.IsDir() || strings.HasPrefix("/opt/tide", path) || mode.Perm() == 0o755, "%s %v", path, mode)
	}
	for _, name := range []string{"watch", "serve", "mirror"} {
		require.Equal(t, fs.FileMode(0o755), modes["/opt/tide/bin/tidemark-"+name])
		for _, unit := range []string{".service", "@.service"} {
			text, err := os.ReadFile(filepath.Join(dest, "opt/tide/lib/systemd/system/tidemark-"+name+unit))
			require.NoError(t, err)
			require.Contains(t, string(text), "\nExecStart=/opt/tide/bin/tidemark-"+name+"\n")
		}
	}

	from = built(t)
	_, modes = installed(t, from, "/usr")
	require.NotContains(t, modes, "/usr/share/man", "man pages were not made")

	require.NoError(t, os.Remove(from+"/bin/serve"))
	out, err := exec.CommandContext(t.Context(), from+"/packaging/install", t.TempDir(), "/usr").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "bin/serve is missing: run make first")
	require.NoFileExists(t, from+"/bin/serve")
}

// The lines of docs/operations.md that uninstall left the completions of all shells behind.
func TestUninstallingLeavesNothing(t *testing.T) {
	from := built(t, "build/man/tidemark-watch.1", "build/man/tidemark.7", "build/completions/bash/tidemark-watch",
		"build/completions/zsh/_tidemark-watch", "build/completions/fish/tidemark-watch.fish")
	dest, _ := installed(t, from, "/usr/local")
	docs, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	_, told, cut := strings.Cut(string(docs), "\n## Uninstalling\n")
	require.True(t, cut)
	lines := 0
	for line := range strings.Lines(told) {
		command, ours := strings.CutPrefix(line, "sudo rm ")
		if !ours {
			continue
		}
		lines++
		command = "rm " + strings.NewReplacer(" /usr/", " "+dest+"/usr/", " /etc/", " "+dest+"/etc/").Replace(command)
		out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	require.Positive(t, lines)
	require.NoError(t, filepath.WalkDir(dest, func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		require.True(t, entry.IsDir(), "%s is still there", path)
		return nil
	}))
}

// Versions of packages begin with a digit, and ascend as Debian compares them.
func TestVersionOfPackages(t *testing.T) {
	last := "0~"
	for i, c := range []struct{ described, want string }{
		{"f3a25638", "0~git20261128061453.f3a25638"},
		{"03a25638", "0~git20261128061454.03a25638"}, // was older than the commit before it of one day
		{"03a25638-dirty", "0~git20261128061455.03a25638+dirty"},
		{"v0.9.0-rc1", "0.9.0~rc1"},
		{"v0.9.0", "0.9.0"},
		{"v0.9.0-5-g03a25638", "0.9.0+5.g03a25638"},
		{"v0.9.0-5-g03a25638-dirty", "0.9.0+5.g03a25638+dirty"},
		{"v0.9.0-12-gab", "0.9.0+12.gab"},
		{"1.0.0", "1.0.0"},
	} {
		cmd := exec.CommandContext(t.Context(), "../packaging/version")
		cmd.Env = append(os.Environ(), "VERSION="+c.described, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", 1795846493+i))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		got := strings.TrimSpace(string(out))
		require.Equal(t, c.want, got)
		if _, err := exec.LookPath("dpkg"); err == nil {
			require.NoError(t, exec.CommandContext(t.Context(), "dpkg", "--compare-versions", last, "lt", got).Run(), "%s < %s", last, got)
		}
		last = got
	}
}

// The tarball had directories: unpacked to /usr/local as the docs say, it took setgid and group off those
// that Debian makes there, and put a directory in the place of a symlink, with all that was behind it.
func TestTarballLeavesDirectories(t *testing.T) {
	from := built(t, "README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE")
	cmd := exec.CommandContext(t.Context(), from+"/packaging/tarball")
	cmd.Env = append(os.Environ(), "VERSION=1.0.0", "SOURCE_DATE_EPOCH=1795846493", "BIN=bin", "ARCH=amd64")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)

	local, behind := t.TempDir(), t.TempDir()
	require.NoError(t, os.Mkdir(local+"/bin", 0o700))
	require.NoError(t, os.Symlink(behind, local+"/share"))
	out, err = exec.CommandContext(t.Context(), "tar", "-C", local, "--strip-components=1", "-xzf", from+"/dist/tidemark-1.0.0-linux-amd64.tar.gz").CombinedOutput()
	require.NoError(t, err, "%s", out)
	info, err := os.Stat(local + "/bin")
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	require.FileExists(t, local+"/bin/tidemark-watch")
	require.FileExists(t, behind+"/doc/tidemark/README.md")
}
