package outlet

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree/exit"
)

const (
	// Grace is how long the reader of --print may take for the rest when a program stops.
	Grace = time.Second

	// OncePatience replaces it where a program runs once: its lines come all at once.
	OncePatience = time.Minute

	// PrintBound is how much is kept for a slow reader, in bytes: about 150,000 lines. As much
	// again may be on its way to the reader.
	PrintBound = 8 << 20

	lossPause = time.Second // between two log lines about lost lines
)

// Print is an Outlet for --print. It counts lost lines, and logs them. Its errors say what they are
// of, and with which code a program ends.
type Print struct {
	out      *Outlet
	log      *slog.Logger
	lost     *atomic.Int64
	logged   int64     // lost lines that the log mentions
	loggedAt time.Time // when it did so last
}

// NewPrint returns a Print to w. patience and lostLine are those of New; lost gets the number of lost
// lines.
func NewPrint(w io.Writer, patience time.Duration, lostLine func(n int, last []byte) []byte, log *slog.Logger, lost *atomic.Int64) *Print {
	return &Print{out: New(w, PrintBound, patience, lostLine), log: log, lost: lost}
}

// LostText returns the line that stands for n lost lines, which begin with a stamp and a tab. It has the
// stamp of the last of them. Its text has blanks, so it cannot be a path.
func LostText(n int, last []byte) []byte {
	stamp, _, _ := bytes.Cut(last, []byte("\t"))
	return fmt.Appendf(nil, "%s\tlost %d lines\n", stamp, n)
}

// Write takes whole lines. After an error every Write fails.
func (p *Print) Write(lines []byte) (int, error) {
	if _, err := p.out.Write(lines); err != nil {
		return 0, printError(err)
	}
	p.countLost(false)
	return len(lines), nil
}

// Close gives the reader some time to take the rest. It returns how many lines the reader did not take.
func (p *Print) Close(wait time.Duration) (left int, err error) {
	left, err = p.out.Close(wait)
	p.countLost(true)
	if err != nil {
		err = printError(err)
	}
	return left, err
}

// LeftError returns the error of lines that the reader of a program that runs once did not take; nil if
// left is 0. remedy says what holds all the same.
func LeftError(left int, remedy string) error {
	if left == 0 {
		return nil
	}
	return exit.With(exit.Failed, fmt.Errorf("--print: its reader did not take the last %d lines", left), remedy)
}

func printError(err error) error {
	return exit.With(exit.Local, fmt.Errorf("--print: %w", err), "")
}

// countLost counts lost lines, and logs them: always if last is true, else not too often.
func (p *Print) countLost(last bool) {
	lost := p.out.Lost()
	p.lost.Store(lost)
	if lost == p.logged || !last && time.Since(p.loggedAt) < lossPause {
		return
	}
	p.log.Warn("--print: lines were lost, because their reader is too slow", "lines", lost-p.logged,
		"remedy", "read faster; the line `lost N lines` says where, so look at the tree anew there")
	p.logged, p.loggedAt = lost, time.Now()
}
