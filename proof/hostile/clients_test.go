package hostile

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// client is an attack on a serve: a line of a table.
type client struct {
	name     string
	send     string   // bytes of one connection
	methods  []string // of the requests in it, as far as they are not GET
	statuses []int    // the first answer has one of these, or the connection is closed; nil: any
	most     int      // bytes of all answers together; 0: 4 MiB
	tells    string   // what the answer must contain
	half     bool     // closes its half after that
	tokens   bool     // it attacks a serve that asks for tokens
	hours    bool     // it waits for a time-out of a minute or more: only where PROOF_FOR gives it the time

	talk func(s *target, t testing.TB) (faults []string) // in the place of all these
}

// clients are all lines of the tables.
func clients() []client {
	return slices.Concat(crowds, traversals, targets, smugglers, sizes, conditions, queries, lists, races, strangers)
}

// TestClients: whatever clients do, serve's guarantees hold.
func TestClients(t *testing.T) {
	require.GreaterOrEqual(t, len(clients()), 60)
	requireCase(t)
	t.Parallel()
	for _, way := range []string{"fast", "std"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			tokens := temporary(t) + "/tokens"
			require.NoError(t, os.WriteFile(tokens, []byte(secret+"\n"), 0o600))
			open, closed := newTarget(t, "--http", way), newTarget(t, "--http", way, "--token-file", tokens)
			open.begin()
			t.Run("all", func(t *testing.T) {
				for _, c := range clients() {
					if !chosen(t, c.name, c.hours) {
						continue
					}
					t.Run(c.name, func(t *testing.T) {
						t.Parallel()
						s := open
						if c.tokens {
							s = closed
						}
						if faults := c.attack(s, t); len(faults) > 0 {
							t.Fatalf("over %s: %s\n%s", way, strings.Join(faults, "\n"), proof.ReplayCase(t.Name(), c.name))
						}
						proof.Count("hostile clients", 1)
					})
				}
			})
			require.Empty(t, open.faults(), "after all attacks")
		})
	}
}

// attack runs the attack and returns what must not be.
func (c *client) attack(s *target, t testing.TB) (faults []string) {
	if c.talk != nil {
		faults = c.talk(s, t)
	} else {
		faults = c.speak(s, c.send)
	}
	if !c.tokens { // afterwards an honest client is answered
		if text := s.ask("GET /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(text, "\r\n\r\nhello") {
			faults = append(faults, fmt.Sprintf("afterwards an honest client gets %.300q", text))
		}
	}
	return faults
}

// speak sends bytes, and returns what must not be of the answers.
func (c *client) speak(s *target, send string) (faults []string) {
	conn, err := s.dial(3 * patience)
	if err != nil {
		return []string{err.Error()}
	}
	defer conn.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(conn, send)
		if c.half {
			_ = conn.CloseWrite()
		}
	}()
	limit := 4 << 20
	if c.most > 0 {
		limit = c.most
	}
	text := &strings.Builder{}
	all, err := hear(io.TeeReader(io.LimitReader(conn, int64(limit)+1), text), c.methods...)
	_ = conn.Close()
	<-sent
	if err != nil {
		faults = append(faults, err.Error())
	}
	faults = append(faults, s.leaks(text.String())...)
	if strings.Contains(text.String(), smuggled) {
		faults = append(faults, "a smuggled request was answered")
	}
	if text.Len() > limit {
		faults = append(faults, fmt.Sprintf("more than %d bytes came", limit))
	}
	if len(all) > 0 && c.statuses != nil && !slices.Contains(c.statuses, all[0].status) {
		faults = append(faults, fmt.Sprintf("status %d, want one of %v: %.300q", all[0].status, c.statuses, text))
	}
	if !strings.Contains(text.String(), c.tells) {
		faults = append(faults, fmt.Sprintf("it does not tell %q: %.300q", c.tells, text))
	}
	return faults
}

// request is a GET by which the connection ends.
func request(target string, headers ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
}

// post is a POST by which the connection ends.
func post(target, body string, headers ...string) string {
	return "POST " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fmt.Sprintf("Content-Length: %d\r\n", len(body)) +
		strings.Join(append(headers, ""), "\r\n") + "\r\n" + body
}

// TestClientsAtRandom: two attacks at once, with bytes changed, dropped and repeated, on one
// serve.
func TestClientsAtRandom(t *testing.T) {
	if !atRandom(t) {
		return // the tables are enough for a change
	}
	proof.Rounds(t, 1, func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := newTarget(t, "--http", []string{"fast", "std"}[random.IntN(2)])
		s.begin()
		var plain []client
		for _, c := range clients() {
			if c.talk == nil && !c.tokens && !c.hours {
				plain = append(plain, c)
			}
		}
		for n := range 200 {
			one, two := plain[random.IntN(len(plain))], plain[random.IntN(len(plain))]
			text := mutate(random, one.send[:random.IntN(len(one.send)+1)]+two.send)
			both := client{most: 64 << 20, half: true}
			if faults := both.speak(s, text); len(faults) > 0 && !harmless(faults, text) {
				t.Fatalf("%d: %s and %s, %.2000q: %s", n, one.name, two.name, text, strings.Join(faults, "\n"))
			}
			proof.Count("hostile clients", 1)
		}
		require.Empty(t, s.faults())
	})
}

// harmless reports whether all that is wrong follows from the change: after it an answer
// cannot be told from the next, and a request for a file may ask for it openly.
func harmless(faults []string, text string) bool {
	for _, fault := range faults {
		framing := strings.HasPrefix(fault, "no answer of HTTP") && (strings.Contains(text, "HEAD") || strings.Contains(text, "CONNECT"))
		open := strings.HasPrefix(fault, "a smuggled request")
		if !framing && !open {
			return false
		}
	}
	return true
}

// mutate changes, drops, repeats and inserts a few bytes.
func mutate(random *rand.Rand, text string) string {
	bytes := []byte(text)
	for range random.IntN(6) {
		if len(bytes) == 0 {
			break
		}
		at := random.IntN(len(bytes))
		switch random.IntN(4) {
		case 0:
			bytes[at] = byte(random.Uint32())
		case 1:
			bytes = slices.Delete(bytes, at, at+1)
		case 2:
			end := at + random.IntN(min(30, len(bytes)-at))
			bytes = slices.Insert(bytes, at, bytes[at:end]...)
		case 3:
			odd := []string{"\r\n", "\n", "\r", "\x00", "%2e", "/..", "%00", " ", "\t", ";", ":", "\xff", "0", "-1"}
			bytes = slices.Insert(bytes, at, []byte(odd[random.IntN(len(odd))])...)
		}
	}
	return string(bytes)
}

// within reads until the connection ends, for at most that long.
func within(conn io.Reader, begun time.Time, most time.Duration) (faults []string) {
	n, err := io.Copy(io.Discard, conn)
	if took := time.Since(begun); ended(err) != nil || took > most {
		faults = append(faults, fmt.Sprintf("the connection lasted %v, %d bytes, %v", took, n, err))
	}
	return faults
}
