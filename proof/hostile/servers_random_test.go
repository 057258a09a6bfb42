package hostile

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidemark/internal/proof"
	"tidemark/pkg/mtree/exit"
)

// TestServersAtRandom: two attacks at once, each of them now and then, and a line that was
// changed at random in some listing; in a few passes, or in a mirror that goes on. Only
// where PROOF_FOR or PROOF_SEED asks for it: the tables are enough for a change.
func TestServersAtRandom(t *testing.T) {
	if !atRandom(t) {
		return
	}
	proof.Rounds(t, 1, func(t *testing.T, seed uint64) {
		one, two := pick(rand.New(rand.NewPCG(seed, 1)))
		faults := together(t, seed, one, two)
		if len(faults) > 0 {
			for _, alone := range []server{one, two} {
				t.Logf("%s alone: %q", alone.name, together(t, seed, alone, alone))
			}
			t.Fatalf("%s and %s:\n%s", one.name, two.name, strings.Join(faults, "\n"))
		}
		proof.Count("hostile servers", 2)
	})
}

// atRandom reports whether somebody asked for attacks at random.
func atRandom(t *testing.T) bool {
	_, one := proof.Seed(t)
	return one || proof.Budget(t) > 0
}

// pick takes two attacks that can be made at once.
func pick(random *rand.Rand) (one, two server) {
	pool := slices.DeleteFunc(servers(), func(s server) bool {
		return s.hours || s.source != nil || s.before != nil || s.planted != nil || s.empty || len(s.args) > 0
	})
	return pool[random.IntN(len(pool))], pool[random.IntN(len(pool))]
}

// chance decides at random, for several goroutines.
type chance struct {
	mu     sync.Mutex
	random *rand.Rand
}

func (c *chance) intN(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.IntN(n)
}

// sometimes makes a play that acts once in n times.
func sometimes(p play, c *chance, n int) play {
	acts := func() bool { return c.intN(n) == 0 }
	q := play{tree: p.tree}
	if p.answer != nil {
		q.answer = func(peer *peer, w http.ResponseWriter, r *http.Request) bool { return acts() && p.answer(peer, w, r) }
	}
	if p.listing != nil {
		q.listing = func(peer *peer, dir, text string) string {
			if acts() {
				return p.listing(peer, dir, text)
			}
			return text
		}
	}
	if p.header != nil {
		q.header = func(peer *peer, h http.Header, r *http.Request) {
			if acts() {
				p.header(peer, h, r)
			}
		}
	}
	if p.tar != nil {
		q.tar = func(peer *peer, stream []byte) []byte {
			if acts() {
				return p.tar(peer, stream)
			}
			return stream
		}
	}
	if p.sums != nil {
		q.sums = func(peer *peer, text string) string {
			if acts() {
				return p.sums(peer, text)
			}
			return text
		}
	}
	return q
}

// mutant adds a line to listings that is one of theirs with a few bytes changed.
func mutant(c *chance) play {
	return play{listing: func(_ *peer, _, text string) string {
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) < 3 {
			return text
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return insert(text, mutate(c.random, lines[1+c.random.IntN(len(lines)-2)]))
	}}
}

// together makes both attacks at once, and returns what must not be.
func together(t testing.TB, seed uint64, one, two server) (faults []string) {
	c := &chance{random: rand.New(rand.NewPCG(seed, 2))}
	p, b := newPeer(t, first), newBox(t)
	if r := b.honestly(p); r.code != 0 {
		t.Fatalf("the honest copy: %d %s", r.code, r.text)
	}
	play := func(s server) play {
		if s.with != nil {
			s.play = s.with(b)
		}
		return sometimes(s.play, c, 1+c.intN(3))
	}
	both := server{
		codes:   []exit.Code{exit.Done, exit.Failed, exit.Unreachable, exit.Refused, exit.Held, exit.Local},
		deletes: removes(one) || removes(two), statusFails: true, cure: []string{"--adopt", "--max-delete", "100%"},
	}
	p.becomes(second, play(one), play(two), sometimes(mutant(c), c, 3))
	if gentle(one) && gentle(two) && c.intN(2) == 0 {
		return both.goesOn(t, b, p, time.Duration(500+c.intN(2500))*time.Millisecond)
	}
	for range 1 + c.intN(3) {
		r := run(t, 5*patience, "mirror", "--once", "--durability", "none", p.URL+"/", b.copy)
		if r.took < 5*patience && !r.timeout {
			r.took = min(r.took, patience) // each of many requests may have waited for seconds
		}
		faults = append(faults, both.judge(b, p, r)...)
	}
	return append(faults, both.recovers(b, p)...)
}

// gentle reports whether a mirror that goes on recovers from an attack without being told.
func gentle(s server) bool {
	return s.cure == nil && !removes(s) && !slices.ContainsFunc(s.codes, func(c exit.Code) bool { return c > exit.Unreachable })
}

// removes reports whether something is gone from the tree of an attack, or from what it says
// of the tree: where it does not say it all the time, that may go from the copy, too.
func removes(s server) bool {
	now := honest(second)
	if s.play.tree != nil {
		s.play.tree(now)
	}
	return s.deletes || slices.ContainsFunc(honest(second).paths(), func(path string) bool { return now[path] == nil })
}

// goesOn attacks a mirror that goes on, for a while, and then waits until it is equal to an
// honest server.
func (s *server) goesOn(t testing.TB, b *box, p *peer, while time.Duration) (faults []string) {
	log := filepath.Join(temporary(t), "log")
	m, err := proof.Launch(proof.Command{
		Args: []string{"mirror", "--interval", "50ms", "--durability", "none", "--metrics", "127.0.0.1:0", "--max-delete", "100%", p.URL + "/", b.copy}, Log: log,
	})
	if err != nil {
		return []string{err.Error()}
	}
	defer m.Kill()
	<-time.After(while)
	if !m.Alive() {
		return []string{"mirror has ended: " + m.Logged()}
	}
	if peak := peakOf(m.Cmd.Process.Pid); peak > 512<<20 {
		faults = append(faults, fmt.Sprintf("it took %d MiB of memory", peak>>20))
	}
	if !s.deletes {
		faults = append(faults, b.lost()...)
	}
	p.becomes(third)
	for late := time.Now().Add(3 * time.Minute); ; <-time.After(50 * time.Millisecond) {
		lines := b.differences(honest(third))
		if len(lines) == 0 {
			break
		}
		if time.Now().After(late) || !m.Alive() {
			faults = append(faults, "with an honest server the copy is not equal: "+strings.Join(lines, "\n")+m.Logged())
			break
		}
	}
	if err := m.Terminate(time.Minute); err != nil {
		faults = append(faults, err.Error())
	}
	return append(append(faults, b.faults()...), unclean(m.Logged())...)
}
