package wire

import (
	"slices"
	"strings"
	"time"
)

// fault is one way in which an answer can come otherwise than it was sent.
type fault struct {
	name string
	only []string                 // what is asked for, isListing and so on; nil: anything
	when func(ex *exchange) bool  // it fits; nil: always
	make func(ex *exchange) reply // what goes out; nil: the answer as it is
	prep func(ex *exchange) error // what happens before the server is asked; nil: nothing
	ours bool                     // it makes sense for answers of serve only
	here string                   // and only in this session, for this URI: "SESSION URI"; "": anywhere

	// blind: nothing in the protocol shows it. Names or bytes may be wrong until mirror
	// --verify compares them; what counts is that it ends, and where it writes.
	blind bool
	// blindElsewhere: the same with servers of other kinds, which tell less.
	blindElsewhere bool
	// otherDir: the answer is that of another directory. Who has no copy yet takes it for its
	// source.
	otherDir bool
	// endlessElsewhere: from then on the trees of such servers have no end. A pass is stopped
	// after a second.
	endlessElsewhere bool
	// another: from then on a name has the bytes of another file. Where a copy cannot know it
	// from a file that changes all the time it keeps what it read, and asks again.
	another bool
	// lasts: the fault ends after this time, also before the session does; 0: it does not. A
	// server that asks for patience at each file gets it.
	lasts time.Duration
	// moves: the source changes meanwhile, or seems to be as it was: a pass may succeed and
	// the copy be of another moment.
	moves bool
	// stranger: the answer is a whole listing of another tree. Who has no copy yet takes what
	// answers for its source.
	stranger bool
	// names: the answer names another tree. A source that named none so far may be that tree.
	names bool
}

// faults are all of them.
var faults = slices.Concat(cuts, framings, statuses, strangers, swaps, strips, codings, refusals, changes)

func faultNamed(name string) *fault {
	for i := range faults {
		if faults[i].name == name {
			return &faults[i]
		}
	}
	return nil
}

// fits reports whether the fault can befall the answer to a request. It looks at the
// request only.
func (f *fault) fits(ex *exchange) bool {
	return (f.only == nil || slices.Contains(f.only, ex.kind())) && (f.when == nil || f.when(ex))
}

// fitsURI does the same for a request of a session of which only the first line is known.
func (f *fault) fitsURI(s *session, line string) bool {
	method, uri, _ := strings.Cut(line, " ")
	if f.here != "" && f.here != s.name+" "+uri {
		return false
	}
	return f.only == nil || slices.Contains(f.only, kindOf(method, uri))
}

// changed returns the reply that is the server's answer after a change. A change of the
// body that does not fit an answer is left out.
func changed(change func(a *answer)) func(ex *exchange) reply {
	return func(ex *exchange) reply {
		a := ex.answer.clone()
		change(a)
		return ex.as(a)
	}
}

// instead returns the reply that is another answer.
func instead(a *answer) func(ex *exchange) reply {
	return func(ex *exchange) reply { return ex.as(a) }
}
