package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tidemark/pkg/mtree/mirror"
	"tidemark/pkg/mtree/wire"
)

// patience is how long mirror waits for an answer while there is a fault.
const patience = 150 * time.Millisecond

var besideMu sync.Mutex // guards what runs beside the test

// place has all that one case needs: a source, a server, a proxy, a copy.
type place struct {
	kind     *kind
	dir      string // has all the others
	source   string // where changes are made
	served   string // what the server publishes: the source, or a copy of it
	dest     string
	origin   string // the URL of the server
	base     string // its path, without a slash at the end
	upstream string // the URL of the source, if the server publishes a copy
	proxy    *proxy
	states   int
	movedOn  bool
	endless  bool // the source is a tree without an end, for now
	blind    bool // nothing shows the fault: what it spoiled only --verify finds
	known    history
	old      [2]map[string]*answer // what the server answered in the first and the second state
	config   mirror.Config
	out, log safeBuffer
	ends     []func()
}

// safeBuffer can be written to by several goroutines.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(text)
}

// take returns what was written, and forgets it.
func (b *safeBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.buf.Reset()
	return b.buf.String()
}

// newPlace makes a source in its first state, and all that stands before it. The copy is
// not made yet. The caller calls close, also after an error.
func newPlace(dir string, k *kind) (*place, error) {
	p := &place{kind: k, dir: dir, source: filepath.Join(dir, "source"), dest: filepath.Join(dir, "copy"), known: history{}}
	p.served = p.source
	if err := p.edit((*editor).plant); err != nil {
		return p, err
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "canary"), []byte("outside"), 0o644), k.start(p)); err != nil {
		return p, err
	}
	if err := p.publish(); err != nil {
		return p, err
	}
	u, err := url.Parse(p.origin)
	if err != nil {
		return p, err
	}
	p.base = strings.TrimSuffix(u.Path, "/")
	origin := u.Scheme + "://" + u.Host
	if p.proxy, err = newProxy(origin, nil); err != nil {
		return p, err
	}
	p.proxy.place = p
	p.atEnd(p.proxy.close)
	p.config = mirror.Config{
		Source: strings.TrimSuffix(p.proxy.url(), "/") + p.base + "/", Dest: p.dest, Jobs: 1, Durability: mirror.None, MaxDelete: "100%",
		FirstPause: time.Millisecond, Out: &p.out,
		Log: slog.New(slog.NewTextHandler(&p.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return p, nil
}

func (p *place) atEnd(f func()) { p.ends = append(p.ends, f) }

// close ends everything and removes it.
func (p *place) close() {
	for _, f := range slices.Backward(p.ends) {
		f()
	}
	_ = os.RemoveAll(p.dir)
}

// edit changes the source.
func (p *place) edit(f func(*editor)) error {
	e := &editor{root: p.source, plain: !p.kind.ours}
	f(e)
	if p.kind.nameless {
		return errors.Join(e.err, tellApart(p.source))
	}
	return e.err
}

// tellApart gives each directory a time of its own. Without the id of a tree, only the time
// shows that the header of one listing stands above the text of another, and directories
// that are made within a tick of the kernel's clock have the same.
func tellApart(root string) error {
	taken := map[time.Time]bool{}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		now := info.ModTime()
		for taken[now] {
			now = now.Add(1)
		}
		taken[now] = true
		if now.Equal(info.ModTime()) {
			return nil
		}
		return os.Chtimes(path, time.Time{}, now)
	})
}

// publish waits until everything done so far is published, and notes it.
func (p *place) publish() error {
	if err := p.kind.sync(p); err != nil {
		return err
	}
	now, err := scan(p.served)
	p.known.note(now)
	return err
}

// become changes the source, and publishes it.
func (p *place) become(f func(*editor)) error {
	return errors.Join(p.edit(f), p.publish())
}

// harvest keeps what the server answers now about each directory and file.
func (p *place) harvest(state int) error {
	now, err := scan(p.served)
	if err != nil {
		return err
	}
	p.old[state] = map[string]*answer{}
	for path, e := range now {
		uri := p.base + "/" + wire.URLPath(path)
		switch {
		case path == ".":
			uri = p.base + "/"
		case e.kind.IsDir():
			uri += "/"
		case !e.kind.IsRegular():
			continue
		}
		if e.kind.IsDir() && p.kind.ours {
			uri += "?txt"
		}
		a, err := p.proxy.get(http.MethodGet, uri, nil, nil)
		if err != nil {
			return err
		}
		p.old[state][uri] = a
	}
	return nil
}

// once runs one call of mirror.Once. It is an error of the program if that takes a minute,
// unless the source has no end: then it is stopped.
func (p *place) once(c mirror.Config) (err error, hung error) {
	most := time.Minute
	if p.endless {
		most = time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	err = mirror.Once(ctx, c)
	if ctx.Err() != nil && !p.endless {
		hung = errors.New("a pass did not end within a minute")
	}
	fmt.Fprintf(&p.log, "%s  -> %v\n", p.out.take(), err)
	return err, hung
}

// faulty is the configuration while there is a fault.
func (p *place) faulty() mirror.Config {
	c := p.config
	c.Patience = patience
	return c
}

// rested waits until a listing shows everything; nobody stamps, so there is nothing to
// wait for.
func (p *place) rested() error { return nil }

// trail is the end of the log of mirror, for a failure.
func (p *place) trail() string {
	lines := strings.Split(strings.TrimSpace(p.log.take()), "\n")
	if len(lines) > 60 {
		lines = lines[len(lines)-60:]
	}
	for i := range lines {
		lines[i] = lines[i][:min(len(lines[i]), 400)]
	}
	return strings.Join(lines, "\n")
}
