package hostile

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror"
)

var discard = log.New(io.Discard, "", 0)

// server is an attack on a mirror: a line of a table. The copy is one of an honest server,
// whose tree has changed meanwhile.
type server struct {
	name string
	play play
	with func(b *box) play // in place of play, where it needs the copy

	codes       []exit.Code                                             // any of these is right; nil: bad, which is most often so
	says        string                                                  // a regular expression that the output must match
	deletes     bool                                                    // what the source says is gone may go
	statusFails bool                                                    // --status may fail, too
	empty       bool                                                    // there is no copy yet
	hours       bool                                                    // it waits for a time-out of a minute: only where PROOF_FOR gives it the time
	args        []string                                                // more options of mirror
	source      func(p *peer, t testing.TB) (url string, more []string) // another URL, and options
	planted     []string                                                // paths of the copy where the attack itself puts links that lead out
	before      func(b *box)                                            // changes the copy before the attack
	slow        bool                                                    // it reads hundreds of MiB: on a machine that has much else to do it may last longer
	passes      int                                                     // how many passes are attacked; 0: one
	cure        []string                                                // options with which the copy recovers
	memory      int64                                                   // most of mirror's, in bytes; 0: 512 MiB
	check       func(b *box, p *peer, r result) []string                // what else must hold; returns faults
}

var (
	fine = []exit.Code{exit.Done}
	bad  = []exit.Code{exit.Failed, exit.Unreachable} // some path failed, or the root is no listing
)

// patience is how long an attack may keep a pass.
const patience = 60 * time.Second

// servers are all lines of the tables.
func servers() []server {
	return slices.Concat(names, links, metadata, listings, bodies, archives, blockAnswers, answers, heads, identities, others, credentials)
}

// TestServers: whatever a server does, the mirror's guarantees hold, and with an honest
// server the copy becomes equal.
func TestServers(t *testing.T) {
	require.GreaterOrEqual(t, len(servers()), 80)
	requireCase(t)
	t.Parallel()
	strays := strayConnections(t)
	t.Run("all", func(t *testing.T) {
		for _, s := range servers() {
			if !chosen(t, s.name, s.hours) {
				continue
			}
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				if faults := s.attack(t); len(faults) > 0 {
					t.Fatalf("%s\n%s", strings.Join(faults, "\n"), proof.ReplayCase(t.Name(), s.name))
				}
				proof.Count("hostile servers", 1)
			})
		}
	})
	require.Equal(t, strays, strayConnections(t), "connections went to somewhere else")
}

// chosen reports whether a line of a table is to run: the one in PROOF_CASE, else all but
// those that take long, and in make soak these, too.
func chosen(t *testing.T, name string, long bool) bool {
	if only := proof.Case(); only != "" {
		return only == name
	}
	return !long || proof.Budget(t) > 0
}

// requireCase fails a test whose PROOF_CASE is misspelt: it would run nothing, and pass.
func requireCase(t *testing.T) {
	t.Helper()
	name := proof.Case()
	isServer := slices.ContainsFunc(servers(), func(s server) bool { return s.name == name })
	isClient := slices.ContainsFunc(clients(), func(c client) bool { return c.name == name })
	require.True(t, name == "" || isServer || isClient, "no line of a table is named %q", name)
}

// most is how long the attack may keep a pass. A time-out of half a minute, or of a minute
// for each 16 KiB, comes with each of four tries.
func (s *server) most() time.Duration {
	if s.hours {
		return 5 * patience
	}
	return patience
}

// attack runs the attack, and returns what must not be.
func (s *server) attack(t testing.TB) (faults []string) {
	p, b := newPeer(t, first), newBox(t)
	url, more := p.URL+"/", []string(nil)
	if !s.empty {
		if r := b.honestly(p); r.code != 0 {
			t.Fatalf("the honest copy: %d %s", r.code, r.text)
		}
		require.Empty(t, b.differences(honest(first)))
	}
	if s.source != nil {
		url, more = s.source(p, t)
	}
	if s.before != nil {
		s.before(b)
	}
	play := s.play
	if s.with != nil {
		play = s.with(b)
	}
	p.becomes(second, play)
	var r result
	for range max(1, s.passes) {
		r = run(t, 2*s.most()+patience, slices.Concat([]string{"mirror", "--once", "--durability", "none"}, s.args, more, []string{url, b.copy})...)
		faults = append(faults, s.judge(b, p, r)...)
	}
	t.Logf("%d after %v, %d MiB: %s%s", r.code, r.took.Round(time.Millisecond), r.peak>>20, r.text, strings.Join(p.log(), "\n"))
	return append(faults, s.recovers(b, p)...)
}

