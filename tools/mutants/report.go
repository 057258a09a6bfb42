package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// row is a line of the table.
type row struct {
	*mutant
	killed string // the tests that failed; "": it survived
	listed string // why nothing can tell it from the original
	took   time.Duration
	cached bool
	note   string // of a survivor: what was tried
}

// report prints results as they come, and at last those that survived.
type report struct {
	out      io.Writer
	all      bool // print also those that were killed
	killed   int
	listed   int
	survived []row
	failures []string
}

func (r *report) add(x row) {
	switch {
	case x.killed != "":
		r.killed++
		if r.all && !x.cached {
			r.print("killed", x)
		}
	case x.listed != "":
		r.listed++
	default:
		r.survived = append(r.survived, x)
		if r.all {
			r.print("SURVIVED", x)
		}
	}
}

// fail records what is wrong with a mark or a test.
func (r *report) fail(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *report) print(word string, x row) {
	by := x.killed
	if by == "" {
		by = x.note
	}
	_, _ = fmt.Fprintf(r.out, "%-8s  %s:%d  %s  %s  [%s] %.1fs\n", word, x.file, x.line, x.fn, x.what, by, x.took.Seconds())
}

// end prints the sums, errors and survivors, and reports whether any of them is a failure.
func (r *report) end() bool {
	if r.killed+r.listed+len(r.survived) == 0 {
		r.fail("nothing was mutated: -only names no file with a mutant")
	}
	_, _ = fmt.Fprintf(r.out, "\n%d killed, %d listed as equivalent, %d survived\n", r.killed, r.listed, len(r.survived))
	for _, text := range r.failures {
		_, _ = fmt.Fprintln(r.out, "ERROR    ", text)
	}
	failed := len(r.failures) > 0
	for _, x := range r.survived {
		if x.source.open {
			r.print("lives", x)
			continue
		}
		failed = true
		r.print("SURVIVED", x)
	}
	count("mutants", r.killed+len(r.survived))
	count("mutants that survived", len(r.survived))
	return failed
}

// count adds to the file of counts of make soak, as proof.Count does.
func count(what string, n int) {
	name := os.Getenv("PROOF_COUNTS")
	if name == "" {
		return
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return
	}
	defer file.Close()
	_, _ = fmt.Fprintf(file, "%d\t%s\n", n, what)
}
