//go:build packages

package systemd

import (
	"bufio"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// epoch is the time in all packages of these tests, in seconds.
const epoch = "1795846493"

// Two builds at different paths, with different umasks, are equal byte by byte; lintian has nothing
// to say; and a booted Debian installs, upgrades, removes and purges what they made.
func TestPackage(t *testing.T) {
	first, second := sources(t), sources(t)
	old := pack(t, first, "022", "deb", "1.0.0", "*.deb")
	fresh := pack(t, first, "022", "deb", "1.0.1", "*.deb")
	require.NotEqual(t, hash(t, old), hash(t, fresh))
	require.Equal(t, hash(t, fresh), hash(t, pack(t, second, "077", "deb", "1.0.1", "*.deb")), "two builds")
	lintian(t, fresh)

	root := debian(t)
	for name, file := range map[string]string{"old": old, "new": fresh} {
		run(t, "cp", file, filepath.Join(root, "srv", name+".deb"))
	}
	job(t, root, "package.sh")
	examine(t, root)
}

// What the tarball has is static and runs where it was unpacked; its units name that place.
func TestTarball(t *testing.T) {
	first, second := sources(t), sources(t)
	file := pack(t, first, "022", "tarball", "1.0.1", "*.tar.gz")
	require.Equal(t, hash(t, file), hash(t, pack(t, second, "077", "tarball", "1.0.1", "*.tar.gz")), "two builds")
	local := t.TempDir()
	run(t, "tar", "-C", local, "--strip-components=1", "-xzf", file)
	for _, name := range []string{"watch", "serve", "mirror"} {
		program := filepath.Join(local, "bin", "tidemark-"+name)
		out, err := exec.CommandContext(t.Context(), program, "--version").Output()
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(out), "tidemark-"+name+" 1.0.1 "), "%s", out)
		binary, err := elf.Open(program)
		require.NoError(t, err)
		for _, p := range binary.Progs {
			require.NotEqual(t, elf.PT_INTERP, p.Type, "no loader, no libraries")
		}
		require.NoError(t, binary.Close())
		unit, err := os.ReadFile(filepath.Join(local, "lib/systemd/system/tidemark-"+name+"@.service"))
		require.NoError(t, err)
		require.Contains(t, string(unit), "\nExecStart=/usr/local/bin/tidemark-"+name+"\n")
	}
}

// What is made for another machine has programs of that machine, and man pages, which only programs of
// this one can make.
func TestOtherMachine(t *testing.T) {
	file := pack(t, sources(t), "022", "tarball", "1.0.1 ARCH=arm64", "*-linux-arm64.tar.gz")
	local := t.TempDir()
	run(t, "tar", "-C", local, "--strip-components=1", "-xzf", file)
	binary, err := elf.Open(filepath.Join(local, "bin/tidemark-watch"))
	require.NoError(t, err)
	require.Equal(t, elf.EM_AARCH64, binary.Machine)
	require.NoError(t, binary.Close())
	require.FileExists(t, filepath.Join(local, "share/man/man1/tidemark-watch.1"))
}

// The image has the three programs and no other; buildah makes it twice alike.
func TestImage(t *testing.T) {
	first, second := sources(t), sources(t)
	file := pack(t, first, "022", "image", "1.0.1", "*.oci.tar")
	layers := func(file string) string {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", `tar -xOf "$1" --wildcards 'blobs/sha256/*' | sha256sum`, "sh", file).Output()
		require.NoError(t, err)
		return string(out)
	}
	require.Equal(t, layers(file), layers(pack(t, second, "077", "image", "1.0.1", "*.oci.tar")), "two builds")

	store, names := t.TempDir(), ""
	buildah := func(args ...string) string {
		args = append([]string{"--root", store + "/root", "--runroot", store + "/run", "--storage-driver", "vfs"}, args...)
		out, err := exec.CommandContext(t.Context(), "buildah", args...).Output()
		require.NoError(t, err, "%q", args)
		return strings.TrimSpace(string(out))
	}
	container := buildah("from", "oci-archive:"+file)
	root := buildah("mount", container)
	require.NoError(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			names += strings.TrimPrefix(path, root) + " "
		}
		return err
	}))
	require.Equal(t, "/etc/group /etc/passwd /usr/bin/tidemark-mirror /usr/bin/tidemark-serve /usr/bin/tidemark-watch ", names)
	imageRuns(t, root)
	buildah("umount", container)
}

// imageRuns runs the image's watch with nothing but the image's files, as the image's user and without
// any right, on a tree of that user: it takes inotify.
func imageRuns(t *testing.T, root string) {
	run(t, "install", "-d", "-o", "65532", "-g", "65532", root+"/tree")
	run(t, "install", "-d", root+"/proc")
	script := `mount -t proc proc "$0/proc" && exec chroot --userspec=65532:65532 "$0" /usr/bin/tidemark-watch /tree`
	watch := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "sh", "-c", script, root)
	lines, err := watch.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, watch.Start())
	armed := ""
	for scanner := bufio.NewScanner(lines); armed == "" && scanner.Scan(); {
		if strings.Contains(scanner.Text(), "msg=armed") {
			armed = scanner.Text()
		}
	}
	require.NoError(t, watch.Process.Signal(syscall.SIGTERM))
	_, err = io.Copy(io.Discard, lines)
	require.NoError(t, err)
	require.NoError(t, watch.Wait())
	require.Contains(t, armed, "backend=inotify")
}

// sources copies what git has and would add, to a directory of its own.
func sources(t *testing.T) string {
	dir := t.TempDir()
	run(t, "sh", "-c", `git -C ../.. ls-files -z -co --exclude-standard | tar -C ../.. --null -T - -cf - | tar -C "$0" -xf -`, dir)
	return dir
}

// pack makes the target there, and returns the one file that it made.
func pack(t *testing.T, dir, umask, target, version, pattern string) string {
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "dist")))
	run(t, "sh", "-c", fmt.Sprintf("umask %s && SOURCE_DATE_EPOCH=%s exec make -C '%s' %s VERSION=%s", umask, epoch, dir, target, version))
	found, err := filepath.Glob(filepath.Join(dir, "dist", pattern))
	require.NoError(t, err)
	require.Len(t, found, 1)
	kept := filepath.Join(t.TempDir(), filepath.Base(found[0]))
	run(t, "cp", found[0], kept)
	return kept
}

func hash(t *testing.T, file string) string {
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// lintian fails at errors and warnings that packaging/deb/lintian-overrides does not give a reason for.
func lintian(t *testing.T, file string) {
	out, err := exec.CommandContext(t.Context(), "lintian", "--fail-on", "error,warning", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
