package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// overlay is a directory with the mutated sources, and the file that go build -overlay
// reads.
type overlay struct {
	dir  string
	file string // overlay.json
}

// newOverlay writes the sources with all their mutants, and the switch into each of their
// packages.
func newOverlay(root string, sources []*source) (*overlay, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // tests run programs as other users, too
		return nil, err
	}
	o := &overlay{dir: dir, file: filepath.Join(dir, "overlay.json")}
	replace := map[string]string{}
	put := func(path, text string) error {
		if replace[filepath.Join(root, path)] != "" {
			return nil // the switch of a package is there
		}
		name := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		replace[filepath.Join(root, path)] = name
		return os.WriteFile(name, []byte(text), 0o644)
	}
	for _, s := range sources {
		if len(s.mutants) == 0 {
			continue
		}
		if err := put(s.path, apply(s.text, s.edits)); err != nil {
			return o, err
		}
		if err := put(filepath.Join(filepath.Dir(s.path), "zz_mutant.go"), fmt.Sprintf(switchText, s.file.Name.Name)); err != nil {
			return o, err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return o, err
	}
	return o, os.WriteFile(o.file, text, 0o644)
}

func (o *overlay) remove() { _ = os.RemoveAll(o.dir) }

// The environment of a mutated program.
const (
	envMutant = "TIDEMARK_MUTANT"      // the number of the mutant that is on
	envHits   = "TIDEMARK_MUTANT_HITS" // a file to which the numbers of those that are reached go
)

// switchText is the file that turns a mutant on. A mutant counts as reached only where it
// would make a difference: a condition that is never true where it is true.
const switchText = `package %s

import (
	mutantcmp "cmp"
	mutantos "os"
	mutantstrconv "strconv"
	mutantsync "sync"
)

var (
	mutantOn, _ = mutantstrconv.Atoi(mutantos.Getenv("TIDEMARK_MUTANT"))
	mutantHits  = mutantos.Getenv("TIDEMARK_MUTANT_HITS")
	mutantSeen  mutantsync.Map
)

func mutantIs(id int) bool {
	if mutantHits != "" {
		mutantHit(id)
	}
	return mutantOn == id
}

func mutantHit(id int) {
	if _, seen := mutantSeen.LoadOrStore(id, true); seen {
		return
	}
	if f, err := mutantos.OpenFile(mutantHits, mutantos.O_APPEND|mutantos.O_CREATE|mutantos.O_WRONLY, 0o666); err == nil {
		_, _ = f.WriteString(mutantstrconv.Itoa(id) + "\n")
		_ = f.Close()
	}
}

func mutantFalse[T ~bool](id int, v T) T { return v && T(!mutantIs(id)) }
func mutantTrue[T ~bool](id int, v T) T  { return v || T(mutantIs(id)) }
func mutantNot[T ~bool](id int, v T) T   { return v != T(mutantIs(id)) }

func mutantLess[T mutantcmp.Ordered](id int, a, b T) bool    { return a < b || a == b && mutantIs(id) }
func mutantAtMost[T mutantcmp.Ordered](id int, a, b T) bool  { return a < b || a == b && !mutantIs(id) }
func mutantMore[T mutantcmp.Ordered](id int, a, b T) bool    { return a > b || a == b && mutantIs(id) }
func mutantAtLeast[T mutantcmp.Ordered](id int, a, b T) bool { return a > b || a == b && !mutantIs(id) }

func mutantPlus[T mutantcmp.Ordered](id int, a, b T) T {
	if mutantIs(id) {
		return a
	}
	return a + b
}

func mutantMinus[T ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64](id int, a, b T) T {
	if mutantIs(id) {
		return a
	}
	return a - b
}

func mutantZero[T any](id int, v T) T {
	if mutantIs(id) {
		var zero T
		return zero
	}
	return v
}
`
