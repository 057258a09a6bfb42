package trigger

import (
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"tidemark/internal/outlet"
	"tidemark/pkg/mtree"
)

const (
	// Patience is how long stamping waits for the reader, until the reader has been slow
	// once. So when a --sync is answered, the output has all changes that it covers.
	Patience = 100 * time.Millisecond

	// OncePatience replaces it if a watcher runs once: its lines come all at once, and
	// nothing waits for later stamps.
	OncePatience = outlet.OncePatience
)

// Printer writes a line STAMP<TAB>PATH for each change. A reader who is too slow
// loses lines, which are counted.
type Printer struct{ out *outlet.Print }

// NewPrinter returns a Printer to out, nil for none: then its methods do nothing. It
// waits for the reader as long as patience says, and counts lost lines.
func NewPrinter(out io.Writer, patience time.Duration, log *slog.Logger, lost *atomic.Int64) *Printer {
	if out == nil {
		return nil
	}
	return &Printer{outlet.NewPrint(out, patience, outlet.LostText, log, lost)}
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
	_, err := p.out.Write(text)
	return err
}

// Close gives the reader some time to take the rest, and returns how many lines the
// reader did not take.
func (p *Printer) Close() (left int, err error) {
	if p == nil {
		return 0, nil
	}
	return p.out.Close(outlet.Grace)
}

// CloseAll is Close for a watcher that runs once: lines that are left are an error.
func (p *Printer) CloseAll() error {
	if p == nil {
		return nil
	}
	left, err := p.out.Close(OncePatience)
	if err != nil {
		return err
	}
	return outlet.LeftError(left, "the changes are published")
}
