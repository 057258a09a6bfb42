package proof

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The environment of a test:
//
//	PROOF_SEED=N       only the round of that seed, again and again with go test -count
//	PROOF_FOR=10m      rounds of new seeds until that much time has passed
const (
	envSeed = "PROOF_SEED"
	envFor  = "PROOF_FOR"
)

// Rounds runs f as a subtest for each seed: from 1 to n, or new ones until the time in
// PROOF_FOR has passed, or the one in PROOF_SEED. It stops at the first round that
// fails, and logs the command that replays it.
func Rounds(t *testing.T, n int, f func(t *testing.T, seed uint64)) {
	t.Helper()
	for seed := range seeds(t, n) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { f(t, seed) }) {
			t.Logf("replay: %s=%d go test -count=1%s -run '^%s$' %s", envSeed, seed, buildTags(), t.Name(), thisPackage())
			return
		}
	}
}

// RoundsBeside is Rounds with a few rounds at once, for rounds that wait most of the time.
func RoundsBeside(t *testing.T, n, beside int, f func(t *testing.T, seed uint64)) {
	t.Helper()
	var failed atomic.Bool
	var group sync.WaitGroup
	turns := make(chan struct{}, beside)
	for seed := range seeds(t, n) {
		turns <- struct{}{}
		if failed.Load() {
			break
		}
		group.Go(func() {
			defer func() { <-turns }()
			if !t.Run(fmt.Sprint(seed), func(t *testing.T) { f(t, seed) }) {
				failed.Store(true)
				t.Logf("replay: %s=%d go test -count=1%s -run '^%s$' %s", envSeed, seed, buildTags(), t.Name(), thisPackage())
			}
		})
	}
	group.Wait()
}

// seeds yields the seeds of a test's rounds.
func seeds(t *testing.T, n int) func(yield func(uint64) bool) {
	t.Helper()
	if text := os.Getenv(envSeed); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", envSeed, err)
		}
		return func(yield func(uint64) bool) { yield(seed) }
	}
	if budget := Budget(t); budget > 0 {
		end := time.Now().Add(budget)
		return func(yield func(uint64) bool) {
			for time.Now().Before(end) && yield(rand.Uint64()>>20) { // short enough to type
			}
		}
	}
	return func(yield func(uint64) bool) {
		for seed := range n {
			if !yield(uint64(seed) + 1) {
				return
			}
		}
	}
}

// Budget is how long a test should go on, by PROOF_FOR; 0 without it.
func Budget(t testing.TB) time.Duration {
	t.Helper()
	text := os.Getenv(envFor)
	if text == "" {
		return 0
	}
	budget, err := time.ParseDuration(text)
	if err != nil || budget <= 0 {
		t.Fatalf("%s=%q is not a duration such as 10m", envFor, text)
	}
	return budget
}

// moduleRoot is the directory of go.mod above the present one. A test's present
// directory is that of its package.
func moduleRoot() string {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "."
}

// buildTags is the option that builds the running test, "" without tags.
func buildTags() string {
	info, _ := debug.ReadBuildInfo()
	for _, setting := range info.Settings {
		if setting.Key == "-tags" {
			return " -tags " + setting.Value
		}
	}
	return ""
}

// thisPackage is the package of the running test as the go command names it at the root
// of the module.
func thisPackage() string {
	dir, err := os.Getwd()
	if err != nil {
		return "."
	}
	name, err := filepath.Rel(moduleRoot(), dir)
	if err != nil {
		return "."
	}
	return "./" + name
}
