package console

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// StatusLine is a terminal whose last line is rewritten in place. Log lines are written
// through it and appear above that line.
type StatusLine struct {
	out   io.Writer
	width func() int // columns

	mu   sync.Mutex // guards text and the writing
	text string
}

// NewStatusLine returns the status line of stderr, nil if stderr is not a terminal that
// can rewrite a line.
func NewStatusLine(e ErrorOutput) *StatusLine {
	f := e.file
	if f == nil || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return &StatusLine{out: e, width: func() int {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 { // guard (without columns <= 0): TestTheWidthOfATerminal
			return 80 // a terminal that was given no size
		}
		return columns
	}}
}

// Columns returns how many columns the line has: one fewer than the terminal, or some terminals would
// begin another line.
func (s *StatusLine) Columns() int { return max(1, s.width()-1) }

// eraseLine returns to the beginning of the line and erases it.
const eraseLine = "\r\x1b[K"

// Write puts log lines above the status line.
func (s *StatusLine) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text == "" {
		return s.out.Write(lines)
	}
	if _, err := io.WriteString(s.out, eraseLine); err != nil {
		return 0, err
	}
	n, err := s.out.Write(lines)
	if err == nil {
		_, err = io.WriteString(s.out, s.text)
	}
	return n, err
}

// Show replaces the status line; "" removes it. It cuts the text to the terminal's
// width, because a longer line could not be rewritten.
func (s *StatusLine) Show(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if most := s.Columns(); len(text) > most {
		text = text[:most]
	}
	if text == s.text {
		return
	}
	s.text = text
	_, _ = io.WriteString(s.out, eraseLine+text) // a terminal that is gone must not stop a mirror
}
