package mirror

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys/simkernel"
	"tidemark/pkg/mtree/mirror/internal/source/sourcetest"
)

// The steps of a history:
//
//	seed N, machine coarse|old|noxattrs|few   at the beginning: the order of calls; the disk
//	wrong MISTAKE                             at the beginning: of the source
//	parts N                                   the source refuses one of N parts; 0: all
//	write, rewrite, old, replace, more PATH   other bytes: of another size, of the same size
//	                                          and time, of a certain old date, in a new file,
//	                                          by a write that goes on
//	unheard PATH                              other bytes, which only an audit finds
//	hole PATH                                 bytes with a run of zeros
//	mkdir, link, rm, chmod PATH; mv, swap, hardlink A B
//	deny, allow, mount, unmount PATH          what serve may read, what it lists
//	exclude NAME, trust                       serve with other options, as another user
//	fill DIR N                                many files
//	publish, stop, start, lose, filling       watch; or the source is a copy that is being filled
//	source-clock D                            somebody sets its clock
//	snapshot, restore, tree, nameless         other lineages, another tree, a lost id
//	pass; break, kill, cut N                  a pass; one that ends at its N-th call
//	run D                                     a mirror that keeps running, until D after the last of others
//	at N STEP                                 meanwhile, at the N-th call of the next pass
//	soon N STEP                               meanwhile, N calls after now
//	fail N [M], errno NAME N [M]              in the next pass: the source's calls, system calls
//	cache BACK N [M]                          in the next pass: listings from before
//	set OPTION[=VALUE], release, wait D, clock D
//	local-write, local-mkdir, local-rm PATH, local-mv A B, local-forget
//	local-link, local-tree PATH               a symlink that leads out; a tree of somebody else
//	local-strip PATH                          a directory loses its extended attributes

// simMachine reads the steps that say how the machine is.
func simMachine(history []string) (o simkernel.Options, seed uint64) {
	for _, step := range history {
		switch verb, arg, _ := strings.Cut(step, " "); {
		case verb == "seed":
			seed, _ = strconv.ParseUint(arg, 10, 64)
		case step == "machine coarse":
			o.Granule = time.Second
		case step == "machine old":
			o.Tick, o.OldTimes = 10*time.Millisecond, true
		case step == "machine few":
			o.Batch = 1
		case step == "machine noxattrs":
			o.NoXattrs = true
		}
	}
	return o, seed
}

// mistakeOf reads the step that says which mistake the source makes.
func mistakeOf(history []string) (is sourcetest.Mistake) {
	for _, step := range history {
		if what, ok := strings.CutPrefix(step, "wrong "); ok {
			is = sourcetest.Mistake(what)
		}
	}
	return is
}

// do carries out one step.
func (s *sim) do(step string) {
	words := strings.Fields(step)
	if len(words) == 0 {
		return
	}
	verb, args := words[0], words[1:]
	number := func(i int) int {
		if i >= len(args) {
			return 0
		}
		n, _ := strconv.Atoi(args[i])
		return n
	}
	if verb == "soon" {
		call := s.call + number(0)
		s.at[call] = append(s.at[call], strings.Join(args[1:], " "))
		return
	}
	if verb == "at" {
		s.at[number(0)] = append(s.at[number(0)], strings.Join(args[1:], " "))
		return
	}
	s.log("%s", step)
	switch verb {
	case "seed", "machine", "wrong":
	case "parts":
		s.refuse(number(0))
	case "pass":
		s.pass(ending{})
	case "break", "kill", "cut":
		s.pass(ending{how: verb, call: number(0)})
	case "run":
		d, _ := time.ParseDuration(args[0])
		s.keep(d)
	case "fail":
		s.fault = simFault{from: number(0), to: max(number(0), number(1)), err: errSimulated}
	case "errno":
		s.errno = simFault{from: number(1), to: max(number(1), number(2)), err: simErrnos[args[0]]}
	case "cache":
		s.back = number(0)
		s.cache = simFault{from: number(1), to: max(number(1), number(2)), err: errSimulated}
	case "wait":
		d, _ := time.ParseDuration(args[0])
		<-time.After(d)
	case "clock":
		d, _ := time.ParseDuration(args[0])
		s.kernel.StepClock(d)
		s.stepped = true
		s.went = nil // the past ten minutes are others
	default:
		if s.calm = false; verb == "release" || verb == "tree" || verb == "local-forget" || strings.HasPrefix(step, "set max-delete") {
			s.went = nil // the count begins anew
		}
		switch {
		case verb == "set":
			s.set(args[0])
		case strings.HasPrefix(verb, "local-"):
			s.local(verb, args)
		default:
			s.change(verb, args)
		}
	}
}

var simErrnos = map[string]error{
	"ENOSPC": syscall.ENOSPC, "EIO": syscall.EIO, "EACCES": syscall.EACCES, "EMFILE": syscall.EMFILE, "EROFS": syscall.EROFS,
}