// honestly makes a pass from a server that is honest, in this process.
func (b *box) honestly(p *peer, cure ...string) result {
	var out bytes.Buffer
	begun := time.Now()
	err := mirror.Once(b.t.Context(), mirror.Config{
		Source: p.URL + "/", Dest: b.copy, Durability: mirror.None, Out: &out,
		Adopt: slices.Contains(cure, "--adopt"), MaxDelete: map[bool]string{true: "100%"}[slices.Contains(cure, "--max-delete")],
	})
	return result{code: int(exit.Of(err)), text: fmt.Sprint(out.String(), err), took: time.Since(begun)}
}

// judge returns what must not be after an attacked pass.
func (s *server) judge(b *box, p *peer, r result) (faults []string) {
	faults = append(b.faults(s.planted...), unclean(r.text)...)
	if r.timeout || r.took > s.most() && !s.slow {
		faults = append(faults, fmt.Sprintf("it took %v\n%s", r.took, r.text))
	}
	if most := max(s.memory, 512<<20); r.peak > most {
		faults = append(faults, fmt.Sprintf("it took %d MiB of memory", r.peak>>20))
	}
	codes := s.codes
	if codes == nil {
		codes = bad
	}
	if !r.timeout && !slices.Contains(codes, exit.Code(r.code)) {
		faults = append(faults, fmt.Sprintf("exit code %d, want one of %v\n%s", r.code, codes, r.text))
	}
	if !regexp.MustCompile(s.says).MatchString(r.text) {
		faults = append(faults, fmt.Sprintf("it does not say %q:\n%s", s.says, r.text))
	}
	if !s.empty && !s.deletes {
		faults = append(faults, b.lost()...)
	}
	if status := run(b.t, patience, "mirror", "--status", b.copy); status.code != 0 && !s.empty && !s.statusFails {
		faults = append(faults, fmt.Sprintf("status: %d %s", status.code, status.text))
	} else {
		faults = append(faults, unclean(status.text)...)
	}
	if s.check != nil {
		faults = append(faults, s.check(b, p, r)...)
	}
	return faults
}

// lost returns what the copy had, the source still has, and is gone.
func (b *box) lost() (faults []string) {
	now := honest(second)
	for _, path := range honest(first).paths() {
		if now[path] == nil {
			continue
		}
		if _, err := os.Lstat(filepath.Join(b.copy, path)); err != nil {
			faults = append(faults, fmt.Sprintf("%q was deleted: %v", path, err))
		}
	}
	return faults
}

// recovers returns what keeps the copy from becoming equal to that of an honest server.
func (s *server) recovers(b *box, p *peer) (faults []string) {
	p.becomes(third)
	r := b.honestly(p, s.cure...)
	if r.code == int(exit.Held) {
		if released := run(b.t, patience, "mirror", "--release", b.copy); released.code != 0 {
			return []string{fmt.Sprintf("release: %d %s", released.code, released.text)}
		}
		r = b.honestly(p, s.cure...)
	}
	if r.code != 0 {
		faults = append(faults, fmt.Sprintf("with an honest server: %d %s\n%s", r.code, r.text, strings.Join(p.log(), "\n")))
	}
	for _, line := range b.differences(honest(third)) {
		faults = append(faults, "with an honest server the copy is not equal: "+line)
	}
	p.becomes(third)
	if r := b.honestly(p); r.code != 0 || p.requests.Load() != 1 {
		faults = append(faults, fmt.Sprintf("a copy that is equal asks %d times: %d %s\n%s", p.requests.Load(), r.code, r.text, strings.Join(p.log(), "\n")))
	}
	return append(faults, b.faults()...)
}
