package wire

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // net/http complains there of answers that nobody asked for
	code := m.Run()
	for _, b := range []*beside{nginx, apache, lighttpd, python} {
		b.end()
	}
	os.Exit(code)
}

const (
	sample = 80 // how many cases make up the fixed sample
	lanes  = 8  // cases at once; most of them wait for a time to pass
)

// TestWire: every answer of a session, replaced by every fault.
func TestWire(t *testing.T) {
	base := workDir(t)
	name := proof.Case() // or a pattern of cases
	if name != "" && !strings.Contains(name, "*") {
		c, err := parseCase(name)
		require.NoError(t, err)
		o, err := c.run(base)
		require.NoError(t, err)
		t.Logf("%d answers, %d replaced, %d passes after the fault", len(o.asked), o.replaced, o.passes)
		return
	}
	cases := allCases(t, base)
	if name != "" {
		cases = slices.DeleteFunc(cases, func(c testCase) bool { return !matches(name, &c) })
	}
	seed, end := uint64(1), time.Now().Add(time.Hour)
	budget := proof.Budget(t)
	if budget > 0 {
		seed, end = rand.Uint64(), time.Now().Add(budget)
	}
	slices.SortFunc(cases, func(a, b testCase) int { return strings.Compare(a.String(), b.String()) }) // they come in any order
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
	if budget == 0 && name == "" && len(cases) > sample {
		cases = varied(cases)[:sample]
	}
	runAll(t, base, cases, end)
}

// varied puts one case of each fault before all others.
func varied(cases []testCase) []testCase {
	var firsts, others []testCase
	seen := map[*fault]bool{}
	for _, c := range cases {
		if seen[c.fault] {
			others = append(others, c)
		} else {
			seen[c.fault] = true
			firsts = append(firsts, c)
		}
	}
	return append(firsts, others...)
}

// matches reports whether a pattern such as watched/update/*/*/on names a case.
func matches(pattern string, c *testCase) bool {
	ok, _ := path.Match(pattern, c.String())
	return ok
}

// workDir is a directory in memory, if there is one.
func workDir(t *testing.T) string {
	parent := ""
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "tidemark-wire-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// allCases runs each session with each server without a fault, and returns a case for each
// answer, each fault and each span.
func allCases(t *testing.T, base string) (cases []testCase) {
	var mu sync.Mutex
	var plain []testCase
	for _, k := range kinds {
		for _, s := range sessions {
			if (k.ours || !s.ours) && (k.prunes || !s.stamps) {
				plain = append(plain, testCase{kind: k, session: s})
			}
		}
	}
	inLanes(plain, time.Now().Add(time.Hour), func(c *testCase) bool {
		o, err := c.run(base)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
			return true
		}
		for n, asked := range o.asked {
			for i := range faults {
				if f := &faults[i]; f.fitsURI(c.session, asked) && (c.kind.ours || !f.ours) {
					cases = append(cases, testCase{c.kind, c.session, f, n + 1, false}, testCase{c.kind, c.session, f, n + 1, true})
				}
			}
		}
		return true
	})
	require.False(t, t.Failed(), "a session without a fault fails")
	return cases
}

// runAll runs cases until they or the time are at an end, and reports those that fail.
func runAll(t *testing.T, base string, cases []testCase, end time.Time) {
	var mu sync.Mutex
	ran, replaced, failures := 0, 0, 0
	passes := map[int]int{}
	began := time.Now()
	inLanes(cases, end, func(c *testCase) bool {
		o, err := c.run(base)
		mu.Lock()
		defer mu.Unlock()
		ran++
		replaced += o.replaced
		passes[o.passes]++
		if err != nil {
			failures++
			t.Errorf("%v\n%s", err, proof.ReplayCase(t.Name(), c.String()))
		}
		return failures < mostFailures
	})
	proof.Count("answers replaced", replaced)
	proof.Count("wire cases", ran)
	t.Logf("%d of %d cases, %d answers replaced in %v; passes after the fault: %v", ran, len(cases), replaced, time.Since(began).Round(time.Second), fmt.Sprint(passes))
}

// mostFailures is after how many failures the test gives up.
const mostFailures = 40

// inLanes calls f for each case, several at once, until it returns false or the time is up.
func inLanes(cases []testCase, end time.Time, f func(c *testCase) bool) {
	next := make(chan *testCase)
	stop := make(chan struct{})
	var once sync.Once
	var workers sync.WaitGroup
	for range lanes {
		workers.Go(func() {
			for c := range next {
				if !f(c) {
					once.Do(func() { close(stop) })
				}
			}
		})
	}
	for i := range cases {
		if time.Now().After(end) {
			break
		}
		select {
		case next <- &cases[i]:
			continue
		case <-stop:
		}
		break
	}
	close(next)
	workers.Wait()
}
