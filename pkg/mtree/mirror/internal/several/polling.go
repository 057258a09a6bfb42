package several

import (
	"context"
	"time"

	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/mirror/internal/source"
)

const (
	RestartPause = 500 * time.Millisecond // a source that failed is asked once more: its server may be restarted
	readyTime    = 5 * time.Second        // for a source to show its root after it answered a probe, while a poll of another one waits
)

// Root returns the root of the source that is used, or of another one if that one fails, or a preferred
// one is back: then Switched is set, and the root is given whole. A poll is ended for no other reason.
// If no source can be used the error says of each why.
func (s *Sources) Root(ctx context.Context, poll source.Poll) (root source.Root, err error) {
	s.mu.Lock()
	s.down = false
	s.mu.Unlock()
	if root, err = s.root(ctx, poll); err == nil {
		s.c.Number.Store(int64(s.used) + 1)
	} else if ctx.Err() == nil {
		s.c.Number.Store(0)
	}
	s.tell()
	return root, err
}

// root does the work of Root.
func (s *Sources) root(ctx context.Context, poll source.Poll) (source.Root, error) {
	if s.used < 0 {
		return s.choose(ctx, poll.Once)
	}
	select {
	case answered := <-s.probing:
		if to, root := s.ready(ctx, answered); to >= 0 {
			return s.use(to, root), nil
		}
	default:
	}
	root, switched, err := s.poll(ctx, poll)
	if switched || ctx.Err() != nil || err == nil && s.stays(&root) {
		return root, err
	}
	if err != nil {
		s.list[s.used].set(causeText(err), s.c.Now())
	}
	machine.Sleep(ctx, RestartPause)
	if root, err := s.list[s.used].ask(ctx, AskTime, true); err == nil && s.stays(&root) {
		return root, nil
	}
	return s.choose(ctx, poll.Once)
}

// stays reports whether the source that is used may stay so, by its answer.
func (s *Sources) stays(root *source.Root) bool {
	n := s.list[s.used]
	n.look(root)
	err := s.Judge(root, s.used, false)
	why := ""
	if err != nil {
		why = err.Error()
	}
	n.set(why, s.c.Now())
	return err == nil
}

// poll asks the source that is used. If that may take long, preferred sources are asked beside it; if
// one of them may be used, the poll is given up.
func (s *Sources) poll(ctx context.Context, poll source.Poll) (root source.Root, switched bool, err error) {
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
		select {
		case <-done:
			return root, false, err
		case <-time.After(s.untilProbe()): // it is time for a probe
		case answered := <-s.probing:
			if to, back := s.ready(ctx, answered); to >= 0 {
				cancel()
				<-done
				return s.use(to, back), true, nil
			}
		}
	}
}

// ready asks the sources that answered a probe once more, and returns the first that may be used, and
// its root; -1 if none may. Then the next probe comes later.
func (s *Sources) ready(ctx context.Context, answered []int) (to int, root source.Root) {
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

// Close ends what is under way and closes all sources.
func (s *Sources) Close() {
	s.endProbe()
	for _, n := range s.list {
		n.close()
	}
}
