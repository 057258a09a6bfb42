//go:build interop

package serve_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror"
	"tidemark/pkg/mtree/serve"
)

// inFront starts a caching proxy before the site and waits until it answers.
func inFront(t *testing.T, s *logged, port string, program string, args ...string) *site {
	t.Helper()
	_, err := exec.LookPath(program)
	require.NoError(t, err, "install the packages that .ci/run names")
	cmd := exec.Command(program, args...)

	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
		}
	})
	proxied := &site{T: t, root: s.root, h: s.h, cfg: s.cfg, url: "http://127.0.0.1:" + port}
	require.Eventually(t, func() bool {
		response, err := http.Get(proxied.url + "/?status")
		if err == nil {
			_ = response.Body.Close()
		}
		return err == nil && response.StatusCode == 200
	}, 20*time.Second, 50*time.Millisecond, program)
	return proxied
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// throughCache is what must hold with any shared cache in between: a listing is
// at most a moment old, never one stamp with another's content, a long poll
// passes, files are asked about each time.
func throughCache(t *testing.T, s *logged, proxied *site) {
	for i := range 5 {
		content := strings.Repeat("x", i+1)
		before := proxied.get("/d/?txt")
		s.change("d/f", content)
		want := s.list("/d/")
		require.Eventually(t, func() bool {
			a := proxied.get("/d/?txt")
			l, err := mtree.ParseListing([]byte(a.body))
			require.NoError(t, err)
			require.Equal(t, l.Stamp.String(), a.Header.Get("Tidemark-Stamp"))
			if l.Stamp != want.Stamp {
				require.Equal(t, before.body[:20], a.body[:20], "old or new")
				return false
			}
			require.Equal(t, int64(i+1), l.Entries[0].Size)
			return true
		}, 10*time.Second, 50*time.Millisecond)
		// no-cache asks the server itself.
		fresh, err := mtree.ParseListing([]byte(proxied.get("/d/?txt", "Cache-Control", "no-cache").body))
		require.NoError(t, err)
		require.Equal(t, want.Stamp, fresh.Stamp)
		require.Equal(t, content, proxied.get("/d/f").body)
	}
	tag := proxied.get("/d/?txt", "Accept-Encoding", "gzip").Header.Get("ETag")
	require.Equal(t, 304, proxied.get("/d/?txt", "Accept-Encoding", "gzip", "If-None-Match", tag).StatusCode)
	// nginx and varnish take the condition out of a request that they may store
	// the answer of. The long poll that carries its stamp in the URL passes all.
	target := "/d/?txt&wait=30&since=" + s.list("/d/").Stamp.String()
	done := make(chan answer)
	go func() { done <- proxied.get(target) }()
	s.waiting(1)
	s.change("d/g", "new")
	a := <-done
	require.Equal(t, 200, a.StatusCode)
	require.Contains(t, a.body, " g\t3\t")
	quiet := proxied.get("/d/?txt&wait=0.1&since=" + s.list("/d/").Stamp.String())
	require.Equal(t, 200, quiet.StatusCode)
	require.Equal(t, "#stamp "+s.list("/d/").Stamp.String()+"\n", quiet.body)
	converges(t, s, proxied)
}

// converges runs a mirror through the cache while the tree changes: whenever
// the copy's root carries the source's stamp the two are equal, and it comes to
// that after every change.
func converges(t *testing.T, s *logged, proxied *site) {
	dest := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mirror.Run(ctx, mirror.Config{Source: proxied.url + "/", Dest: dest}) }()
	defer func() {
		cancel()
		require.NoError(t, <-ended)
	}()
	for i := range 12 {
		name := []string{"d/f", "d/e/new" + strconv.Itoa(i), "x/y/z"}[i%3]
		s.change(name, strings.Repeat("y", 1+i%2)) // often of the same size
		if i%4 == 3 {
			require.NoError(t, os.RemoveAll(s.path("x/y")))
			s.change("x/w", "beside")
		}
		want := s.list("/").Stamp.Time()
		require.Eventually(t, func() bool {
			info, err := os.Stat(dest)
			return err == nil && info.ModTime().Equal(want)
		}, 20*time.Second, 5*time.Millisecond, "the copy comes to the source's stamp")
		require.Equal(t, published(t, s.root), published(t, dest))
	}
}

// TestNginxCache: proxy_cache, with revalidation and a lock.
func TestNginxCache(t *testing.T) {
	s := publishLogged(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"d/f": ""})
	work, port := t.TempDir(), freePort(t)
	require.NoError(t, os.Chmod(work, 0o755))
	conf := writeFile(t, work+"/nginx.conf", `daemon off; user root; pid `+work+`/pid; error_log stderr; worker_processes 1;
events { worker_connections 64; }
http {
  access_log off; proxy_cache_path `+work+`/cache keys_zone=z:1m;
  client_body_temp_path `+work+`/b; proxy_temp_path `+work+`/p; fastcgi_temp_path `+work+`/f; uwsgi_temp_path `+work+`/u; scgi_temp_path `+work+`/s;
  server { listen 127.0.0.1:`+port+`; location / {
    proxy_pass `+s.url+`; proxy_cache z; proxy_cache_revalidate on; proxy_cache_lock on; proxy_cache_bypass $http_cache_control;
    gzip on; gzip_types text/plain; gzip_proxied any; } } }`)
	throughCache(t, s, inFront(t, s, port, "nginx", "-e", "stderr", "-c", conf))
}

// TestVarnish: the default VCL.
func TestVarnish(t *testing.T) {
	s := publishLogged(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"d/f": ""})
	work, port := t.TempDir(), freePort(t)
	require.NoError(t, os.Chmod(work, 0o755))
	throughCache(t, s, inFront(t, s, port, "varnishd", "-F", "-n", work+"/v", "-a", "127.0.0.1:"+port,
		"-b", strings.TrimPrefix(s.url, "http://"), "-s", "malloc,16m"))
}

// TestSquid: a reverse proxy with collapsed forwarding.
func TestSquid(t *testing.T) {
	s := publishLogged(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"d/f": ""})
	work, port := t.TempDir(), freePort(t)
	require.NoError(t, os.Chmod(work, 0o777))
	_, origin, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	conf := writeFile(t, work+"/squid.conf", `http_port 127.0.0.1:`+port+` accel defaultsite=x no-vhost
cache_peer 127.0.0.1 parent `+origin+` 0 no-query originserver
http_access allow all
collapsed_forwarding on
cache_mem 16 MB
access_log none
cache_log `+work+`/cache.log
pid_filename `+work+`/pid
coredump_dir `+work+`
shutdown_lifetime 1 second
`)
	throughCache(t, s, inFront(t, s, port, "squid", "-N", "-f", conf))
}
