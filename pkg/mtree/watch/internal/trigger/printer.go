package trigger

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"tidemark/internal/outlet"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
)

const (
	// Patience is how long stamping waits for the reader, until the reader has been slow
	// once. So when a --sync is answered, the output has all changes that it covers.
	Patience = 100 * time.Millisecond

	// Grace is how long the reader may take for the rest when watch stops.
	Grace = time.Second

	// OncePatience replaces both if a watcher runs once: its lines come all at once, and
	// nothing waits for later stamps.
	OncePatience = time.Minute

	// printBound is how much is kept for a slow reader, in bytes: about 150,000 lines.
	printBound = 8 << 20

	lossPause = time.Second // between two log lines about lost lines
)

// Printer writes a line STAMP<TAB>PATH for each change. A reader who is too slow
// loses lines, which are counted.
type Printer struct {
	out      *outlet.Outlet
	log      *slog.Logger
	lost     *atomic.Int64
	logged   int64     // lost lines that the log mentions
	loggedAt time.Time // when it did so last
}

// NewPrinter returns a Printer to out, nil for none: then its methods do nothing. It
// waits for the reader as long as patience says, and counts lost lines.
func NewPrinter(out io.Writer, patience time.Duration, log *slog.Logger, lost *atomic.Int64) *Printer {
	if out == nil {
		return nil
	}
	return &Printer{out: outlet.New(out, printBound, patience, lostLines), log: log, lost: lost}
}

// lostLines returns the line that stands for n lost lines. It has the stamp of the last
// of them. Its text has blanks, so it cannot be a PATH.
func lostLines(n int, last []byte) []byte {
	stamp, _, _ := bytes.Cut(last, []byte("\t"))
	return fmt.Appendf(nil, "%s\tlost %d lines\n", stamp, n)
}

// Print writes a line for each change.
func (p *Printer) Print(changes []Change) error {
	if p == nil {
		return nil
	}
	var text []byte
	for _, c := range changes {
		text = append(c.Stamp.Append(text), '\t')
		text = append(mtree.AppendEscaped(text, c.Path), '\n')
	}
	if _, err := p.out.Write(text); err != nil {
		return exit.With(exit.Local, fmt.Errorf("--print: %w", err), "")
	}
	p.countLost(false)
	return nil
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

// Close gives the reader some time to take the rest, and returns how many lines the
// reader did not take.
func (p *Printer) Close(wait time.Duration) (left int, err error) {
	if p == nil {
		return 0, nil
	}
	if left, err = p.out.Close(wait); err != nil {
		return left, exit.With(exit.Local, fmt.Errorf("--print: %w", err), "")
	}
	p.countLost(true)
	return left, nil
}

// CloseAll is Close for a watcher that runs once: lines that are left are an error.
func (p *Printer) CloseAll() error {
	left, err := p.Close(OncePatience)
	if err == nil && left > 0 {
		err = exit.With(exit.Failed, fmt.Errorf("--print: its reader did not take the last %d lines", left), "the changes are published")
	}
	return err
}
