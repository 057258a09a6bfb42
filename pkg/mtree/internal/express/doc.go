// Package express is an http.Server that answers plain GET requests by a short
// way and leaves everything else to net/http.
//
//	s := &express.Server{Server: &http.Server{Handler: h}}
//	err := s.Serve(listener)
//
// A request is plain if it is one that every browser, curl, wget and mirror sends:
// GET of a path, HTTP/1.1, one Host, a header of at most 4 KiB in the letter of
// RFC 9112, and nothing in it that concerns the connection or announces a body
// (request.go). The first request on a connection that is anything else goes to
// net/http, with the connection and all that was read of it, and stays there:
// nothing is refused, repaired or guessed here. TLS, and with it HTTP/2, is
// net/http's from the start.
//
// The Handler is the same for both: it may stream, send files (sendfile(2) by
// io.Copy), flush and move deadlines by an http.ResponseController, panic with
// http.ErrAbortHandler, and wait for Context.Done. Its answers have the header
// fields that net/http gives them, but no Content-Type that was not set. There are
// no informational answers, no trailers and no http.Flusher, and a Context has no
// values.
//
// What is saved, per request: net/http reads the next request in a goroutine
// while one is answered, to notice clients that leave; here that begins when the
// Handler asks its Context. Header and body of an answer from memory are one
// system call. A connection whose Handler waits holds two stacks and no buffer,
// one between requests a stack and 4 KiB.
package express
