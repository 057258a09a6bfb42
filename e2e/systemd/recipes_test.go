//go:build recipes

package systemd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// The recipes are run as they stand in the pages: in a fresh Debian, as root, each block by itself, in their order.
func TestRecipes(t *testing.T) {
	root := debian(t, "nginx-light", "caddy", "openssl", "curl", "ca-certificates")
	run(t, "systemctl", "--root="+root, "disable", "nginx", "caddy") // a recipe starts them
	write(t, root, "etc/hosts", "127.0.0.1 localhost host middle mirror.example.org\n", 0o644)
	run(t, "install", "-D", "-t", filepath.Join(root, "srv/dist"), newest(t, "../../dist/*.deb"))
	number := 0
	for _, page := range []string{"../../README.md", "../../docs/install.md"} {
		for _, b := range blocksOf(t, page) {
			number++
			write(t, root, fmt.Sprintf("srv/blocks/%03d", number), b, 0o644)
		}
	}
	require.Greater(t, number, 12)
	job(t, root, "recipes.sh")
	examine(t, root)
}

// newest returns the file that was made last.
func newest(t *testing.T, pattern string) string {
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files, pattern)
	made := func(file string) time.Time {
		info, err := os.Stat(file)
		require.NoError(t, err)
		return info.ModTime()
	}
	return slices.MaxFunc(files, func(a, b string) int { return made(a).Compare(made(b)) })
}

// The containers of docs/install.md run by Podman, with other places and another port: a change arrives.
func TestContainers(t *testing.T) {
	text, err := os.ReadFile("../../docs/install.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?ms)^```bash\n(.*?)^```$").FindStringSubmatch(string(text))
	require.NotNil(t, block)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755)) // another user works in it
	run(t, "install", "-D", "-t", filepath.Join(dir, "dist"), newest(t, "../../dist/*.oci.tar"))
	free := proof.FreeAddress(rand.IntN)
	t.Cleanup(func() { proof.LeaveAddress(free) })
	_, port, _ := strings.Cut(free, ":")
	commands := strings.NewReplacer("/srv/", dir+"/", "host:8077", free, ":8077", "127.0.0.1:"+port).Replace(block[1])
	podman := `podman() {
	local run=$1
	shift
	if [ "$run" = run ]; then set -- --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "$@"; fi # no more than this machine may give
	command podman --root store --runroot run --storage-driver vfs --runtime /usr/sbin/runc $run "$@"
}
set -e
cd ` + dir + "\n"
	t.Cleanup(func() { // the context of the test has ended
		end := podman + "podman rm --force --time 5 --all && podman rmi --force --all && { umount -q store/vfs store || true; }"
		out, err := exec.Command("bash", "-c", end).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	run(t, "timeout", "100", "bash", "-o", "pipefail", "-c", podman+commands+`
echo one >tree/f
until cmp -s tree/f copy/f; do read -rt 0.1 <> <(:) || true; done
podman exec watch tidemark-watch --status /tree | grep -q '^backend: inotify'
podman exec mirror tidemark-mirror --check 1h /copy
podman kill --signal USR1 serve
until podman logs serve 2>&1 | grep -q 'msg=status state='; do read -rt 0.1 <> <(:) || true; done
podman stop --time 10 mirror serve watch
for c in watch serve mirror; do test "$(podman inspect --format '{{.State.ExitCode}}' $c)" = 0; done
`)
}

// blocksOf returns the commands of each sh block of a page, headed by its section. Of README that is how it is
// installed. Lines that are marked are for another machine.
func blocksOf(t *testing.T, page string) (blocks []string) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	section := ""
	for _, part := range regexp.MustCompile("(?ms)^## ([^\n]*)$|^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		if part[2] == "" {
			section = part[1]
			continue
		}
		if readme := strings.HasSuffix(page, "README.md"); readme && section != "Install" {
			continue
		}
		commands := regexp.MustCompile(`(?m)^.*(# marked: |^make ).*\n`).ReplaceAllStringFunc(part[2], func(line string) string {
			_, rest, _ := strings.Cut(line, "make deb && ")
			return rest
		})
		blocks = append(blocks, "# "+section+"\n"+commands)
	}
	return blocks
}
