package logbook

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Bounds of what is told.
const (
	// Period is how long what was told is not told again.
	Period = time.Minute

	// mostLines is how many different lines of one message are told in a period.
	mostLines = 100

	// mostChanges is how often a topic of About is told in a period, if it changes all the time.
	mostChanges = 10

	// sweepPause is between two looks at all that was told, while records come. When something is due, a timer looks, too.
	sweepPause = time.Second
)

// Handler tells what is new at once, and what comes again once a Period, with a count. Safe for all goroutines.
// Close tells what is still to be told.
type Handler struct {
	next  slog.Handler
	bound string // what WithAttrs and WithGroup have added
	*book
}

// New returns a Handler in front of next. If next takes debug lines, everything is told.
func New(next slog.Handler) *Handler {
	return &Handler{next: next, book: &book{
		all:    next.Enabled(context.Background(), slog.LevelDebug),
		lines:  map[string]*line{},
		kinds:  map[string]*kind{},
		topics: map[string]*topic{},
	}}
}

// Enabled is slog.Handler's.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// WithAttrs is slog.Handler's.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{h.next.WithAttrs(attrs), h.bound + fmt.Sprint(attrs), h.book}
}

// WithGroup is slog.Handler's.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.next.WithGroup(name), h.bound + name + ".", h.book}
}

// Handle tells a record, or counts it.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	about, is, r := splitAbout(r)
	if h.all {
		return h.next.Handle(ctx, r)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if now.Sub(h.swept) >= sweepPause {
		h.sweep(now)
	}
	if is {
		return h.change(about, r, now)
	}
	key := keyOf(h.bound, r)
	if l := h.lines[key]; l != nil && (l.again > 0 || !l.isDue(now)) {
		h.count(l, h.next, r)
		h.arm(now)
		return nil
	}
	k := h.kindOf(h.bound, r, now)
	if k.told == mostLines {
		h.count(&k.more, h.next, bare(r))
		h.arm(now)
		return nil
	}
	k.told++
	h.lines[key] = &line{told: now}
	return h.next.Handle(ctx, r)
}

// book is what the handlers of one log share.
type book struct {
	all bool // everything is told

	mu     sync.Mutex
	lines  map[string]*line  // told in the last Period, by keyOf
	kinds  map[string]*kind  // by level and message
	topics map[string]*topic // of About
	timer  *time.Timer       // nil: nothing is to be told later
	swept  time.Time
	counts int // records that were counted
}

// line is something that was told, and how often it came since.
type line struct {
	told   time.Time
	again  int
	last   slog.Record
	number int // of last, among all that were counted
	sums   map[string]int64
	writer slog.Handler // of last
}

// kind is what was told of one message.
type kind struct {
	told int  // lines in this period
	more line // stands for all that were not told
}

// topic is what was told of something that stands this way or that.
type topic struct {
	line
	state   string
	began   time.Time // of the period in which changes are counted
	changes int
}

// count counts a record for l.
func (b *book) count(l *line, writer slog.Handler, r slog.Record) {
	b.counts++
	l.again++
	l.number = b.counts
	l.last, l.sums = merged(l.sums, r)
	l.writer = writer
}

// isDue reports whether what was told is so long ago that it may be told again.
func (l *line) isDue(now time.Time) bool { return now.Sub(l.told) >= Period }

// tell tells what was counted. name is the attribute of the count.
func (l *line) tell(name string, now time.Time) error {
	r, n := l.last.Clone(), l.again
	r.Time = now
	r.AddAttrs(slog.Int(name, n))
	l.told, l.again, l.sums = now, 0, nil
	return l.writer.Handle(context.Background(), r)
}

// bare returns what lines of one message have in common.
func bare(r slog.Record) slog.Record {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "remedy" {
			out.AddAttrs(a)
		}
		return true
	})
	return out
}

// kindOf returns what was told of the message of r in this period.
func (b *book) kindOf(bound string, r slog.Record, now time.Time) *kind {
	key := fmt.Sprintf("%d\n%s\n%s", r.Level, r.Message, bound)
	k := b.kinds[key]
	if k == nil || k.more.again == 0 && k.more.isDue(now) {
		k = &kind{more: line{told: now}}
		b.kinds[key] = k
	}
	return k
}

// change tells how something stands, if it stands otherwise than before.
func (h *Handler) change(about standing, r slog.Record, now time.Time) error {
	t := h.topics[about.topic]
	if t == nil {
		t = &topic{began: now}
		h.topics[about.topic] = t
	}
	if now.Sub(t.began) >= Period {
		t.began, t.changes = now, 0
	}
	same := t.state == about.state && !t.told.IsZero() && !t.isDue(now)
	if same || t.changes == mostChanges {
		if t.state != about.state {
			t.sums = nil
		}
		t.state = about.state
		h.count(&t.line, h.next, r)
		h.arm(now)
		return nil
	}
	if t.again > 0 {
		_ = t.line.tell("again", now) // how often it was so, before it is so no more
	}
	t.line, t.state = line{told: now}, about.state
	t.changes++
	return h.next.Handle(context.Background(), r)
}

// sweep tells what is due, in the order in which it came last, and forgets what is told.
func (b *book) sweep(now time.Time) {
	b.swept = now
	type due struct {
		*line
		name string
	}
	var all []due
	for key, l := range b.lines {
		switch {
		case !l.isDue(now):
		case l.again > 0:
			all = append(all, due{l, "again"})
		default:
			delete(b.lines, key)
		}
	}
	for key, k := range b.kinds {
		if !k.more.isDue(now) {
			continue
		}
		delete(b.kinds, key)
		if k.more.again > 0 {
			all = append(all, due{&k.more, "more"})
		}
	}
	for _, t := range b.topics {
		if t.again > 0 && t.isDue(now) {
			all = append(all, due{&t.line, "again"})
		}
	}
	slices.SortFunc(all, func(x, y due) int { return cmp.Compare(x.number, y.number) })
	for _, d := range all {
		_ = d.tell(d.name, now)
	}
}

// arm sees to it that sweep runs when the first of what was counted is due.
func (b *book) arm(now time.Time) {
	if b.timer != nil {
		return
	}
	var first time.Time
	b.counted(func(l *line) {
		if first.IsZero() || l.told.Before(first) {
			first = l.told
		}
	})
	if first.IsZero() {
		return
	}
	b.timer = time.AfterFunc(max(0, first.Add(Period).Sub(now)), func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		now := time.Now()
		b.timer = nil
		b.sweep(now)
		b.arm(now)
	})
}

// counted calls each for all lines of which something is still to be told.
func (b *book) counted(each func(*line)) {
	see := func(l *line) {
		if l.again > 0 {
			each(l)
		}
	}
	for _, l := range b.lines {
		see(l)
	}
	for _, k := range b.kinds {
		see(&k.more)
	}
	for _, t := range b.topics {
		see(&t.line)
	}
}

// Close tells what was counted and not told yet. The log may still be used.
func (h *Handler) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
	h.counted(func(l *line) { l.told = time.Time{} })
	h.sweep(time.Now())
}
