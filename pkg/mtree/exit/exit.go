// Package exit holds the exit codes of the three commands, and errors that
// carry one together with the remedy a user needs.
package exit

import "errors"

// Code is the exit code of a command (docs/cli.md). Of several causes, the one with
// the highest code counts.
type Code int

// The exit codes of the three commands.
const (
	Done        Code = 0   // done; also a daemon that SIGTERM or SIGINT stopped
	Failed      Code = 1   // some paths failed, the rest is done: run again
	Usage       Code = 2   // wrong options or arguments
	Unreachable Code = 3   // the source does not answer, or its answer is not a listing
	Refused     Code = 4   // not ours, another tree, already running, newer format
	Held        Code = 5   // deletions are held
	Local       Code = 6   // local I/O: disk full, permission, root replaced
	Interrupted Code = 130 // ended by SIGINT before it was done
	Terminated  Code = 143 // ended by SIGTERM before it was done
)

// Error is an error that decides the exit code.
type Error struct {
	Code   Code
	Err    error
	Remedy string // what to do about it, one sentence; may be empty
}

// ErrTold stands for what was printed already: it has no text.
var ErrTold = errors.New("")

// Error returns the text of the error and then the remedy.
func (e *Error) Error() string {
	if e.Remedy == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + ": " + e.Remedy
}

// Unwrap returns the error without code and remedy.
func (e *Error) Unwrap() error { return e.Err }

// With returns err carrying code and remedy. A nil err stays nil.
func With(code Code, err error, remedy string) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Err: err, Remedy: remedy}
}

// Of returns the highest code that err or an error within it carries; Failed if
// there is none, Done for nil.
func Of(err error) Code {
	if err == nil {
		return Done
	}
	return max(Failed, highest(err))
}

// highest returns the highest code that err or an error within it carries; Done if
// there is none.
func highest(err error) Code {
	code := Done
	if e, ok := err.(*Error); ok {
		code = e.Code
	}
	switch wrapped := err.(type) {
	case interface{ Unwrap() []error }:
		for _, inner := range wrapped.Unwrap() {
			code = max(code, highest(inner))
		}
	default:
		if inner := errors.Unwrap(err); inner != nil {
			code = max(code, highest(inner))
		}
	}
	return code
}
