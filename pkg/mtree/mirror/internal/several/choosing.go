package several

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"tidemark/internal/logbook"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// calm is a time: a source that is lost again within it of its return is probed later.
const calm = 5 * time.Minute

// choose uses the first source that may be used. A copy that no mirror keeps is used if there is no
// other: it brings no news.
func (s *Sources) choose(ctx context.Context, once bool) (source.Root, error) {
	s.endProbe()
	stale, errs := -1, make([]error, len(s.list))
	var last source.Root
	for i := range s.list {
		if i == s.used {
			errs[i] = errors.New(s.list[i].why) // it was asked this moment
			continue
		}
		root, err := s.try(ctx, i, AskTime, once)
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

// try returns the root of a source, or why it cannot be used, which it notes.
func (s *Sources) try(ctx context.Context, i int, within time.Duration, once bool) (source.Root, error) {
	n := s.list[i]
	root, err := n.ask(ctx, within, once)
	if err != nil && ctx.Err() != nil {
		return root, err
	}
	why := ""
	if err != nil {
		why = causeText(err)
	} else if err = s.Judge(&root, i, true); err != nil {
		why = err.Error()
	}
	n.set(why, s.c.Now())
	return root, err
}

// none returns the error for sources of which none can be used: exit.Refused if waiting helps with none
// of them, else exit.Unreachable.
func (s *Sources) none(errs []error) error {
	var lines []string
	var may []error
	for i, err := range errs {
		lines = append(lines, s.list[i].name+": "+err.Error())
		if exit.Of(err) != exit.Refused {
			may = append(may, err)
		}
	}
	err, code := &ErrNone{text: strings.Join(lines, "; "), errs: may}, exit.Unreachable
	if len(may) == 0 {
		code = exit.Refused // guard: TestSourcesThatAreAllRefused
	}
	return exit.With(code, err, "")
}

// ErrNone says of each of several sources why it cannot be used.
type ErrNone struct {
	text string
	errs []error
}

func (e *ErrNone) Error() string   { return "none of the sources can be used: " + e.text }
func (e *ErrNone) Unwrap() []error { return e.errs }

// use makes another source the one that is used. root is its answer.
func (s *Sources) use(to int, root source.Root) source.Root {
	was := s.used
	s.mu.Lock()
	s.used = to
	if was >= 0 {
		s.list[was].close() // an idle connection, or a disk that is busy, is of no use
	}
	s.mu.Unlock()
	s.list[to].since = s.c.Now()
	s.plan(was)
	if root.Switched = was >= 0; root.Switched {
		s.c.Changes.Add(1)
		level := slog.LevelInfo
		if to > was {
			level = slog.LevelWarn
		}
		s.c.Log.Log(context.Background(), level, "another source is used", "source", s.list[to].name, "number", to+1, "before", s.list[was].name, "why", s.whyLeft(was, to),
			"remedy", "none is needed: the preferred one is used when it is back", logbook.About("source", s.list[to].name))
	} else {
		s.c.Log.Info("this source is used", "source", s.list[to].name, "number", to+1, "of", len(s.list), logbook.About("source", s.list[to].name))
	}
	return root
}

// plan sets when the preferred sources are asked, now that another source is used than was; -1: none. A
// source that comes and goes is asked less often.
func (s *Sources) plan(was int) {
	now := time.Now()
	switch {
	case s.used < was:
		s.returned = now
	case now.Sub(s.returned) < calm:
		s.first = min(2*s.first, longestProbe)
	default:
		s.first = s.c.FirstProbe
	}
	s.pause = s.first
	s.schedule()
}

// whyLeft says why another source is used than before.
func (s *Sources) whyLeft(was, to int) string {
	if why := s.list[was].why; why != "" {
		return why
	}
	if s.list[was].stale {
		return "no mirror keeps the one before"
	}
	return fmt.Sprintf("source %d is preferred and can be used again", to+1)
}
