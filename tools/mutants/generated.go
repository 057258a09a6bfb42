package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// generatedRun runs the generated mutants.
type generatedRun struct {
	options
	report  *report
	cache   *cache
	index   *testIndex
	reaches map[int][]reach
	mu      sync.Mutex
	killers map[string]map[string]bool // by file, and by file and function: the tests that killed mutants
	sums    map[string]string          // by package: a sum of its tests
}

// runGenerated tries the generated mutants of the heart.
func runGenerated(ctx context.Context, o options, r *report) error {
	parts, err := heart(o.root)
	if err != nil {
		return err
	}
	listed, err := equivalents()
	if err != nil {
		return err
	}
	if o.budget == 0 {
		return runParts(ctx, o, r, parts, listed, time.Time{})
	}
	// One part after the other: else the time is gone before it is known which tests reach what.
	end := time.Now().Add(o.budget)
	// Those that are worked off come first: their tests are quick, and a survivor is a failure.
	rand.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	slices.SortStableFunc(parts, func(a, b part) int {
		switch {
		case a.open == b.open:
			return 0
		case b.open:
			return -1
		}
		return 1
	})
	for _, p := range parts {
		if err := runParts(ctx, o, r, []part{p}, listed, end); err != nil || time.Now().After(end) {
			return err
		}
	}
	return nil
}

