package main

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// runMarked takes out each marked guard and runs the tests that its mark names. Each must
// fail, and none without that.
func runMarked(ctx context.Context, o options, r *report) error {
	sources, err := markedSources(o)
	if err != nil {
		return err
	}
	index, err := indexTests(o.root)
	if err != nil {
		return err
	}
	if o.sample {
		sources = sample(sources, index)
	}
	over, err := newOverlay(o.root, sources)
	if over != nil {
		defer over.remove()
	}
	if err != nil {
		return err
	}
	run := &markedRun{options: o, report: r, index: index, over: over, binaries: map[string]*binary{}, sound: map[testAt]*sync.Once{}, broken: map[testAt]string{}}
	var all []*mutant
	for _, s := range sources {
		all = append(all, s.mutants...)
	}
	if o.list {
		for _, m := range all {
			r.print("marked", row{mutant: m, killed: strings.Join(m.tests, ", ")})
		}
		return nil
	}
	end := time.Now().Add(o.budget)
	if o.budget > 0 {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	return inParallel(ctx, o.jobs, all, func(m *mutant) error {
		if o.budget > 0 && time.Now().After(end) {
			return nil
		}
		return run.try(ctx, m)
	})
}

// sample keeps the marks all of whose tests are in internal packages, and the sources that
// have such a mark: less is compiled.
func sample(sources []*source, index *testIndex) []*source {
	return slices.DeleteFunc(sources, func(s *source) bool {
		s.mutants = slices.DeleteFunc(s.mutants, func(m *mutant) bool {
			return slices.ContainsFunc(m.tests, func(name string) bool {
				at, err := index.find(name, m.file)
				return err == nil && (at.tags != "" || !strings.Contains(at.dir, "/internal/"))
			})
		})
		return len(s.mutants) == 0
	})
}

// markedSources reads all files in which guards are marked.
func markedSources(o options) ([]*source, error) {
	var sources []*source
	var ids int
	for _, top := range []string{"pkg", "internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(o.root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			name, err := filepath.Rel(o.root, path)
			if err != nil || !o.only.MatchString(name) {
				return err
			}
			s, err := load(o.root, name, &ids)
			if err != nil {
				return err
			}
			if err := s.marks(); err != nil {
				return err
			}
			sources = append(sources, s)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return sources, nil
}

// markedRun runs the marked guards.
type markedRun struct {
	options
	report   *report
	index    *testIndex
	over     *overlay
	mu       sync.Mutex
	binaries map[string]*binary
	sound    map[testAt]*sync.Once
	broken   map[testAt]string // tests that fail without a mutant
}

// markPatience is how long one test may take.
const markPatience = 3 * time.Minute

// markTries is how often a test that passes runs again: some show a race, and where the
// machine is busy with other things it may go well once.
const markTries = 3

// try takes one guard out and runs its tests.
func (r *markedRun) try(ctx context.Context, m *mutant) error {
	x := row{mutant: m}
	var killed, passed []string
	for _, name := range m.tests {
		at, err := r.index.find(name, m.file)
		if err != nil {
			r.fail(m, err.Error())
			return nil
		}
		b, err := r.binaryOf(at)
		if err != nil {
			return err
		}
		if why, err := r.without(ctx, at, b); err != nil || why != "" {
			r.fail(m, why)
			return err
		}
		var o outcome
		for tries := 0; tries < markTries && !o.failed; tries++ {
			if o, err = b.run(ctx, []string{at.name}, m.id, markPatience, false); err != nil {
				return err
			}
			x.took += o.took
		}
		if o.failed {
			killed = append(killed, name)
		} else {
			passed = append(passed, name)
		}
	}
	if len(passed) > 0 {
		x.note = strings.Join(passed, ", ") + " passes"
		if r.suggest {
			better, err := r.suggestion(ctx, m)
			if err != nil {
				return err
			}
			x.note += "; these fail: " + better
		}
	} else {
		x.killed = strings.Join(killed, ", ")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.add(x)
	return nil
}

// suggestPatience is how long all tests of a package may take.
const suggestPatience = 10 * time.Minute

// suggestion returns the tests that fail without a guard, of all that watch, serve or mirror
// has.
func (r *markedRun) suggestion(ctx context.Context, m *mutant) (string, error) {
	program, _, _ := strings.Cut(strings.TrimPrefix(m.file, "pkg/mtree/"), "/")
	dir := filepath.Join("pkg/mtree", program)
	if program != "watch" && program != "serve" && program != "mirror" {
		dir = filepath.Dir(m.file)
	}
	b, err := r.binaryOf(testAt{dir: dir})
	if err != nil {
		return "", err
	}
	o, err := b.run(ctx, nil, m.id, suggestPatience, false)
	return o.killers, err
}

func (r *markedRun) fail(m *mutant, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.fail("%s:%d: %s", m.file, m.line, why)
}

// binaryOf compiles the tests of a package once.
func (r *markedRun) binaryOf(at testAt) (*binary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := at.dir + " " + at.tags
	if b := r.binaries[key]; b != nil {
		return b, nil
	}
	b, err := compile(r.root, r.over, at.dir, at.tags)
	r.binaries[key] = b
	return b, err
}

// without runs a test with no guard taken out, once, and returns what is wrong with it.
func (r *markedRun) without(ctx context.Context, at testAt, b *binary) (string, error) {
	r.mu.Lock()
	once := r.sound[at]
	if once == nil {
		once = &sync.Once{}
		r.sound[at] = once
	}
	r.mu.Unlock()
	var failed error
	once.Do(func() {
		var o outcome
		if o, failed = b.run(ctx, []string{at.name}, 0, markPatience, false); failed != nil {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if o.failed {
			r.broken[at] = at.name + " fails with the guard in place:\n" + o.message
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken[at], failed
}
