package e2e

import (
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// oneWay is how long bytes travel through a far proxy: 100 ms of round trip.
const oneWay = 50 * time.Millisecond

// far is a TCP proxy to a server far away. It counts round trips that follow one
// another: what the client sends after an answer came is one more than that answer, and
// so is opening a connection.
type far struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	trips    trip // the longest chain whose answer has reached the client
}

// trip is a place in a chain of requests and answers.
type trip struct {
	count int // the number of the chain
	of    int // how many round trips lead up to here
}

func cmdFar(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: far NAME HOST:PORT")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	f := &far{listener: listener, target: args[1]}
	worldOf(ts).far[args[0]] = f
	go f.accept()
	ts.Setenv(args[0], "http://"+listener.Addr().String()+"/")
}

// cmdTrips checks how many round trips there were since the last time.
func cmdTrips(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 || worldOf(ts).far[args[0]] == nil {
		ts.Fatalf("usage: trips NAME MOST|any")
	}
	f := worldOf(ts).far[args[0]]
	f.mu.Lock()
	got := f.trips.of
	f.trips = trip{count: f.trips.count + 1}
	f.mu.Unlock()
	if args[1] == "any" {
		return
	}
	most, err := strconv.Atoi(args[1])
	ts.Check(err)
	if got > most {
		ts.Fatalf("%d round trips, want %d at most", got, most)
	}
}

func (f *far) accept() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		go f.pass(client)
	}
}

// asked notes what the client sends, answered notes what reaches it. A count begins
// with the answer to a request that was sent before.
func (f *far) asked() trip {
	f.mu.Lock()
	defer f.mu.Unlock()
	return trip{f.trips.count, f.trips.of + 1}
}

func (f *far) answered(t trip) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.count == f.trips.count {
		f.trips.of = max(f.trips.of, t.of)
	}
}

// pass carries one connection. The first words tell a request from an answer: HTTP/1.1,
// and nothing is pipelined.
func (f *far) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", f.target)
	if err != nil {
		return
	}
	defer server.Close()
	handshake := f.asked()
	<-time.After(2 * oneWay)
	f.answered(handshake)
	var mu sync.Mutex
	var present trip // of the request under way
	go func() {
		defer server.(*net.TCPConn).CloseWrite()
		travel(server, client, func(text string) {
			if strings.HasPrefix(text, "GET ") || strings.HasPrefix(text, "POST ") || strings.HasPrefix(text, "HEAD ") {
				mu.Lock()
				defer mu.Unlock()
				present = f.asked()
			}
		}, func(string) {})
	}()
	travel(client, server, func(string) {}, func(text string) {
		if strings.HasPrefix(text, "HTTP/1.1 ") {
			mu.Lock()
			defer mu.Unlock()
			f.answered(present)
		}
	})
}

// travel copies with a delay, and calls leave and arrive for each piece.
func travel(to io.Writer, from io.Reader, leave, arrive func(text string)) {
	type piece struct {
		text []byte
		due  time.Time
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer close(pieces)
		for {
			text := make([]byte, 32<<10)
			n, err := from.Read(text)
			if n > 0 {
				leave(string(text[:n]))
				pieces <- piece{text[:n], time.Now().Add(oneWay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range pieces {
		<-time.After(time.Until(p.due))
		arrive(string(p.text))
		if _, err := to.Write(p.text); err != nil {
			return
		}
	}
}
