// Package fastpath is an http.Server that answers simple GET requests by a short
// way and leaves everything else to net/http.
//
//	server := fastpath.New(&http.Server{Handler: h}, nil)
//	err := server.Serve(listener)
//
// The short way accepts requests such as browsers, curl, wget and mirror send: GET of a
// path, HTTP/1.1, one Host, a header of at most 4 KiB that follows the letter of RFC
// 9112, and nothing in it that concerns the connection or announces a body (request.go).
// If anything else comes on a connection, the connection is handed over to net/http, with
// all bytes that were read, and stays there: nothing is refused, repaired or guessed
// here. TLS, and with it HTTP/2, goes to net/http from the start. NewStd returns a server
// without the short way.
//
// The Handler may do the same on both ways: stream, send files (sendfile(2) by io.Copy),
// flush and set deadlines by an http.ResponseController, panic with http.ErrAbortHandler,
// and wait for Context.Done. Its answers have the header fields of net/http, with two
// differences: there is no Content-Type that the Handler did not set, and answers of up
// to 16 KiB get a Content-Length, which net/http adds only up to 2 KiB. There are no
// informational answers, no trailers and no http.Flusher, and a Context has no values.
//
// What is saved: net/http reads the next request in a goroutine while it answers one, to
// notice clients that leave; here that begins only when the Handler uses its Context.
// Header and body of an answer from memory are one system call. A connection whose
// Handler waits holds two stacks and no buffer; one between requests holds a stack and 4
// KiB.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	server.go, idle.go, conn.go, response.go  connections and answers
//	request.go                                which bytes are a request, and reads it
//
// server.go accepts connections, hands them over and shuts down; idle.go finds the
// connection that makes room for another, on either way; conn.go is one connection
// from request to request, and its Context; response.go is its http.ResponseWriter.
package fastpath
