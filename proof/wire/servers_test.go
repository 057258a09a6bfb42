package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tidemark/pkg/mtree/mirror"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/watch"
)

// kind is a sort of server.
type kind struct {
	name     string
	ours     bool // it is serve: times and modes are exact
	nameless bool // its tree has no id
	prunes   bool // a stamp stands for the whole directory
	start    func(p *place) error
	sync     func(p *place) error // waits until all changes so far are published
}

// kinds are all servers.
var kinds = []*kind{
	{name: "watched", ours: true, prunes: true, start: startWatched, sync: syncWatched},
	{name: "unwatched", ours: true, nameless: true, start: startServe, sync: (*place).rested},
	{name: "copy", ours: true, prunes: true, start: startCopy, sync: syncCopy},
	{name: "nginx", start: startBeside(nginx), sync: aged},
	{name: "apache", start: startBeside(apache), sync: aged},
	{name: "lighttpd", start: startBeside(lighttpd), sync: aged},
	{name: "python", start: startBeside(python), sync: aged},
}

// startServe serves what p.served names.
func startServe(p *place) error {
	h, err := serve.New(serve.Config{Root: p.served})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := serve.Server(h, serve.Fast)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	p.atEnd(func() {
		_ = s.Close()
		<-ended
		_ = h.Close()
	})
	p.origin = "http://" + l.Addr().String() + "/"
	return nil
}

// startWatch runs watch on the source until the end.
func startWatch(p *place) error {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		ended <- watch.Run(ctx, watch.Config{Root: p.source, Backend: "inotify", Settle: time.Millisecond, Ready: func() { close(ready) },
			Log: slog.New(slog.NewTextHandler(&p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	}()
	p.atEnd(func() {
		cancel()
		<-ended
	})
	select {
	case err := <-ended:
		ended <- err
		return fmt.Errorf("watch ended: %w", err)
	case <-ready:
		return nil
	}
}

func startWatched(p *place) error {
	return errors.Join(startWatch(p), startServe(p), p.awaitState("watched"))
}

func syncWatched(p *place) error {
	sync := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, err := watch.Sync(ctx, p.source, "")
		return err
	}
	err := sync()
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("watch does not answer --sync; asked once more: %w", sync())
	}
	return err
}

// startCopy serves a copy of the source, and keeps it by single passes.
func startCopy(p *place) error {
	p.served = p.source
	if err := startWatched(p); err != nil {
		return err
	}
	p.upstream, p.served = p.origin, filepath.Join(p.dir, "middle")
	if err := syncCopy(p); err != nil {
		return err
	}
	return startServe(p)
}

func syncCopy(p *place) error {
	if err := syncWatched(p); err != nil {
		return err
	}
	return mirror.Once(context.Background(), mirror.Config{Source: p.upstream, Dest: filepath.Join(p.dir, "middle"), Durability: mirror.None})
}

// awaitState waits until the server says that its tree is in a state.
func (p *place) awaitState(state string) error {
	return eventually(func() error {
		resp, err := http.Head(p.origin + "?txt")
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if is := resp.Header.Get("Tidemark-State"); is != state {
			return fmt.Errorf("the tree is %q, not %q", is, state)
		}
		return nil
	})
}

// eventually calls f until it returns nil, for 30 s at most.
func eventually(f func() error) error {
	end := time.Now().Add(30 * time.Second)
	for tick := time.NewTicker(2 * time.Millisecond); ; <-tick.C {
		err := f()
		if err == nil || time.Now().After(end) {
			tick.Stop()
			return err
		}
	}
}

// A server of another kind runs once for all cases. It serves the directory that has
// those of all cases.
var (
	nginx = &beside{config: `
daemon off; master_process off; pid {DIR}/pid; error_log {DIR}/error.log; events {}
http {
	access_log off; client_body_temp_path {DIR}; proxy_temp_path {DIR}; fastcgi_temp_path {DIR}; uwsgi_temp_path {DIR}; scgi_temp_path {DIR};
	server { listen 127.0.0.1:{PORT}; root {TREE}; charset utf-8; autoindex on; }
}
`, command: "nginx -c {DIR}/config -e {DIR}/error.log -p {DIR}"}
	apache = &beside{config: `
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
	IndexOptions Charset=UTF-8 FancyIndexing NameWidth=*
</Directory>
`, command: "apache2 -d {DIR} -f {DIR}/config -DFOREGROUND"}
	lighttpd = &beside{config: `
server.modules = ( "mod_dirlisting" )
server.document-root = "{TREE}"
server.bind = "127.0.0.1"
server.port = {PORT}
server.errorlog = "{DIR}/error.log"
server.stat-cache-engine = "disable"
dir-listing.activate = "enable"
dir-listing.encoding = "utf-8"
mimetype.assign = ( "" => "application/octet-stream" )
`, command: "lighttpd -D -f {DIR}/config"}
	python = &beside{command: "python3 -m http.server --bind 127.0.0.1 -d {TREE} {PORT}"}
)

// beside is a program beside the test.
type beside struct {
	config, command string
	url             string // "": it does not run
	cmd             *exec.Cmd
	dir             string
}

// startBeside returns what makes a case use a server.
func startBeside(b *beside) func(p *place) error {
	return func(p *place) error {
		besideMu.Lock()
		defer besideMu.Unlock()
		if b.url == "" {
			if err := b.start(filepath.Dir(p.dir)); err != nil {
				return err
			}
		}
		p.origin = b.url + filepath.Base(p.dir) + "/source/"
		return nil
	}
}

func (b *beside) start(tree string) (err error) {
	if b.dir, err = os.MkdirTemp("", "tidemark-wire-"); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	_ = l.Close()
	fill := strings.NewReplacer("{DIR}", b.dir, "{PORT}", port, "{TREE}", tree)
	if err := errors.Join(os.Chmod(b.dir, 0o755), os.WriteFile(filepath.Join(b.dir, "config"), []byte(fill.Replace(b.config)), 0o644)); err != nil {
		return err
	}
	args := strings.Fields(fill.Replace(b.command))
	b.cmd = exec.Command(args[0], args[1:]...)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w: install what tools/deps names", args[0], err)
	}
	b.url = "http://127.0.0.1:" + port + "/"
	return eventually(func() error {
		resp, err := http.Get(b.url)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	})
}

// end ends the program, if it runs.
func (b *beside) end() {
	if b.url != "" {
		_ = b.cmd.Process.Signal(os.Interrupt)
		_ = b.cmd.Wait()
		b.url = ""
	}
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// aged gives what changed the times of a minute of its own, in the past.
func aged(p *place) error {
	e := editor{root: p.source}
	p.states++
	e.age(100 - p.states)
	return e.err
}
