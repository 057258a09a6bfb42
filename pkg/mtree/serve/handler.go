package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/dirwatch"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve/internal/longpoll"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// Handler publishes one tree. It may be used by many goroutines at once.
type Handler struct {
	cfg        Config
	tree       *tree
	hub        *longpoll.Hub
	cache      *pages.Cache
	linkless   *pages.Linkless
	flights    *pages.Flights
	live       *pages.Live
	room       *pages.Room
	tails      atomic.Int64 // buffers with what was held back of files
	freeTails  int64        // of these, how many are not counted in held
	gate       *turnstile
	large      *turnstile
	readers    *turnstile // those who wait where every look means reading the directory
	foreign    *foreign
	largeSize  int64         // bytes; of a directory whose listing must pass large
	hashing    chan struct{} // a slot for each file that may be hashed at once
	exclude    *glob.List
	routes     http.Handler
	guard      *guard
	pagePolicy string // Content-Security-Policy of the HTML page

	stop   context.Context
	cancel context.CancelFunc // ends what waits or runs behind requests
}

// New opens the tree at c.Root. A tree that watch never saw is served too, as
// unwatched. Errors carry exit codes: a root that cannot be listed 6, bad globs,
// numbers and a StateDir within the tree 2, state files of a newer version 4.
func New(c Config) (*Handler, error) {
	c = c.withDefaults()
	if c.MaxWaiters < 0 {
		err := fmt.Errorf("at most %d waiters: a number below zero", c.MaxWaiters)
		return nil, exit.With(exit.Usage, err, "give a positive number, or 0 for the default")
	}
	exclude, err := glob.Excluding(c.Exclude)
	if err != nil {
		return nil, exit.With(exit.Usage, err, "see --help for what a GLOB is")
	}
	t, err := openTree(&c)
	switch {
	case errors.Is(err, state.ErrNewerFormat):
		return nil, exit.With(exit.Refused, err, "install the newer version here too")
	case errors.Is(err, state.ErrWithin):
		return nil, exit.With(exit.Usage, err, "give the --state-dir of watch, outside of DIR, or none: DIR/.tidemark is not published")
	case err != nil:
		return nil, exit.With(exit.Local, err, "name a directory that this user may read")
	}
	h := &Handler{
		cfg: c, tree: t, exclude: exclude, guard: newGuard(&c), pagePolicy: render.PagePolicy(),
		cache: pages.NewCache(c.CacheBytes, &c.Stats.CacheBytes), linkless: pages.NewLinkless(), gate: newTurnstile(bulkMost, bulkShare),
		large: newTurnstile(largeMost, largeShare), largeSize: largeSize,
		readers: newTurnstile(bulkMost, bulkShare), foreign: &foreign{cfg: &c},
		hashing: make(chan struct{}, runtime.GOMAXPROCS(0)),
		flights: pages.NewFlights(), live: pages.NewLive(), room: pages.NewRoom(pages.RoomBytes), freeTails: freeTails,
	}
	h.large.patience, h.gate.patience = largePatience, bulkPatience
	if err := h.readRoot(); err != nil {
		_ = t.root.Close()
		return nil, exit.With(exit.Local, err, "serve cannot list DIR: run it as a user that may, or with fewer restrictions")
	}
	h.stop, h.cancel = context.WithCancel(context.Background())
	h.hub = h.newHub()
	h.routes = h.route()
	return h, nil
}

// newHub starts what wakes long polls.
func (h *Handler) newHub() *longpoll.Hub {
	watch, err := dirwatch.New()
	if err != nil {
		h.cfg.Log.Warn("long polls look once a second", "error", err)
	}
	return longpoll.New(h.hubConfig(watch), h.stop.Done())
}

func (h *Handler) hubConfig(watch *dirwatch.Watch) longpoll.Config {
	last := h.tree.now()
	return longpoll.Config{
		Watch: watch, MaxWaiters: h.cfg.MaxWaiters, Waiting: &h.cfg.Stats.Waiting, Log: h.cfg.Log, Quoted: h.cfg.quoted,
		Changed: func() bool {
			s := h.tree.now()
			same := s.same(last)
			last = s
			return !same
		},
	}
}

// readRoot reads the root's listing once: a server that can answer nothing must not
// say that it is ready.
func (h *Handler) readRoot() error {
	dir, err := h.openDir("")
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = h.lister(h.tree.now()).Read(dir, "")
	return err
}

// Release answers those who wait for a change, now and from now on at once, so
// that a server can shut down.
func (h *Handler) Release() { h.cancel() }

// Close releases what the Handler holds. Requests must have ended before.
func (h *Handler) Close() error {
	h.cancel()
	h.hub.Close()
	return h.tree.root.Close()
}

// NeverWatched reports whether watch is known never to have run on the tree, nor
// mirror to have made it: every pass of a mirror is a full walk then.
func (h *Handler) NeverWatched() bool {
	s := h.tree.fresh()
	return s.Tree.ID == "" && !s.unread
}

