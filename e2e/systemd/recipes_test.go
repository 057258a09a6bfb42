//go:build recipes

package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The recipes are run as they stand in the pages: in a fresh Debian, as root, each block by itself, in their order.
func TestRecipes(t *testing.T) {
	root := debian(t, "nginx-light", "caddy", "openssl", "curl", "ca-certificates")
	run(t, "systemctl", "--root="+root, "disable", "nginx", "caddy") // a recipe starts them
	write(t, root, "etc/hosts", "127.0.0.1 localhost host middle mirror.example.org\n", 0o644)
	packages, err := filepath.Glob("../../dist/*.deb")
	require.NoError(t, err)
	require.NotEmpty(t, packages, "make deb")
	run(t, "install", "-D", "-t", filepath.Join(root, "srv/dist"), slices.MaxFunc(packages, func(a, b string) int { return made(t, a).Compare(made(t, b)) }))
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

// made returns when a file was written.
func made(t *testing.T, file string) time.Time {
	info, err := os.Stat(file)
	require.NoError(t, err)
	return info.ModTime()
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
