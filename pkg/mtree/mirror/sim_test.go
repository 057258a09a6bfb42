package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/mirror/internal/source/sourcetest"
)

// A simulation runs the real mirror over a source in memory (sourcetest), on a disk in
// memory, by a fake clock. What happens is a history, a list of words in text:
//
//	write a/f; publish; pass; rm a/f; at 3 publish; pass
//
// The same history always has the same trace, so that one that fails can be shrunk.

// sim is a simulation.
type sim struct {
	disk   simDisk
	site   *sourcetest.Site
	trees  []*sourcetest.Tree // all that were at the address; the last one is there now
	shots  []*sourcetest.Snapshot
	config Config
	clock  time.Duration // by how much the mirror's clock differs from the source's

	yields int              // in this pass
	at     map[int][]string // what others do at a yield of the next pass
	stop   int              // the pass is broken off at this yield; 0: it is not
	cancel context.CancelFunc
	fault  simFault
	inPass bool

	own    map[string]bool // path and bytes that somebody wrote in the copy
	loose  map[string]bool // paths at which somebody changed the copy
	trace  []string
	out    bytes.Buffer
	calm   bool // since the last pass nothing happened that may end a hold
	passes int
	err    error // what a check found first
}

// simFault is what the source answers wrongly.
type simFault struct {
	from, to int // calls, counted from now on
	calls    int
}

var errSimulated = errors.New("simulated failure")

// simEpoch is when a simulation begins, by the source's clock.
var simEpoch = time.Unix(1_790_000_000, 123_456_789)

// simulate runs a history, and then what every history must end in. It returns the trace,
// and what a check found.
func simulate(t *testing.T, history []string, newDisk func() simDisk) (trace []string, err error) {
	synctest.Test(t, func(*testing.T) {
		s := &sim{disk: newDisk(), at: map[int][]string{}, own: map[string]bool{}, loose: map[string]bool{}, calm: true}
		defer s.disk.close()
		began := time.Now()
		now := func() mtree.Stamp { return mtree.FromTime(simEpoch.Add(time.Since(began))) }
		s.site = &sourcetest.Site{Fault: s.faulty}
		s.newTree(now)
		s.config = Config{
			Source: "http://simulated/", Dest: s.disk.path(), Jobs: 1, Out: &s.out, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Now:  func() mtree.Stamp { return now().Add(s.clock) },
			open: func(*Config) (origin, error) { return s.site, nil },
		}
		for _, step := range history {
			s.do(step, now)
		}
		if s.err == nil {
			s.settle(now)
		}
		trace, err = s.trace, s.err
	})
	return trace, err
}

func (s *sim) log(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf(format, args...))
}

// wrong notes what a check found.
func (s *sim) wrong(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
		s.log("WRONG: %v", s.err)
	}
}

func (s *sim) tree() *sourcetest.Tree { return s.trees[len(s.trees)-1] }

// newTree puts another tree at the address.
func (s *sim) newTree(now func() mtree.Stamp) {
	id := fmt.Sprintf("%032x", len(s.trees)+1)
	s.trees = append(s.trees, sourcetest.NewTree(id, now, func(what string) { s.yield(what, now) }))
	s.site.Tree = s.tree()
	s.shots = nil
}

// yield is called where others may act.
func (s *sim) yield(what string, now func() mtree.Stamp) {
	if !s.inPass {
		return
	}
	s.yields++
	s.log("  %d %s", s.yields, what)
	steps := s.at[s.yields]
	delete(s.at, s.yields)
	for _, step := range steps {
		s.inPass = false
		s.do(step, now)
		s.inPass = true
	}
	if s.stop > 0 && s.yields >= s.stop && s.cancel != nil {
		s.cancel()
	}
}

// faulty is the fault of a call.
func (s *sim) faulty(string) error {
	s.fault.calls++
	if s.fault.calls >= s.fault.from && s.fault.calls <= s.fault.to {
		return errSimulated
	}
	return nil
}

// do carries out one step.
func (s *sim) do(step string, now func() mtree.Stamp) {
	if s.err != nil {
		return
	}
	words := strings.Fields(step)
	verb, args := words[0], words[1:]
	number := func(i int) int {
		if i >= len(args) {
			return 0
		}
		n, _ := strconv.Atoi(args[i])
		return n
	}
	if verb == "at" {
		s.at[number(0)] = append(s.at[number(0)], strings.Join(args[1:], " "))
		return
	}
	s.log("%s", step)
	switch verb {
	case "pass":
		s.pass()
	case "break": // the pass ends by its context
		s.stop = number(0)
		s.pass()
	case "fail": // the N-th call to the source fails, and those after it up to M
		s.fault = simFault{from: number(0), to: max(number(0), number(1))}
	case "wait":
		d, _ := time.ParseDuration(args[0])
		time.Sleep(d)
	case "clock":
		d, _ := time.ParseDuration(args[0])
		s.clock += d
	case "set":
		s.set(args[0])
	case "release":
		s.calm = false
		s.release()
	case "tree":
		s.calm = false
		s.newTree(now)
	case "nameless":
		s.calm = false
		s.site.Nameless = !s.site.Nameless
	default:
		s.calm = false
		if strings.HasPrefix(verb, "local-") {
			s.local(verb, args)
			return
		}
		s.change(verb, args)
	}
}

