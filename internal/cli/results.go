package cli

import (
	"errors"
	"io"
	"sync"

	"tidemark/pkg/mtree/exit"
)

// Results is stdout of a program that is asked for what it prints, and for nothing else. Its first error is kept: a list that
// is cut short by a full disk must not look like a whole one.
type Results struct {
	w io.Writer

	mu  sync.Mutex
	err error
}

// Results makes Stdout remember whether all of it was written. Where it was not, the program ends with exit.Local.
func (e *Env) Results() {
	e.results = &Results{w: e.Stdout}
	e.Stdout = e.results
}

// Write writes p.
func (r *Results) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	return n, err
}

// lost returns why what was printed is not whole; nil if it is, if nobody asked, or if told says it.
func (r *Results) lost(told error) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil || errors.Is(told, r.err) {
		return nil
	}
	return exit.With(exit.Local, r.err, "what was printed is not whole: make room where stdout goes")
}

// unfailing is the stdout of cobra, which would end the program with 1 where a help text cannot be written.
type unfailing struct{ *Results }

// Write writes p. Results knows whether that failed.
func (u unfailing) Write(p []byte) (int, error) {
	_, _ = u.Results.Write(p)
	return len(p), nil
}
