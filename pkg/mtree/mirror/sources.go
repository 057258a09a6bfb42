package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/lineage"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
)

// How a mirror with several sources changes between them.
const (
	restartPause = 500 * time.Millisecond // a source that failed is asked once more: its server may be restarted
	longestProbe = time.Minute            // between such probes
	calm         = 5 * time.Minute        // a source that is lost again within this time of its return is probed later

	askTime   = 15 * time.Second // for a source to show its root
	readyTime = 5 * time.Second  // the same, after it answered a probe, while a poll of another one waits
)

// sources is an origin of several, of which one is used: the first that answers and shows the tree of
// the copy, and not as it was before (lineage.MayUse). Root may change which one; nothing else does.
type sources struct {
	list  []*candidate
	stats *Stats
	c     *Config

	// judge returns why the copy must not be made from a source with that root; nil: it may. fresh says
	// that another source was used before.
	judge  func(root *source.Root, number int, fresh bool) error
	report func([]replica.SourceState) // gets how the sources stand, if that changed

	mu   sync.Mutex // guards what follows, and candidate.origin of the one in use
	used int        // index in list; -1: none yet
	down bool       // nothing could be connected to since the last call of Root

	told     string             // what was reported last
	due      time.Time          // of the next probe
	pause    time.Duration      // before due
	first    time.Duration      // before the first probe after the next change
	returned time.Time          // when a preferred source was used again
	probing  chan []int         // gets the sources that answered a probe; nil: none is under way
	stop     context.CancelFunc // ends it
}

// openSources opens several sources.
func openSources(c *Config) (*sources, error) {
	list, err := candidates(c)
	if err != nil {
		return nil, err
	}
	c.Stats.several.Store(true)
	return &sources{list: list, c: c, stats: c.Stats, used: -1, first: c.firstProbe, judge: func(root *source.Root, _ int, _ bool) error { return new(lineage.Lineage).MayStay(root) }}, nil
}

// names returns the names of the sources, in their order.
func (s *sources) names() (names []string) {
	for _, n := range s.list {
		names = append(names, n.name)
	}
	return names
}

// name returns the name of the source that is used; "" if none is.
func (s *sources) name() string {
	if s.used < 0 {
		return ""
	}
	return s.list[s.used].name
}

// Root returns the root of the source that is used, or of another one if that one fails, or a preferred
// one is back: then Switched is set, and the root is given whole. A poll is ended for no other reason.
// If no source can be used the error says of each why.
func (s *sources) Root(ctx context.Context, poll source.Poll) (root source.Root, err error) {
	s.mu.Lock()
	s.down = false
	s.mu.Unlock()
	if root, err = s.root(ctx, poll); err == nil {
		s.stats.SourceNumber.Store(int64(s.used) + 1)
	} else if ctx.Err() == nil {
		s.stats.SourceNumber.Store(0)
	}
	s.tell()
	return root, err
}

// root does the work of Root.
func (s *sources) root(ctx context.Context, poll source.Poll) (source.Root, error) {
	if s.used < 0 {
		return s.choose(ctx, poll.Once)
	}
	if s.probing != nil {
		select {
		case answered := <-s.probing:
			if to, root := s.ready(ctx, answered); to >= 0 {
				return s.use(to, root), nil
			}
		default:
		}
	}
	root, switched, err := s.poll(ctx, poll)
	if switched || ctx.Err() != nil || err == nil && s.stays(&root) {
		return root, err
	}
	if err != nil {
		s.list[s.used].set(causeText(err), s.c.Now())
	}
	sleep(ctx, restartPause)
	if root, err := s.list[s.used].ask(ctx, askTime, true); err == nil && s.stays(&root) {
		return root, nil
	}
	return s.choose(ctx, poll.Once)
}

// stays reports whether the source that is used may stay so, by its answer.
func (s *sources) stays(root *source.Root) bool {
	n := s.list[s.used]
	n.look(root, nil)
	err := s.judge(root, s.used, false)
	why := ""
	if err != nil {
		why = err.Error()
	}
	n.set(why, s.c.Now())
	return err == nil
}

// poll asks the source that is used. If that may take long, preferred sources are asked beside it; if
// one of them may be used, the poll is given up.
func (s *sources) poll(ctx context.Context, poll source.Poll) (root source.Root, switched bool, err error) {
	if poll.Wait == 0 || !s.hasPreferred() {
		root, err = s.list[s.used].origin.Root(ctx, poll)
		return root, false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		root, err = s.list[s.used].origin.Root(ctx, poll)
	}()
	for {
		s.probe()
		timer := time.NewTimer(s.untilProbe())
		select {
		case <-done:
			timer.Stop()
			return root, false, err
		case <-timer.C: // it is time for a probe
		case answered := <-s.probing:
			timer.Stop()
			if to, back := s.ready(ctx, answered); to >= 0 {
				cancel()
				<-done
				return s.use(to, back), true, nil
			}
		}
	}
}

