package actions

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"tidemark/internal/outlet"
	"tidemark/pkg/mtree/exit"
)

const (
	// Grace is how long the reader may take for the rest when a mirror stops.
	Grace = time.Second

	// OncePatience replaces it after a single pass: all lines come at once.
	OncePatience = time.Minute

	// printBound is how much is kept for a slow reader, in bytes: about 130,000 lines. As much
	// again may be on its way to the reader.
	printBound = 8 << 20

	lossPause = time.Second // between two log lines about lost lines
)

// Printer writes lines to a reader, and never waits for it. A reader who is too slow loses lines,
// which are counted. A nil Printer does nothing.
type Printer struct {
	out      *outlet.Outlet
	json     bool
	log      *slog.Logger
	lost     *atomic.Int64
	text     []byte // memory of what was written last
	err      error
	logged   int64     // lost lines that the log mentions
	loggedAt time.Time // when it did so last
}

// NewPrinter returns a Printer to out, in text or JSON; nil if out is nil. It counts lost lines.
func NewPrinter(out io.Writer, json bool, log *slog.Logger, lost *atomic.Int64) *Printer {
	if out == nil {
		return nil
	}
	line := lostText
	if json {
		line = lostJSON
	}
	return &Printer{out: outlet.New(out, printBound, 0, line), json: json, log: log, lost: lost}
}

// lostText returns the line that stands for n lost lines. It has the stamp of the last of them,
// and one tab only.
func lostText(n int, last []byte) []byte {
	stamp, _, _ := bytes.Cut(last, []byte("\t"))
	return fmt.Appendf(nil, "%s\tlost %d lines\n", stamp, n)
}

// lostJSON does so in JSON.
func lostJSON(n int, last []byte) []byte {
	stamp, _, _ := bytes.Cut(bytes.TrimPrefix(last, []byte(stampKey)), []byte(`"`))
	return fmt.Appendf(nil, "%s%s\",\"lost\":%d}\n", stampKey, stamp, n)
}

// Print writes lines. What fails shows in Err.
func (p *Printer) Print(lines []Line) {
	if p == nil || p.err != nil {
		return
	}
	p.text = p.text[:0]
	for i := range lines {
		if p.json {
			p.text = lines[i].appendJSON(p.text)
		} else {
			p.text = lines[i].appendText(p.text)
		}
	}
	_, err := p.out.Write(p.text)
	p.fail(err)
	p.countLost(false)
}

// Err returns why the reader gets no more lines; nil: it gets them.
func (p *Printer) Err() error {
	if p == nil {
		return nil
	}
	return p.err
}

func (p *Printer) fail(err error) {
	if err != nil && p.err == nil {
		p.err = exit.With(exit.Local, fmt.Errorf("--print: %w", err), "")
	}
}

// countLost counts lost lines, and logs them: always if last is true, else not too often.
func (p *Printer) countLost(last bool) {
	lost := p.out.Lost()
	p.lost.Store(lost)
	if lost == p.logged || !last && time.Since(p.loggedAt) < lossPause {
		return
	}
	p.log.Warn("--print: lines were lost, because their reader is too slow", "lines", lost-p.logged)
	p.logged, p.loggedAt = lost, time.Now()
}

// Close gives the reader some time to take the rest, less if ctx ends, and returns how many lines
// the reader did not take.
func (p *Printer) Close(ctx context.Context, wait time.Duration) (left int, err error) {
	if p == nil {
		return 0, nil
	}
	type end struct {
		left int
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		left, err := p.out.Close(wait)
		ended <- end{left, err}
	}()
	var grace <-chan time.Time
	for stopped := ctx.Done(); ; {
		select {
		case e := <-ended:
			p.fail(e.err)
			p.countLost(true)
			return e.left, p.err
		case <-stopped:
			stopped, grace = nil, time.After(Grace)
		case <-grace:
			return 0, p.err // nobody waits for what is left
		}
	}
}

// CloseAll is Close for a mirror that runs once: lines that are left are an error.
func (p *Printer) CloseAll(ctx context.Context) error {
	left, err := p.Close(ctx, OncePatience)
	if err == nil && left > 0 {
		err = exit.With(exit.Failed, fmt.Errorf("--print: its reader did not take the last %d lines", left), "what they tell is done all the same")
	}
	return err
}
