package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"tidemark/internal/webserver"
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
	nginx    = &beside{server: webserver.Nginx("nginx", "", "autoindex on;")}
	apache   = &beside{server: webserver.Apache("apache", "FancyIndexing NameWidth=*")}
	lighttpd = &beside{server: webserver.Lighttpd}
	python   = &beside{server: webserver.Python}
)

// beside is a program beside the test.
type beside struct {
	server  webserver.Server
	running *webserver.Running // nil: it does not run
}

// startBeside returns what makes a case use a server.
func startBeside(b *beside) func(p *place) error {
	return func(p *place) (err error) {
		besideMu.Lock()
		defer besideMu.Unlock()
		if b.running == nil {
			if b.running, err = b.server.Start(filepath.Dir(p.dir), io.Discard); err != nil {
				return err
			}
		}
		p.origin = b.running.URL + filepath.Base(p.dir) + "/source/"
		return nil
	}
}

// end ends the program, if it runs.
func (b *beside) end() {
	if b.running != nil {
		b.running.End()
		b.running = nil
	}
}

// aged gives what changed the times of a minute of its own, in the past.
func aged(p *place) error {
	e := editor{root: p.source}
	p.states++
	e.age(100 - p.states)
	return e.err
}