// untilProbe returns how long nothing need be done for the preferred sources.
func (s *sources) untilProbe() time.Duration {
	if s.probing != nil { // guard: TestNothingIsDueWhileAProbeRuns
		return time.Hour // it ends by itself
	}
	return time.Until(s.due)
}

// isPreferred reports whether a source is used rather than the present one once it can be.
func (s *sources) isPreferred(i int) bool {
	return i < s.used || i != s.used && s.list[s.used].stale
}

func (s *sources) hasPreferred() bool {
	return s.used > 0 || s.list[s.used].stale
}

// probe begins to ask the preferred sources, if it is time for that and nobody does. Until its answer was
// taken, nothing else uses these sources. It goes on while a pass runs, so it looks at nothing of the copy.
func (s *sources) probe() {
	if now := time.Now(); s.probing != nil || now.Before(s.due) {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	result := make(chan []int, 1)
	s.probing, s.stop = result, stop
	s.due = time.Now().Add(longestProbe)
	var preferred, answered []int
	for i := range s.list {
		if s.isPreferred(i) {
			preferred = append(preferred, i)
		}
	}
	go func() {
		defer stop()
		for _, i := range preferred {
			if _, err := s.list[i].ask(ctx, askTime, true); err == nil {
				answered = append(answered, i)
			}
		}
		result <- answered
	}()
}

// endProbe ends a probe, and waits until it has ended.
func (s *sources) endProbe() {
	if s.probing != nil {
		s.stop()
		<-s.probing
		s.probing = nil
	}
}

// ready asks the sources that answered a probe once more, and returns the first that may be used, and
// its root; -1 if none may. Then the next probe comes later.
func (s *sources) ready(ctx context.Context, answered []int) (to int, root source.Root) {
	s.probing = nil
	for _, i := range answered {
		root, err := s.try(ctx, i, readyTime, true)
		if err == nil && (!s.list[i].stale || i < s.used && s.list[s.used].stale) {
			return i, root
		}
	}
	s.pause = min(2*s.pause, longestProbe)
	s.schedule()
	s.tell()
	return -1, root
}

// schedule sets when the next probe is due.
func (s *sources) schedule() {
	s.due = time.Now().Add(s.pause*3/4 + s.c.vary(s.pause/4))
}

// try returns the root of a source, or why it cannot be used, which it notes.
func (s *sources) try(ctx context.Context, i int, within time.Duration, once bool) (source.Root, error) {
	n := s.list[i]
	root, err := n.ask(ctx, within, once)
	if err != nil && ctx.Err() != nil {
		return root, err
	}
	why := ""
	if err != nil {
		why = causeText(err)
	} else if err = s.judge(&root, i, true); err != nil {
		why = err.Error()
	}
	n.set(why, s.c.Now())
	return root, err
}

// choose uses the first source that may be used. A copy that no mirror keeps is used if there is no
// other: it brings no news.
func (s *sources) choose(ctx context.Context, once bool) (source.Root, error) {
	s.endProbe()
	stale, errs := -1, make([]error, len(s.list))
	var last source.Root
	for i := range s.list {
		if i == s.used && s.list[i].why != "" {
			errs[i] = errors.New(s.list[i].why) // it was asked this moment
			continue
		}
		root, err := s.try(ctx, i, askTime, once)
		if ctx.Err() != nil {
			return root, ctx.Err()
		}
		if errs[i] = err; err == nil && !s.list[i].stale {
			return s.use(i, root), nil
		}
		if err == nil && stale < 0 {
			stale, last = i, root
		}
	}
	if stale >= 0 {
		return s.use(stale, last), nil
	}
	return source.Root{}, s.none(errs)
}

// none returns the error for sources of which none can be used: exit.Refused if waiting helps with none
// of them, else exit.Unreachable.
func (s *sources) none(errs []error) error {
	var lines []string
	var may []error
	for i, err := range errs {
		lines = append(lines, s.list[i].name+": "+err.Error())
		if exit.Of(err) != exit.Refused {
			may = append(may, err)
		}
	}
	err, code := &errNone{text: strings.Join(lines, "; "), errs: may}, exit.Unreachable
	if len(may) == 0 {
		code = exit.Refused // guard: TestSourcesThatAreAllRefused
	}
	return exit.With(code, err, "")
}

// errNone says of each of several sources why it cannot be used.
type errNone struct {
	text string
	errs []error
}

func (e *errNone) Error() string   { return "none of the sources can be used: " + e.text }
func (e *errNone) Unwrap() []error { return e.errs }

// use makes a source the one that is used. root is its answer.
func (s *sources) use(to int, root source.Root) source.Root {
	s.endProbe()
	was := s.used
	s.list[to].set("", s.c.Now())
	if was == to {
		return root
	}
	s.mu.Lock()
	s.used = to
	if was >= 0 {
		s.list[was].close() // an idle connection, or a disk that is busy, is of no use
	}
	s.mu.Unlock()
	s.list[to].since = s.c.Now()
	s.plan(was)
	if root.Switched = was >= 0; root.Switched {
		s.stats.SourceChanges.Add(1)
		level := slog.LevelInfo
		if to > was {
			level = slog.LevelWarn
		}
		s.c.Log.Log(context.Background(), level, "another source is used", "source", s.list[to].name, "number", to+1, "before", s.list[was].name, "why", s.whyLeft(was, to))
	} else {
		s.c.Log.Info("source", "source", s.list[to].name, "number", to+1, "of", len(s.list))
	}
	return root
}

// plan sets when the preferred sources are asked, now that another source is used than was; -1: none. A
// source that comes and goes is asked less often.
func (s *sources) plan(was int) {
	now := time.Now()
	switch {
	case s.used < was:
		s.returned = now
	case was >= 0 && !s.returned.IsZero() && now.Sub(s.returned) < calm:
		s.first = min(2*s.first, longestProbe)
	default:
		s.first = s.c.firstProbe
	}
	s.pause = s.first
	s.schedule()
}

// whyLeft says why another source is used than before.
func (s *sources) whyLeft(was, to int) string {
	if why := s.list[was].why; why != "" {
		return why
	}
	if s.list[was].stale {
		return "no mirror keeps the one before"
	}
	return fmt.Sprintf("source %d is preferred and can be used again", to+1)
}

// tell reports how the sources stand, if that changed.
func (s *sources) tell() {
	if s.report == nil {
		return
	}
	list := make([]replica.SourceState, len(s.list))
	for i, n := range s.list {
		list[i] = replica.SourceState{Name: n.name, Used: i == s.used && n.why == "", Since: n.since, Why: n.why}
	}
	if text := fmt.Sprint(list); text != s.told {
		s.told = text
		s.report(list)
	}
}

// present returns the source that is used. After it could not be connected to, each further request
// would fail after some tries: a pass with thousands of them would take long to end.
func (s *sources) present() (origin, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down { // guard: TestALostSourceEndsAPass
		return nil, source.ErrLost
	}
	return s.list[s.used].origin, nil
}

// note looks whether an error says that no server is there. It returns the error.
func (s *sources) note(err error) error {
	if err != nil && remote.IsDown(err) {
		s.mu.Lock()
		s.down = true
		s.mu.Unlock()
	}
	return err
}

// standsIn reports whether the source that gave this root is a copy, and not the first source, and may
// leave out what that one shows: filters of its mirror say so in the fingerprint of its options.
func (s *sources) standsIn(root *source.Root) bool {
	if s == nil || s.used < 0 {
		return false
	}
	s.list[s.used].shows = root.Fingerprint
	first := s.list[0].shows
	return s.used > 0 && root.Upstreams != "" && (first == "" || first != root.Fingerprint)
}

// isLost reports whether the source that is used could not be connected to since the last call of Root.
func (s *sources) isLost() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// List is that of the source that is used, as are the methods that follow.
func (s *sources) List(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	o, err := s.present()
	if err != nil {
		return source.Dir{}, err
	}
	l, err := o.List(ctx, path, least)
	return l, s.note(err)
}

// Fetch: see List. Once the source is lost no further file is asked for.
func (s *sources) Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File] {
	return func(yield func(int, source.File) bool) {
		seen := make([]bool, len(want))
		if o, err := s.present(); err == nil {
			for i, f := range o.Fetch(ctx, want) {
				seen[i] = true
				if _ = s.note(f.Err); !yield(i, f) {
					return
				}
				if s.isLost() { // guard: TestALostSourceEndsAFetch
					break
				}
			}
		}
		for i := range want {
			if !seen[i] && !yield(i, source.File{Err: source.ErrLost}) {
				return
			}
		}
	}
}

// Sums: see List.
func (s *sources) Sums(ctx context.Context, paths []string) (map[string]source.Sum, error) {
	o, err := s.present()
	if err != nil {
		return nil, err
	}
	sums, err := o.Sums(ctx, paths)
	return sums, s.note(err)
}

// Part: see List.
func (s *sources) Part(ctx context.Context, path string, since mtree.Stamp) (source.Dir, error) {
	o, err := s.present()
	if err != nil {
		return source.Dir{}, err
	}
	l, err := o.Part(ctx, path, since)
	return l, s.note(err)
}

// Serves: see List.
func (s *sources) Serves(ctx context.Context, path string, text []byte) bool {
	o, err := s.present()
	return err == nil && o.Serves(ctx, path, text)
}

// Renewed reports whether the source that is used would be asked with other credentials than before. If
// none is, it reports that of any.
func (s *sources) Renewed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used >= 0 && s.list[s.used].origin != nil && s.list[s.used].origin.Renewed()
}

// Close ends what is under way and closes all sources.
func (s *sources) Close() {
	s.endProbe()
	for _, n := range s.list {
		n.close()
	}
}

// sleep waits for a time, or until ctx ends.
func sleep(ctx context.Context, t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
