package proof

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The environment of a test:
//
//	PROOF_SEED=N       only the round of that seed, again and again with go test -count
//	PROOF_CASE=TEXT    only that case, by the name that a failure gave it
//	PROOF_FOR=10m      rounds of new seeds, or other cases, until that much time has passed
//	PROOF_SHRINK=10m   how long a failure is made smaller, where that takes long
//	PROOF_TRACE=FILE   where all of a failure's trace goes, where it is long
const (
	envSeed   = "PROOF_SEED"
	envCase   = "PROOF_CASE"
	envFor    = "PROOF_FOR"
	envShrink = "PROOF_SHRINK"
	envTrace  = "PROOF_TRACE"
)

// Seed is the seed to replay, by PROOF_SEED; false if there is none.
func Seed(t testing.TB) (seed uint64, ok bool) {
	t.Helper()
	text := os.Getenv(envSeed)
	if text == "" {
		return 0, false
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", envSeed, err)
	}
	return seed, true
}

// Case is the case to replay, by PROOF_CASE; "" if there is none.
func Case() string { return os.Getenv(envCase) }

// Trace is the file for all of a failure's trace, by PROOF_TRACE; "" if there is none.
func Trace() string { return os.Getenv(envTrace) }

// Budget is how long a test should go on, by PROOF_FOR; 0 without it.
func Budget(t testing.TB) time.Duration {
	t.Helper()
	return duration(t, envFor, 0)
}

// Shrinking is how long a failure may be made smaller, by PROOF_SHRINK, else by default.
func Shrinking(t testing.TB, byDefault time.Duration) time.Duration {
	t.Helper()
	return duration(t, envShrink, byDefault)
}

func duration(t testing.TB, name string, byDefault time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return byDefault
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("%s=%q is not a duration such as 10m", name, text)
	}
	return d
}

// ReplaySeed is a line with the command that replays one round of a test of this package.
func ReplaySeed(test string, seed uint64) string { return replay(test, fmt.Sprint(envSeed, "=", seed)) }

// ReplayCase is a line with the command that replays one case of a test of this package.
func ReplayCase(test, name string) string { return replay(test, envCase+"='"+name+"'") }

func replay(test, variable string) string {
	top, _, _ := strings.Cut(test, "/")
	return fmt.Sprintf("replay: %s go test -count=1%s -run '^%s$' %s", variable, buildTags(), top, thisPackage())
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
