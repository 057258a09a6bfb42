package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
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
	"tidemark/internal/testfs"
)

// promtool runs promtool, which must succeed. A linter's complaint is a failure, too.
func promtool(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Dir = "../packaging/prometheus"
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", cmd, out)
	return string(out)
}

// published starts the three programs with --metrics, and returns what each publishes once the copy is
// complete, by its name. The mirror has two sources.
func published(t *testing.T) map[string]string {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "src/a"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "src/a/f"), []byte("1"), 0o644))
	listen := proof.FreeAddress(rand.IntN)
	t.Cleanup(func() { proof.LeaveAddress(listen) })
	metrics := map[string]string{}
	begin := func(name string, args ...string) {
		metrics[name] = proof.FreeAddress(rand.IntN)
		t.Cleanup(func() { proof.LeaveAddress(metrics[name]) })
		cmd := exec.Command(name, append([]string{"--metrics", metrics[name]}, args...)...)
		var log bytes.Buffer
		cmd.Dir, cmd.Stderr = dir, &log
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Logf("%s: %s", name, log.String())
		})
	}
	texts := map[string]string{}
	await := func(name, want string) {
		require.Eventually(t, func() bool {
			response, err := http.Get("http://" + metrics[name] + "/metrics")
			if err != nil {
				return false
			}
			defer response.Body.Close()
			text, _ := io.ReadAll(response.Body)
			texts[name] = string(text)
			return strings.Contains(texts[name], want)
		}, time.Minute, 50*time.Millisecond, want)
	}
	begin("watch", "src")
	await("watch", `tidemark_watch_tree_state{state="watched"} 1`+"\n") // before that it is no tree, and several sources are refused
	begin("serve", "--listen", listen, "src")
	await("serve", `tidemark_serve_tree_state{state="watched"} 1`+"\n")
	begin("mirror", "http://"+listen+"/", "src", "copy")
	await("mirror", "tidemark_mirror_lag_seconds ")
	await("mirror", `tidemark_mirror_copy_state{state="mirrored"} 1`+"\n")
	return texts
}

// read returns a file of packaging.
func read(t *testing.T, file string) string {
	text, err := os.ReadFile("../packaging/" + file)
	require.NoError(t, err)
	return string(text)
}

var ourMetric = regexp.MustCompile(`\b(?:tidemark|process)_[a-z_]+[a-z]\b`)

// The linter has nothing to say of what the programs publish, and each metric that an alert, the dashboard or the
// documentation names is there.
func TestMetricsAreThere(t *testing.T) {
	texts := published(t)
	for name, text := range texts {
		require.Empty(t, promtool(t, text, "check", "metrics"), name)
		require.Contains(t, text, `tidemark_build_info{goversion="go`, name)
	}
	all := strings.Join(slices.Collect(maps.Values(texts)), "")
	for _, file := range []string{"../packaging/prometheus/tidemark.rules.yml", "../packaging/grafana/tidemark.json", "../docs/operations.md"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		names := ourMetric.FindAllString(string(text), -1)
		require.NotEmpty(t, names, file)
		for _, name := range names {
			require.Regexp(t, `(?m)^`+name+`(\{| )`, all, "%s names %s", file, name)
		}
	}
}

// The room that watch tells is that of its --state-dir: it told that of the tree, where it writes no file, so nobody
// heard that the other disk was full.
func TestRoomOfTheStateDir(t *testing.T) {
	tree, other := t.TempDir(), t.TempDir()
	testfs.Mount(t, other, "mount", "-t", "tmpfs", "-o", "size=8m", "tidemark", other)
	address := proof.FreeAddress(rand.IntN)
	t.Cleanup(func() { proof.LeaveAddress(address) })
	cmd := exec.Command("watch", "--metrics", address, "--state-dir", other, tree)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		response, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return strings.Contains(string(text), "tidemark_watch_filesystem_size_bytes 8.388608e+06\n")
	}, 20*time.Second, 50*time.Millisecond)
}

// Each alert fires when it should and rests when it should not, and each is explained.
func TestAlerts(t *testing.T) {
	promtool(t, "", "check", "rules", "tidemark.rules.yml")
	promtool(t, "", "check", "config", "--syntax-only", "tidemark.scrape.yml")
	promtool(t, "", "test", "rules", "tidemark.rules.test.yml")
	tests := read(t, "prometheus/tidemark.rules.test.yml")
	docs, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	_, told, cut := strings.Cut(string(docs), "\n## What to alert on\n")
	require.True(t, cut)
	told, _, _ = strings.Cut(told, "\n## ")
	named := found("`(Tidemark[A-Za-z]+)`", told)
	blocks := strings.Split(read(t, "prometheus/tidemark.rules.yml"), "      - alert: ")[1:]
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		name, rest, _ := strings.Cut(block, "\n")
		require.Regexp(t, `(?m)^        labels: \{severity: (critical|warning|info)\}$`, rest, name)
		require.Regexp(t, `(?m)^          summary: "\{\{ \$labels\.instance \}\}`, rest, name)
		require.Regexp(t, `(?m)^          description: "`, rest, name)
		require.True(t, named[name], "docs/operations.md does not explain %s", name)
		delete(named, name)
		fires, rests := 0, 0
		for _, m := range regexp.MustCompile(`alertname="`+name+`", [^\n]*\n[^\n]*\n +exp_samples: (.*)\n`).FindAllStringSubmatch(tests, -1) {
			if m[1] == "[]" {
				rests++
			} else {
				fires++
			}
		}
		require.Positive(t, fires, "%s: nothing makes it fire in tidemark.rules.test.yml", name)
		require.Positive(t, rests, "%s: nothing shows that it rests", name)
	}
	require.Empty(t, named, "docs/operations.md names alerts that are not there")
}

// panel is one of the dashboard.
type panel struct {
	ID      int
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr string }
}

// The dashboard is JSON, its panels do not overlap, and Prometheus understands what they ask.
func TestDashboard(t *testing.T) {
	var d struct {
		UID    string
		Panels []panel
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, "grafana/tidemark.json")), &d))
	require.NotEmpty(t, d.UID)
	ids, taken := map[int]bool{}, map[[2]int]string{}
	asked := "groups:\n  - name: panels\n    rules:\n"
	for i, p := range d.Panels {
		require.False(t, ids[p.ID], p.Title)
		ids[p.ID] = true
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
		for j, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$job", "tidemark", "$instance", "a").Replace(target.Expr)
			asked += fmt.Sprintf("      - {record: \"panel:%d_%d\", expr: %q}\n", i, j, expr)
		}
	}
	file := filepath.Join(t.TempDir(), "panels.yml")
	require.NoError(t, os.WriteFile(file, []byte(asked), 0o644))
	promtool(t, "", "check", "rules", file)
}
