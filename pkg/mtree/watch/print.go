package watch

import (
	"bytes"
	"fmt"
	"time"

	"tidemark/internal/outlet"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
)

const (
	// printBound is how much --print keeps for a reader who is slow, in bytes:
	// some 150,000 lines.
	printBound = 8 << 20

	// printPatience is how long stamping waits for him, until he has been slow
	// once: so what a --sync covers stands in the output when it is answered.
	printPatience = 100 * time.Millisecond

	printGrace = time.Second // for him to take the rest when watch stops

	// oncePatience is both for a watcher that runs once: its lines come all
	// together, and nobody waits for stamps to come.
	oncePatience = time.Minute
)

// printer is where the lines of --print go.
type printer struct {
	*outlet.Outlet           // nil: no printing
	told           int64     // lost lines that the log tells of
	toldAt         time.Time // when it did so last
}

// printTo begins to print.
func (w *watcher) printTo(patience time.Duration) {
	if w.Print != nil {
		w.printer.Outlet = outlet.New(w.Print, printBound, patience, lostLines)
	}
}

// lostLines stands for lines of --print that were lost. It has the stamp of the last
// of them, and is no PATH: that has no blanks.
func lostLines(n int, last []byte) []byte {
	stamp, _, _ := bytes.Cut(last, []byte("\t"))
	return fmt.Appendf(nil, "%s\tlost %d lines\n", stamp, n)
}

// print writes a line for each change.
func (w *watcher) print(changes []change) error {
	var text []byte
	for _, c := range changes {
		text = append(c.stamp.Append(text), '\t')
		text = append(mtree.AppendEscaped(text, c.path), '\n')
	}
	if _, err := w.printer.Write(text); err != nil {
		return exit.With(exit.Local, fmt.Errorf("--print: %w", err), "")
	}
	w.tellLost(false)
	return nil
}

// tellLost counts the lines that were lost, and logs them, not too often.
func (w *watcher) tellLost(last bool) {
	lost := w.printer.Lost()
	w.Stats.PrintLost.Store(lost)
	if lost == w.printer.told || !last && time.Since(w.printer.toldAt) < lossPause {
		return
	}
	w.Log.Warn("--print: lines were lost, because their reader is too slow", "lines", lost-w.printer.told)
	w.printer.told, w.printer.toldAt = lost, time.Now()
}

// endPrinting gives the reader a while to take what he has not, and returns how
// many lines he did not take.
func (w *watcher) endPrinting(wait time.Duration) (left int, err error) {
	if w.printer.Outlet == nil {
		return 0, nil
	}
	if left, err = w.printer.Close(wait); err != nil {
		return left, exit.With(exit.Local, fmt.Errorf("--print: %w", err), "")
	}
	w.tellLost(true)
	return left, nil
}

// allPrinted ends printing for a watcher that runs once.
func (w *watcher) allPrinted() error {
	left, err := w.endPrinting(oncePatience)
	if err == nil && left > 0 {
		err = exit.With(exit.Failed, fmt.Errorf("--print: its reader did not take the last %d lines", left), "the changes are published")
	}
	return err
}