// change changes the source. A change that is not possible does nothing.
func (s *sim) change(verb string, args []string) {
	t := s.tree()
	one := map[string]func(string) bool{
		"write": t.Write, "rewrite": t.Rewrite, "old": t.WriteOld, "replace": t.Replace, "unheard": t.WriteUnheard, "more": t.WriteOn, "hole": t.Hole, "mkdir": t.Mkdir, "link": t.Link,
		"rm": t.Remove, "chmod": t.Chmod, "deny": t.Deny, "allow": t.Allow, "mount": t.Mount, "unmount": t.Unmount, "exclude": t.Exclude,
	}[verb]
	two := map[string]func(a, b string) bool{"mv": t.Move, "swap": t.Swap, "hardlink": t.Hardlink}[verb]
	switch {
	case one != nil:
		one(args[0])
	case two != nil:
		s.unlinked = s.unlinked || verb == "hardlink" && !s.config.HardLinks
		two(args[0], args[1])
	case verb == "fill":
		n, _ := strconv.Atoi(args[1])
		for i := range n {
			t.Write(fmt.Sprintf("%s/n%03d", args[0], i))
		}
	case verb == "publish":
		s.meanwhile(t.Publish)
	case verb == "stop":
		t.Stop()
	case verb == "start", verb == "lose":
		s.meanwhile(func() { t.Start(verb == "lose") })
	case verb == "filling":
		t.Fill()
	case verb == "source-clock":
		d, _ := time.ParseDuration(args[0])
		s.setBack, s.stepped = s.setBack || d < 0, true
		s.meanwhile(func() { t.SetClock(d) })
	case verb == "snapshot":
		s.shots = append(s.shots, t.Snapshot())
	case verb == "restore":
		if n := len(s.shots); n > 0 && !s.forgot && t.IsNoticed(s.shots[n-1]) {
			shot := s.shots[n-1]
			s.rolled = true
			s.meanwhile(func() { t.Restore(shot) })
		}
	case verb == "trust":
		t.Trust()
	case verb == "tree":
		s.newTree()
	case verb == "nameless":
		s.site.Nameless = !s.site.Nameless
	case verb == "release":
		s.release()
	default:
		panic("sim: no such step: " + verb)
	}
}

// set alters an option of the mirror for the passes to come. One that has no value is
// switched over.
func (s *sim) set(option string) {
	c := &s.config
	defer func() {
		s.had.NoDelete, s.had.NoLinks = s.had.NoDelete || c.NoDelete, s.had.NoLinks || c.NoLinks
		s.had.Filters = append(s.had.Filters, c.Filters...)
		s.limits = append(s.limits, c.limits())
	}()
	switch name, value, _ := strings.Cut(option, "="); name {
	case "no-delete":
		c.NoDelete = !c.NoDelete
	case "no-links":
		c.NoLinks = !c.NoLinks
	case "owner":
		c.Owner = !c.Owner
	case "hard-links":
		c.HardLinks, s.unlinked = !c.HardLinks, s.unlinked || s.call > 0
	case "sparse":
		c.Sparse = !c.Sparse
	case "min-size":
		if c.MinSize, _ = strconv.ParseInt(value, 10, 64); c.MaxSize != 0 && c.MinSize > c.MaxSize {
			c.MaxSize = 0
		}
	case "max-size":
		if c.MaxSize, _ = strconv.ParseInt(value, 10, 64); c.MaxSize != 0 && c.MinSize > c.MaxSize {
			c.MinSize = 0 // both together are refused
		}
	case "max-age":
		c.MaxAge, _ = time.ParseDuration(value)
	case "adopt":
		c.Adopt = !c.Adopt
	case "sums":
		c.Sums = !c.Sums
	case "max-delete":
		c.MaxDelete = value
	case "durability":
		c.Durability = value
		s.unsafe = s.unsafe || value == None
	case "backup":
		c.BackupDir = value
	case "jobs":
		c.Jobs, _ = strconv.Atoi(value)
	case "walk":
		c.FullInterval, _ = time.ParseDuration(value)
	case "commit":
		c.commitFiles, _ = strconv.Atoi(value)
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
	if verb == "local-strip" {
		s.localStrip(args[0])
		return
	}
	for _, path := range args {
		s.loose[path] = true
	}
	here := func(path string) string { return simDest + "/" + path }
	switch verb {
	case "local-write":
		text := fmt.Sprintf("local%d", len(s.own))
		s.own[args[0]+"\x00"+text] = true
		_ = s.shell.Remove(here(args[0]))
		_ = s.shell.Write(here(args[0]), text)
	case "local-mkdir":
		_ = s.shell.Mkdir(here(args[0]), 0o755)
	case "local-rm":
		s.takeAway(args[0])
	case "local-mv":
		have := s.read()
		if from, to := have[args[0]], have[args[1]]; from.kind == mtree.File && to.kind == mtree.File && from.mtime == to.mtime && len(from.text) == len(to.text) {
			return // no time and no size tells: only mirror --verify finds it
		}
		for path, is := range have {
			if below, ok := strings.CutPrefix(path, args[0]); ok && (below == "" || below[0] == '/') {
				s.own[args[1]+below+"\x00"+is.text] = true
				s.loose[path], s.loose[args[1]+below] = true, true
			}
		}
		_ = s.shell.Rename(here(args[0]), here(args[1]), 0)
	case "local-link":
		s.localLink(args[0])
	case "local-tree":
		s.localTree(args[0])
	case "local-forget":
		if s.bare || s.rolled {
			return
		}
		s.forgot, s.unlinked = true, true
		_ = s.shell.Remove(here(mtree.MarkerName))
	default:
		panic("sim: no such step: " + verb)
	}
}