// route leaves to chi what it is good at, choosing by method: all but GET and
// HEAD, for it copies each request, which costs 1.1 KiB for as long as a long poll
// waits, and a twentieth of the time of a small answer. Paths are taken from the
// URL by parseTarget: chi routes on the raw path or the decoded one as it comes.
func (h *Handler) route() http.Handler {
	r := chi.NewRouter()
	r.Post("/*", h.post)
	r.MethodNotAllowed(h.wrongMethod)
	r.NotFound(h.wrongMethod) // only what does not begin with a slash, as in OPTIONS *
	return r
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.cfg.Stats.Requests.Add(1)
	extend(w)
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case !h.allowed(r):
		h.send(w, leaveBody(w, r).unauthorized())
	case r.ContentLength != 0 && reads:
		h.send(w, leaveBody(w, r).refused(http.StatusBadRequest, "a body is expected with POST only"))
	case r.ContentLength != 0 && r.Method != http.MethodPost:
		h.wrongMethod(w, r)
	case reads:
		h.get(w, r)
	default:
		h.routes.ServeHTTP(w, r)
	}
}

func (h *Handler) wrongMethod(w http.ResponseWriter, r *http.Request) {
	a := leaveBody(w, r)
	a.allow = "GET, HEAD, POST"
	h.send(w, a.refused(http.StatusMethodNotAllowed, "methods: GET, HEAD; POST for ?tar and ?sums"))
}

// get answers GET and HEAD.
func (h *Handler) get(w http.ResponseWriter, r *http.Request) {
	t, err := parseTarget(r)
	switch {
	case err != nil || h.hidden(t.path, t.slash):
		h.send(w, reply{}.refused(http.StatusNotFound, "not found"))
	case h.tree.now().replaced && !(t.path == "" && t.has("status")):
		h.send(w, reply{}.refused(http.StatusServiceUnavailable, replacedText))
	case t.slash:
		h.directory(w, r, &t)
	default:
		h.file(w, r, &t)
	}
}

const replacedText = "the root was replaced"

// hidden reports whether path, or a directory above it, is not published, or is
// too long to be.
func (h *Handler) hidden(path string, isDir bool) bool {
	if len(path) > wire.MaxPath || !h.cfg.Hidden && hasDot(path) {
		return true
	}
	return h.exclude.Hides(path, isDir)
}

// hasDot reports whether a component of path begins with a dot.
func hasDot(path string) bool {
	for i := range len(path) {
		if path[i] == '.' && (i == 0 || path[i-1] == '/') {
			return true
		}
	}
	return false
}

// lister returns how directories are read for answers under s.
func (h *Handler) lister(s *snapshot) *lister.Lister {
	l := &lister.Lister{
		TreeID: s.Tree.ID,
		Hidden: h.cfg.Hidden,
		Owner:  h.cfg.Owner,
		Copy:   s.IsCopy(),
		Mounts: h.cfg.CrossMounts,
		Now:    h.cfg.Now,
		Log:    s.log,
	}
	if !h.cfg.CrossMounts {
		l.OtherFileSystem = h.foreign.pass
	}
	if !h.exclude.Empty() {
		l.Exclude = h.exclude.Excluded
	}
	if !s.filters.Empty() {
		l.CopyFilter = s.filters.Excluded
	}
	if s.Tree.Role == state.Source {
		l.Apart = h.tree.apart
	}
	return l
}

// openDir opens the directory at path, which was checked by parseTarget.
func (h *Handler) openDir(path string) (*disk.Dir, error) {
	if err := h.vouched(path); err != nil {
		return nil, err
	}
	d, err := h.tree.root.OpenDirPath(path, h.crosses())
	return d, h.above(path, err)
}

// vouched returns an error if the directory at path is, or lies in, one that watch
// may not read: nobody knows what changes there.
func (h *Handler) vouched(path string) error {
	apart, err := h.tree.apart()
	if err != nil {
		return err
	}
	return apart.Vouched(h.tree.root, path)
}

// openRegular opens the regular file at path if its directory is published.
func (h *Handler) openRegular(path string) (*disk.Regular, disk.Info, error) {
	if err := h.vouched(mtree.ParentPath(path)); err != nil {
		return nil, disk.Info{}, err
	}
	return h.tree.root.OpenFilePath(path, h.crosses())
}

// crosses reports whether what is beyond mounts is given out.
func (h *Handler) crosses() bool { return h.cfg.CrossMounts && h.tree.latest.Load().crosses }

func (h *Handler) now() mtree.Stamp { return h.cfg.Now() }

// writeTimeout is how long a client may take for one piece of an answer.
const writeTimeout = time.Minute

// extend gives the client another writeTimeout from now. A deadline stays on
// its connection, so every answer begins with this.
func extend(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // in-memory writers have none
}