// change changes the source. A change that is not possible does nothing.
func (s *sim) change(verb string, args []string) {
	t := s.tree()
	one := map[string]func(string) bool{
		"write": t.Write, "rewrite": t.Rewrite, "old": t.WriteOld, "replace": t.Replace, "more": t.WriteOn, "mkdir": t.Mkdir, "link": t.Link,
		"rm": t.Remove, "chmod": t.Chmod, "deny": t.Deny, "allow": t.Allow, "mount": t.Mount, "unmount": t.Unmount, "exclude": t.Exclude,
	}[verb]
	two := map[string]func(a, b string) bool{"mv": t.Move, "swap": t.Swap}[verb]
	switch {
	case one != nil && len(args) == 1:
		one(args[0])
	case two != nil && len(args) == 2:
		two(args[0], args[1])
	case verb == "fill":
		n, _ := strconv.Atoi(args[1])
		for i := range n {
			t.Write(fmt.Sprintf("%s/n%03d", args[0], i))
		}
	case verb == "publish":
		t.Publish()
	case verb == "stop":
		t.Stop()
	case verb == "start":
		t.Start(false)
	case verb == "lose":
		t.Start(true)
	case verb == "snapshot":
		s.shots = append(s.shots, t.Snapshot())
	case verb == "restore":
		if n := len(s.shots); n > 0 {
			t.Restore(s.shots[n-1])
		}
	default:
		panic("sim: no such step: " + verb)
	}
}

// set alters an option of the mirror for the passes to come. One that has no value is
// switched over.
func (s *sim) set(option string) {
	s.calm = false
	c := &s.config
	switch name, value, _ := strings.Cut(option, "="); name {
	case "no-delete":
		c.NoDelete = !c.NoDelete
	case "no-links":
		c.NoLinks = !c.NoLinks
	case "owner":
		c.Owner = !c.Owner
	case "adopt":
		c.Adopt = !c.Adopt
	case "sums":
		c.Sums = !c.Sums
	case "max-delete":
		c.MaxDelete = value
	case "durability":
		c.Durability = value
	case "jobs":
		c.Jobs, _ = strconv.Atoi(value)
	case "filter":
		if rule := "- " + value; slices.Contains(c.Filters, rule) {
			c.Filters = slices.DeleteFunc(slices.Clone(c.Filters), func(r string) bool { return r == rule })
		} else {
			c.Filters = append(slices.Clone(c.Filters), rule)
		}
	default:
		panic("sim: no such option: " + option)
	}
}

// local changes the copy as another process does.
func (s *sim) local(verb string, args []string) {
	for _, path := range args {
		s.loose[path] = true
	}
	switch verb {
	case "local-write":
		text := fmt.Sprintf("local%d", len(s.own))
		s.own[args[0]+"\x00"+text] = true
		s.disk.write(args[0], text)
	case "local-mkdir":
		s.disk.mkdir(args[0])
	case "local-rm":
		s.disk.remove(args[0])
	case "local-mv":
		for path, is := range s.disk.read() {
			if below, ok := strings.CutPrefix(path, args[0]); ok && (below == "" || below[0] == '/') {
				s.own[args[1]+below+"\x00"+is.text] = true
				s.loose[path], s.loose[args[1]+below] = true, true
			}
		}
		s.disk.move(args[0], args[1])
	case "local-forget":
		s.disk.remove(mtree.MarkerName)
	default:
		panic("sim: no such step: " + verb)
	}
}

// pass runs one pass, and checks what it did.
func (s *sim) pass() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.out.Reset()
	c := s.config
	s.cancel, s.yields, s.inPass = cancel, 0, true
	s.site.Asked = nil
	b := s.before()
	err := Once(ctx, c)
	s.inPass, s.cancel, s.stop, s.fault = false, nil, 0, simFault{}
	clear(s.at)
	s.passes++
	s.log("= %s %v", strings.TrimSpace(s.out.String()), err)
	s.check(b)
	s.calm = true
}

// release carries out what is held.
func (s *sim) release() {
	s.out.Reset()
	err := Release(context.Background(), s.config)
	s.log("= %s %v", strings.TrimSpace(s.out.String()), err)
}

// excluded reports whether the mirror's filters exclude a path.
func (s *sim) excluded(path string, dir bool) bool {
	l, err := glob.New(s.config.Filters)
	if err != nil {
		panic(err)
	}
	for up := path; up != ""; up = mtree.ParentPath(up) {
		if l.Excluded(up, dir || up != path) {
			return true
		}
	}
	return false
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
