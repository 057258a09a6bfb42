// Package webserver runs web servers of other people, for tests: Debian's programs, which
// make deps installs.
//
//	s := webserver.Apache("apache", "FancyIndexing")
//	running, err := s.Start(tree, os.Stderr)
//	defer running.End()
//	http.Get(running.URL)
package webserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Server is a web server that lists directories. In Config and Command {DIR} is a directory
// for the server, {PORT} its port and {TREE} what it serves.
type Server struct {
	Name    string
	Config  string // is written to {DIR}/config
	Command string
	Env     string // one variable more; "": none
}

// Nginx returns an nginx. load stands at the beginning of its configuration, options in the
// server's block.
func Nginx(name, load, options string) Server {
	return Server{Name: name, Command: "nginx -c {DIR}/config -e {DIR}/error.log -p {DIR}", Config: load + `
daemon off; master_process off; pid {DIR}/pid; error_log {DIR}/error.log; events {}
http {
	access_log off; client_body_temp_path {DIR}; proxy_temp_path {DIR}; fastcgi_temp_path {DIR}; uwsgi_temp_path {DIR}; scgi_temp_path {DIR};
	server { listen 127.0.0.1:{PORT}; root {TREE}; charset utf-8; ` + options + ` }
}
`}
}

// Apache returns an Apache with these IndexOptions.
func Apache(name, options string) Server {
	return Server{Name: name, Command: "apache2 -d {DIR} -f {DIR}/config -DFOREGROUND", Config: `
ServerName localhost
Listen 127.0.0.1:{PORT}
PidFile {DIR}/pid
ErrorLog {DIR}/error.log
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule autoindex_module /usr/lib/apache2/modules/mod_autoindex.so
DocumentRoot {TREE}
<Directory {TREE}>
	Options Indexes
	Require all granted
	IndexOptions Charset=UTF-8 ` + options + `
</Directory>
`}
}

// Others, as they come.
var (
	Lighttpd = Server{Name: "lighttpd", Command: "lighttpd -D -f {DIR}/config", Config: `
server.modules = ( "mod_dirlisting" )
server.document-root = "{TREE}"
server.bind = "127.0.0.1"
server.port = {PORT}
server.errorlog = "{DIR}/error.log"
server.stat-cache-engine = "disable"
dir-listing.activate = "enable"
dir-listing.encoding = "utf-8"
mimetype.assign = ( "" => "application/octet-stream" )
`}
	Python = Server{Name: "python", Command: "python3 -m http.server --bind 127.0.0.1 -d {TREE} {PORT}"}
	Rclone = Server{Name: "rclone", Command: "rclone serve http --dir-cache-time 0s --addr 127.0.0.1:{PORT} {TREE}"}
	Caddy  = Server{Name: "caddy", Command: "caddy file-server --browse --root {TREE} --listen 127.0.0.1:{PORT}", Env: "CADDY_ADMIN=off"}
	Webfs  = Server{Name: "webfs", Command: "webfsd -F -4 -i 127.0.0.1 -p {PORT} -r {TREE}"}
)

// With returns the server with another variable in its environment.
func (s Server) With(env string) Server {
	s.Env = env
	return s
}

// Running is a server that runs, until End.
type Running struct {
	URL string // with a slash at its end

	cmd   *exec.Cmd
	ended chan struct{} // is closed when cmd has ended
	dir   string
}

// patience is how long a server may take to answer first.
const patience = 30 * time.Second

// errEnded says that a server ended before it answered.
var errEnded = errors.New("the server has ended")

// tries is how often a server is started that ends at once: somebody else may have taken its
// port in between.
const tries = 5

// Start runs the server for a tree, and waits until it answers. Everybody must be able to read
// the tree and to enter the directories above it: some servers give up root.
func (s Server) Start(tree string, stderr io.Writer) (r *Running, err error) {
	for range tries {
		if r, err = s.start(tree, stderr); !errors.Is(err, errEnded) {
			break
		}
	}
	return r, err
}

// start runs the server at a port that is free now.
func (s Server) start(tree string, stderr io.Writer) (_ *Running, err error) {
	r := &Running{}
	defer func() {
		if err != nil {
			r.End()
		}
	}()
	if r.dir, err = os.MkdirTemp("", "tidemark-webserver-"); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	fill := strings.NewReplacer("{DIR}", r.dir, "{PORT}", port, "{TREE}", tree)
	err = errors.Join(os.Chmod(r.dir, 0o755),
		os.WriteFile(filepath.Join(r.dir, "config"), []byte(fill.Replace(s.Config)), 0o644))
	if err != nil {
		return nil, err
	}
	args := strings.Fields(fill.Replace(s.Command))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+r.dir)
	if s.Env != "" {
		cmd.Env = append(cmd.Env, s.Env)
	}
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w: install what tools/deps names", args[0], err)
	}
	r.cmd, r.URL, r.ended = cmd, "http://127.0.0.1:"+port+"/", make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(r.ended)
	}()
	return r, r.await()
}

// freePort returns a port that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), l.Close()
}

// await waits until the server answers.
func (r *Running) await() error {
	end := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.ended:
			return errEnded
		case <-tick.C:
		}
		resp, err := http.Get(r.URL)
		if err == nil {
			return resp.Body.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// End ends the server and removes its directory.
func (r *Running) End() {
	if r.cmd != nil {
		_ = r.cmd.Process.Signal(os.Interrupt)
		select {
		case <-r.ended:
		case <-time.After(10 * time.Second):
			_ = r.cmd.Process.Kill() // it may ignore SIGINT, as what a shell started in the background
			<-r.ended
		}
	}
	_ = os.RemoveAll(r.dir)
}
