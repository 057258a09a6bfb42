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
)

// Printer writes lines to a reader, and never waits for it. A reader who is too slow loses lines,
// which are counted. A nil Printer does nothing.
type Printer struct {
	out  *outlet.Print
	json bool
	text []byte // memory of what was written last
	err  error
}

// NewPrinter returns a Printer to out, in text or JSON; nil if out is nil. It counts lost lines.
func NewPrinter(out io.Writer, json bool, log *slog.Logger, lost *atomic.Int64) *Printer {
	if out == nil {
		return nil
	}
	line := outlet.LostText
	if json {
		line = lostJSON
	}
	return &Printer{out: outlet.NewPrint(out, 0, line, log, lost), json: json}
}

// lostJSON is outlet.LostText in JSON.
func lostJSON(n int, last []byte) []byte {
	stamp, _, _ := bytes.Cut(bytes.TrimPrefix(last, []byte(stampKey)), []byte(`"`))
	return fmt.Appendf(nil, "%s%s\",\"lost\":%d}\n", stampKey, stamp, n)
}

// Print writes lines. What fails shows in Err.
func (p *Printer) Print(lines []Line) {
	if p == nil {
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
	_, p.err = p.out.Write(p.text) // after an error each of them fails
}

// Err returns why the reader gets no more lines; nil: it gets them.
func (p *Printer) Err() error {
	if p == nil {
		return nil
	}
	return p.err
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
			p.err = e.err
			return e.left, e.err
		case <-stopped:
			stopped, grace = nil, time.After(outlet.Grace)
		case <-grace:
			return 0, nil // nobody waits for what is left
		}
	}
}

// CloseAll is Close for a mirror that runs once: lines that are left are an error.
func (p *Printer) CloseAll(ctx context.Context) error {
	left, err := p.Close(ctx, outlet.OncePatience)
	if err != nil {
		return err
	}
	return outlet.LeftError(left, "what they tell is done all the same")
}