// runParts tries the mutants of some parts; until end, if there is a budget.
func runParts(ctx context.Context, o options, r *report, parts []part, listed map[string]string, end time.Time) error {
	var sources []*source
	var ids int
	testsOf := map[*source][]string{}
	for _, p := range parts {
		for _, name := range p.files {
			if !o.only.MatchString(name) {
				continue
			}
			s, err := load(o.root, name, &ids)
			if err != nil {
				return err
			}
			s.open = p.open
			s.generate()
			sources = append(sources, s)
			testsOf[s] = p.tests
		}
	}
	if o.list {
		for _, s := range sources {
			for _, m := range s.mutants {
				_, _ = fmt.Fprintf(r.out, "%s:%d %s: %s\n", m.file, m.line, m.fn, m.what)
			}
		}
		return nil
	}
	if len(sources) == 0 {
		return nil
	}
	over, err := newOverlay(o.root, sources)
	if over != nil {
		defer over.remove()
	}
	if err != nil {
		return err
	}
	c, err := openCache()
	if err != nil {
		return err
	}
	index, err := indexTests(o.root)
	if err != nil {
		return err
	}
	run := &generatedRun{options: o, report: r, cache: c, index: index, reaches: map[int][]reach{}, killers: map[string]map[string]bool{}, sums: map[string]string{}}
	if err := run.findReaches(ctx, over, testsOf, end); err != nil {
		return err
	}
	if o.budget > 0 && time.Now().After(end) {
		_, _ = fmt.Fprintf(r.out, "%s: the time is over before it is known which tests reach what\n", parts[0].files[0])
		return nil
	}
	var all []*mutant
	for _, s := range sources {
		all = append(all, s.mutants...)
	}
	if o.budget > 0 {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	unknown := map[string]bool{}
	for name := range listed {
		file, _, _ := strings.Cut(name, " ")
		unknown[name] = o.budget == 0 && o.only.MatchString(file)
	}
	for _, m := range all {
		unknown[m.name()] = false
	}
	for name, is := range unknown {
		if is {
			r.fail("equivalent.txt: there is no such mutant: %s", name)
		}
	}
	return run.each(ctx, all, listed, end)
}

// findReaches finds which tests reach which mutants: it runs each test alone.
func (g *generatedRun) findReaches(ctx context.Context, over *overlay, testsOf map[*source][]string, end time.Time) error {
	wanted := map[string][]*source{}
	var dirs []string
	for s, tests := range testsOf {
		for _, dir := range tests {
			if wanted[dir] == nil {
				dirs = append(dirs, dir)
			}
			wanted[dir] = append(wanted[dir], s)
		}
	}
	slices.Sort(dirs)
	for _, dir := range dirs {
		pkg, tags, _ := strings.Cut(dir, ":")
		b, err := compile(g.root, over, pkg, tags)
		if err != nil {
			return err
		}
		tests, err := b.list()
		if err != nil {
			return err
		}
		tests = slices.DeleteFunc(tests, func(test string) bool { return g.index.tagsOf(test, pkg) != tags })
		var mu sync.Mutex
		err = inParallel(ctx, g.jobs, tests, func(test string) error {
			if g.budget > 0 && time.Now().After(end) {
				return nil
			}
			return g.reachesOf(ctx, &mu, b, test, wanted[dir])
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// reachesOf finds which mutants a test reaches, if that is not known from an earlier run
// in which its file and theirs were the same.
func (g *generatedRun) reachesOf(ctx context.Context, mu *sync.Mutex, b *binary, test string, sources []*source) error {
	keys := map[*source]string{}
	known := true
	for _, s := range sources {
		keys[s] = keyOf("reach", b.dir, b.tags, test, g.index.textOf(test, b.dir), s.path, s.code)
		_, ok := g.cache.get(keys[s])
		known = known && ok
	}
	if !known {
		o, err := b.run(ctx, []string{test}, 0, markPatience, true)
		if err != nil {
			return err
		}
		if o.failed {
			mu.Lock()
			defer mu.Unlock()
			g.report.fail("%s fails alone, without a mutant: %s\n%s", b.dir, test, o.message)
			return nil
		}
		for s, key := range keys {
			value := fmt.Sprint(o.took.Milliseconds())
			for i, m := range s.mutants {
				if o.hits[m.id] {
					value += fmt.Sprint(" ", i)
				}
			}
			g.cache.put(key, value)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for s, key := range keys {
		value, _ := g.cache.get(key)
		var took time.Duration
		for i, field := range strings.Fields(value) {
			n, err := strconv.Atoi(field)
			if err != nil {
				return err
			}
			if i == 0 {
				took = time.Duration(n) * time.Millisecond
			} else if n < len(s.mutants) {
				g.reaches[s.mutants[n].id] = append(g.reaches[s.mutants[n].id], reach{b, test, took})
			}
		}
	}
	return nil
}

// each tries the mutants, several at a time; until end, if there is a budget.
func (g *generatedRun) each(ctx context.Context, all []*mutant, listed map[string]string, end time.Time) error {
	var mu sync.Mutex
	return inParallel(ctx, g.jobs, all, func(m *mutant) error {
		if g.budget > 0 && time.Now().After(end) {
			return nil
		}
		if reason := listed[m.name()]; reason != "" {
			mu.Lock()
			defer mu.Unlock()
			g.report.add(row{mutant: m, listed: reason})
			return nil
		}
		x, err := g.try(ctx, m)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		g.report.add(x)
		return nil
	})
}

// Bounds on the time of the tests that try one mutant, by the time that they take alone.
const (
	quickTests = 3 * time.Second
	slowTests  = 15 * time.Second
)

// try runs the tests that reach a mutant, quick ones first, until one fails.
func (g *generatedRun) try(ctx context.Context, m *mutant) (row, error) {
	x := row{mutant: m}
	reaches := g.inOrder(m)
	killedKey := keyOf("killed", m.name(), m.source.code)
	triedText := []string{"tried", m.name(), m.source.code}
	for _, r := range g.reaches[m.id] {
		triedText = append(triedText, r.binary.dir, r.test)
	}
	slices.Sort(triedText[3:])
	for _, dir := range g.dirsOf(reaches) {
		triedText = append(triedText, g.sumOf(dir))
	}
	triedKey := keyOf(triedText...)
	if !g.fresh && g.budget == 0 {
		if by := earlierKiller(g.cache, g.index, g.reaches[m.id], killedKey); by != "" {
			x.killed, x.cached = by, true
			g.noteKiller(m, by)
			return x, nil
		}
		if note, ok := g.cache.get(triedKey); ok {
			x.note, x.cached = note, true
			return x, nil
		}
	}
	begun := time.Now()
	tried := 0
	var total time.Duration
	for len(reaches) > 0 {
		var batch []string
		var batchTime time.Duration
		b := reaches[0].binary
		n := 0
		for n < len(reaches) && reaches[n].binary == b && (len(batch) == 0 || batchTime+reaches[n].took < quickTests) {
			batch = append(batch, reaches[n].test)
			batchTime += reaches[n].took
			n++
		}
		reaches = reaches[n:]
		if total += batchTime; total > slowTests && tried > 0 {
			break
		}
		o, err := b.run(ctx, batch, m.id, 10*batchTime+20*time.Second, false)
		if err != nil {
			return x, err
		}
		tried += len(batch)
		if o.failed {
			x.killed, x.took = killerName(b, o.killer), time.Since(begun)
			g.cache.put(killedKey, killedBy(g.index, reach{binary: b, test: o.killer}))
			g.noteKiller(m, x.killed)
			return x, nil
		}
	}
	x.took = time.Since(begun)
	x.note = fmt.Sprintf("%d of %d tests that reach it pass", tried, len(g.reaches[m.id]))
	if tried == 0 {
		x.note = "no test reaches it"
	}
	g.cache.put(triedKey, x.note)
	return x, nil
}

// inOrder returns the tests that reach a mutant: those that killed others in the same
// function first, then in the same file, then the quicker ones.
func (g *generatedRun) inOrder(m *mutant) []reach {
	g.mu.Lock()
	defer g.mu.Unlock()
	rank := func(r reach) int {
		name := killerName(r.binary, r.test)
		switch {
		case g.killers[m.file+" "+m.fn][name]:
			return 0
		case g.killers[m.file][name]:
			return 1
		}
		return 2
	}
	reaches := slices.Clone(g.reaches[m.id])
	slices.SortFunc(reaches, func(a, b reach) int { return cmp.Or(rank(a)-rank(b), int(a.took-b.took)) })
	return reaches
}

// noteKiller records a test that killed a mutant.
func (g *generatedRun) noteKiller(m *mutant, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name, _, _ = strings.Cut(name, "/")
	for _, key := range []string{m.file, m.file + " " + m.fn} {
		if g.killers[key] == nil {
			g.killers[key] = map[string]bool{}
		}
		g.killers[key][name] = true
	}
}

func (g *generatedRun) dirsOf(reaches []reach) []string {
	var dirs []string
	for _, r := range reaches {
		dirs = append(dirs, r.binary.dir)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

var sumsMu sync.Mutex

// sumOf returns a sum of the tests of a package.
func (g *generatedRun) sumOf(dir string) string {
	sumsMu.Lock()
	defer sumsMu.Unlock()
	if sum, ok := g.sums[dir]; ok {
		return sum
	}
	names, _ := filepath.Glob(filepath.Join(g.root, dir, "*_test.go"))
	var texts []string
	for _, name := range names {
		text, _ := os.ReadFile(name)
		texts = append(texts, string(text))
	}
	g.sums[dir] = keyOf(texts...)
	return g.sums[dir]
}

// inParallel calls f for each of all, n at a time, until one fails.
func inParallel[T any](ctx context.Context, n int, all []T, f func(T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan T)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for x := range next {
				if err := f(x); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, x := range all {
		if ctx.Err() != nil {
			break
		}
		next <- x
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}
