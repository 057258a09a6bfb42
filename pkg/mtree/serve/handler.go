package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/dirwatch"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve/internal/longpoll"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/published"
	"tidemark/pkg/mtree/serve/internal/render"
)

// Handler publishes one tree. It may be used by many goroutines at once.
type Handler struct {
	cfg    Config
	tree   *published.Tree
	guard  *guard
	routes http.Handler

	made          time.Time // when it was made
	pagePolicy    string    // Content-Security-Policy of the HTML page
	previewPolicy string    // the same with pictures
	pageVersion   string    // tells pages of other versions and options apart

	rate *changeRate

	hub      *longpoll.Hub
	cache    *pages.Cache
	answers  *pages.Cache // to ?since with part=1
	linkless *pages.Linkless
	flights  *pages.Flights
	live     *pages.Live
	room     *pages.Room

	bulkLimit  *limiter
	largeLimit *limiter
	pollLimit  *limiter // waiting requests for which each look reads the directory
	findMost   findBounds
	largeSize  int64         // bytes; a larger directory is read with a place in largeLimit
	hashing    chan struct{} // a slot for each file that may be hashed at once
	blocks     blockCache
	tails      atomic.Int64 // buffers in use for the bytes of files
	freeTails  int64        // how many of these are not counted in room

	stop   context.Context
	cancel context.CancelFunc // ends what waits
}

// New opens the tree at c.Root. A tree that watch never saw is served too, as unwatched.
// Errors carry exit codes: 6 for a root that cannot be listed; 2 for bad globs, bad
// numbers and a StateDir within the tree; 4 for state files of a newer version.
func New(c Config) (*Handler, error) {
	c = c.withDefaults()
	if c.MaxWaiters < 0 {
		err := fmt.Errorf("at most %d waiters: a number below zero", c.MaxWaiters)
		return nil, exit.With(exit.Usage, err, "give a positive number, or 0 for the default")
	}
	t, err := openTree(&c)
	if err != nil {
		return nil, err
	}
	guard := newGuard(&c)
	h := &Handler{
		cfg: c, tree: t, guard: guard, made: time.Now().UTC().Truncate(time.Second), pagePolicy: render.PagePolicy(render.HTML), previewPolicy: render.PagePolicy(render.Preview),
		pageVersion: fmt.Sprintf("%s %t %t", render.PageVersion(), c.Tar, guard.wanted),
		cache:       pages.NewCache(c.CacheBytes, &c.Stats.CacheBytes), answers: pages.NewCache(answersBytes, new(atomic.Int64)), linkless: pages.NewLinkless(),
		rate: newChangeRate(), flights: pages.NewFlights(), live: pages.NewLive(), room: pages.NewRoom(pages.RoomBytes),
		bulkLimit: newLimiter(bulkMost, bulkShare), largeLimit: newLimiter(largeMost, largeShare), pollLimit: newLimiter(bulkMost, bulkShare),
		largeSize: largeSize, findMost: findBounds{maxFound, maxFindRead, maxPending, maxFindTime}, hashing: make(chan struct{}, runtime.GOMAXPROCS(0)), freeTails: freeTails,
	}
	h.largeLimit.patience, h.bulkLimit.patience = largePatience, bulkPatience
	if err := h.readRoot(); err != nil {
		_ = t.Close()
		return nil, exit.With(exit.Local, err, "serve cannot list DIR: run it as a user that may, or with fewer restrictions")
	}
	h.stop, h.cancel = context.WithCancel(context.Background())
	h.hub = h.newHub()
	h.routes = h.route()
	go h.sample()
	return h, nil
}

// openTree opens what c publishes. Errors carry exit codes.
func openTree(c *Config) (*published.Tree, error) {
	exclude, err := glob.Excluding(c.Exclude)
	if err != nil {
		return nil, exit.With(exit.Usage, err, "see --help for what a GLOB is")
	}
	t, err := published.Open(published.Config{
		Root: c.Root, StateDir: c.StateDir, Hidden: c.Hidden, Owner: c.Owner, CrossMounts: c.CrossMounts,
		Patterns: c.Exclude, Exclude: exclude, Log: c.Log, Now: c.Now, PassedOver: &c.Stats.OtherFileSystems,
	})
	switch {
	case errors.Is(err, state.ErrNewerFormat):
		return nil, exit.With(exit.Refused, err, "install the newer version here too")
	case errors.Is(err, state.ErrWithin):
		return nil, exit.With(exit.Usage, err, "give the --state-dir of watch, outside of DIR, or none: DIR/.tidemark is not published")
	case err != nil:
		return nil, exit.With(exit.Local, err, "name a directory that this user may read")
	}
	return t, nil
}

// newHub starts the hub that wakes long polls.
func (h *Handler) newHub() *longpoll.Hub {
	watch, err := dirwatch.New()
	if err != nil {
		h.cfg.Log.Warn("cannot hear directories: mirrors that wait are told within a second, not at once", "error", err, "remedy", longpoll.HearAgain)
	}
	return longpoll.New(h.hubConfig(watch), h.stop.Done())
}

// hubConfig returns the configuration of a hub that hears directories by watch, which may
// be nil.
func (h *Handler) hubConfig(watch *dirwatch.Watch) longpoll.Config {
	last := h.tree.Now()
	return longpoll.Config{
		Watch: watch, MaxWaiters: h.cfg.MaxWaiters, Waiting: &h.cfg.Stats.Waiting, Log: h.cfg.Log, Quoted: h.tree.Quoted,
		Changed: func() bool {
			s := h.tree.Now()
			same := s.Same(last)
			last = s
			return !same
		},
	}
}

// readRoot reads the root's listing once: a server that cannot answer must not say that
// it is ready.
func (h *Handler) readRoot() error {
	dir, err := h.tree.OpenDir("")
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = h.tree.Lister(h.tree.Now()).Read(dir, "")
	return err
}

// errAnother says why a server ends by itself.
var errAnother = errors.New("another tree is at the path of the root now")

// UntilReplaced returns a context that ends with ctx, and when the path of the root names the
// root of another tree, as after a disk was mounted late: this Handler publishes nothing from then
// on, and a new one would publish that tree. Then ended returns an error with exit code 6.
func (h *Handler) UntilReplaced(ctx context.Context) (until context.Context, ended func() error) {
	until, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-h.tree.Another():
			cancel(exit.With(exit.Local, errAnother, "start serve again: it publishes the tree that is there now"))
		case <-ctx.Done():
			cancel(nil)
		}
	}()
	return until, func() error {
		if err := context.Cause(until); errors.Is(err, errAnother) {
			return err
		}
		return nil
	}
}

// Release ends the waiting of all requests, now and later, so that a server can shut
// down.
func (h *Handler) Release() { h.cancel() }

// Close releases what the Handler holds. Requests must have ended before.
func (h *Handler) Close() error {
	h.cancel()
	h.hub.Close()
	return h.tree.Close()
}

// NeverWatched reports whether it is certain that watch never ran on the tree and mirror
// did not make it: then every pass of a mirror is a full walk.
func (h *Handler) NeverWatched() bool {
	s := h.tree.Reread()
	return s.Tree.ID == "" && !s.Unread
}

// now returns the server's clock.
func (h *Handler) now() mtree.Stamp { return h.cfg.Now() }
