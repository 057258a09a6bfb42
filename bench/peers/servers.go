package peers

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"tidemark/bench/rig"
)

// Servers are those of one tree, all on loopback. Each address is host and port; empty if it was not asked for.
type Servers struct {
	Programs
	Serve, Metrics, Rsync, Nginx string
}

// StartServers starts watch and serve for a tree, and those of the peers that are asked for by name: rsync, nginx.
// It returns what runs even if there is an error.
func StartServers(work, source string, peers ...string) (*Servers, error) {
	s := &Servers{}
	for _, start := range []func(work, source string, peers []string) error{s.startOwn, s.startRsync, s.startNginx} {
		if err := start(work, source, peers); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *Servers) startOwn(work, source string, _ []string) (err error) {
	if s.Serve, err = rig.FreeAddress(); err != nil {
		return err
	}
	if s.Metrics, err = rig.FreeAddress(); err != nil {
		return err
	}
	if _, err := s.start(work, "armed", "bin/watch", source); err != nil {
		return err
	}
	_, err = s.start(work, "address=", "bin/serve", "--listen", s.Serve, "--metrics", s.Metrics, source)
	return err
}

func (s *Servers) startRsync(work, source string, peers []string) (err error) {
	if !asked("rsync", peers) {
		return nil
	}
	if s.Rsync, err = rig.FreeAddress(); err != nil {
		return err
	}
	config := filepath.Join(work, "rsyncd.conf")
	text := fmt.Sprintf("use chroot = no\nlog file = /dev/null\n[tree]\npath = %s\nuid = root\ngid = root\nexclude = /.tidemark\n", source)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	_, port, _ := strings.Cut(s.Rsync, ":")
	if _, err := s.start(work, "", "rsync", "--daemon", "--no-detach", "--address=127.0.0.1", "--port="+port, "--config="+config); err != nil {
		return err
	}
	return rig.Await(func() bool { return exec.Command("rsync", "rsync://"+s.Rsync+"/").Run() == nil })
}

func (s *Servers) startNginx(work, source string, peers []string) (err error) {
	if !asked("nginx", peers) {
		return nil
	}
	if s.Nginx, err = rig.FreeAddress(); err != nil {
		return err
	}
	config, err := NginxConf(source, work, s.Nginx)
	if err != nil {
		return err
	}
	if _, err := s.start(work, "", "nginx", "-e", "stderr", "-c", config); err != nil {
		return err
	}
	return rig.Await(func() bool { return answers("http://" + s.Nginx + "/") })
}

// NginxConf writes Debian's configuration without the log and with autoindex.
func NginxConf(tree, work, address string) (path string, err error) {
	path = filepath.Join(work, "nginx.conf")
	return path, os.WriteFile(path, []byte(`daemon off; user root; worker_processes auto; pid `+work+`/pid; error_log stderr;
events { worker_connections 20000; }
http {
  sendfile on; tcp_nopush on; access_log off; keepalive_requests 1000000; types_hash_max_size 2048;
  client_body_temp_path `+work+`/b; proxy_temp_path `+work+`/p; fastcgi_temp_path `+work+`/f; uwsgi_temp_path `+work+`/u; scgi_temp_path `+work+`/s;
  server { listen `+address+` backlog=4096; root `+tree+`; autoindex on; autoindex_exact_size on; }
}
`), 0o644)
}

func asked(name string, among []string) bool {
	for _, one := range among {
		if one == name {
			return true
		}
	}
	return false
}

// answers reports whether a URL is answered with 200.
func answers(url string) bool {
	response, err := http.Get(url)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
