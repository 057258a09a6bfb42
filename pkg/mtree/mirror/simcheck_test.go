package mirror

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/sys/simkernel"
	"tidemark/pkg/mtree/mirror/internal/limits"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source/sourcetest"
	"tidemark/pkg/mtree/wire"
)

// simBefore is how things stood before a pass.
type simBefore struct {
	copy map[string]simEntry
	tree *sourcetest.Tree
	turn int
	id   string // of the tree that the copy is of; "": none yet
	held replica.HeldList

	epoch uint64 // that the copy follows

	published bool // nothing waited to be published

	backup string // --backup-dir
}

// before notes how things stand.
func (s *sim) before() simBefore {
	b := simBefore{copy: s.read(), tree: s.tree(), turn: s.tree().Turn(), published: s.tree().IsPublished(), backup: s.config.BackupDir}
	b.id, b.held = s.marker()
	b.epoch = s.follow()
	return b
}

// check checks the copy after a pass. After a power cut, files of unfinished directories
// may have other bytes.
func (s *sim) check(b simBefore, cut bool) {
	now := s.read()
	for _, path := range sortedKeys(now) {
		is := now[path]
		if cut && is.kind == mtree.File && !now[mtree.ParentPath(path)].complete {
			s.wounded[path] = !s.gave(path, is.text)
		}
	}
	s.checkState(now)
	s.checkLinks(now)
	s.checkOutside()
	s.checkKept(b, now, cut)
	if cut {
		return // names may have come back
	}
	s.checkDeletions(b, now)
	s.checkMoves(b, now)
	s.checkTheirs(b, now)
	s.checkHeld(b, now)
	s.checkLimit(b, now)
}

// checkMoves: a file that was moved further down before the pass began is not deleted above
// while the copy does not have it below. Texts are of one file only. Until it is published, a
// move shows only in the times of the two directories, and not in those between them. With limits the name that
// came may be left out.
func (s *sim) checkMoves(b simBefore, now map[string]simEntry) {
	if b.tree != s.tree() || b.id != b.tree.ID || s.failing != 0 || len(s.had.Filters) > 0 || s.config.MinSize != 0 || s.config.MaxSize != 0 || s.config.MaxAge != 0 {
		return
	}
	has := map[string]bool{}
	for _, is := range now {
		has[is.text] = true
	}
	for _, path := range sortedKeys(b.copy) {
		was := b.copy[path]
		if _, stays := now[path]; stays || was.kind != mtree.File || has[was.text] || s.isLoose(path) {
			continue
		}
		for _, at := range b.tree.Paths() {
			past := b.tree.Past(at)
			is := &past[len(past)-1]
			up := mtree.ParentPath(path)
			below := mtree.ParentPath(at) != up && (up == "" || strings.HasPrefix(at, up+"/"))
			shows := b.published || mtree.ParentPath(mtree.ParentPath(at)) == up
			if below && shows && is.Begin <= b.turn && is.Kind == mtree.File && is.Text == was.text && !is.Denied && !hidden(b.tree, at) {
				s.wrong("/%s went, which is /%s at the source, and not there in the copy", path, at)
			}
		}
	}
}

// checkLimit: with --max-delete N no more than N entries go in ten minutes, by any number of
// passes.
func (s *sim) checkLimit(b simBefore, now map[string]simEntry) {
	limit, err := strconv.Atoi(s.config.MaxDelete)
	if err != nil {
		return
	}
	n, recent := 0, 0
	for path := range b.copy {
		if _, has := now[path]; !has && !s.loose[path] {
			n++
		}
	}
	s.went = append(s.went, simWent{time.Now(), n})
	for _, w := range s.went {
		if time.Since(w.at) < 10*time.Minute {
			recent += w.n
		}
	}
	if n > 0 && recent > limit {
		s.wrong("%d entries went in ten minutes, the limit is %d", recent, limit)
	}
}

// checkStamp checks the copy after a call that may have stamped a directory.
func (s *sim) checkStamp(p *simkernel.Process) {
	if strings.HasPrefix(s.last, "utimensat") && s.err == nil {
		s.checkState(s.read())
	}
}

// checkState checks what must hold at any time.
func (s *sim) checkState(now map[string]simEntry) {
	for _, path := range sortedKeys(now) {
		is := now[path]
		if s.everExcluded(path) {
			continue
		}
		if is.kind == mtree.File && !s.gave(path, is.text) && !s.wounded[path] {
			s.wrong("/%s: the source never had these bytes: %q", path, is.text)
		}
		if is.complete && !s.isLoose(path) {
			s.checkComplete(path, now)
		}
	}
}

// gave reports whether a file may have these bytes.
func (s *sim) gave(path, text string) bool {
	for _, t := range s.trees {
		if t.Gave(path, text) {
			return true
		}
	}
	return s.own[path+"\x00"+text]
}

// checkComplete checks a directory of the copy that carries a stamp: it must show
// everything that was there when the source published that stamp.
func (s *sim) checkComplete(path string, now map[string]simEntry) {
	stamp, why := now[path].stamp, "never"
	for _, t := range s.trees {
		for _, span := range t.Past(path) {
			if span.Kind != mtree.Dir || span.MTime != stamp {
				continue
			}
			key := path + "\x00" + stamp.String()
			turn := span.Begin
			if s.site.Parts != nil {
				turn = t.Published(path, &span) // a part has no more
			}
			if why = s.older(t, path, turn, now, !s.stamped[key]); why == "" {
				s.stamped[key] = true
				return
			}
		}
	}
	if why == "never" && s.finished(path) {
		return
	}
	// A source without an id has no epochs: if its clock was set back, a cache's listing of the past has the
	// later stamp.
	if s.cache.from > 0 && s.site.Nameless && s.stepped {
		return
	}
	s.wrong("/%s is complete with stamp %s, but: %s", path, stamp, why)
}

// finished reports whether a directory may carry a stamp of our own: it is gone at the
// source and stays for what filters exclude in it.
func (s *sim) finished(path string) bool {
	return len(s.had.Filters) > 0
}

// older says what the copy's directory at path shows that was gone by turn; "": nothing.
// If it was stamped just now, so are the directories in it. Later they may be unfinished
// again.
func (s *sim) older(t *sourcetest.Tree, path string, turn int, now map[string]simEntry, stamped bool) string {
	names := map[string]bool{}
	for _, p := range append(t.Paths(), sortedKeys(now)...) {
		if p != "" && mtree.ParentPath(p) == path {
			names[p] = true
		}
	}
	for _, p := range sortedKeys(names) {
		is, has := now[p]
		if s.everExcluded(p) || s.isLoose(p) {
			continue
		}
		if has && is.kind == mtree.Dir && !is.complete && !stamped {
			continue
		}
		ok, was := false, ""
		later, mode := false, false // a directory may be later than its parent lists it, with the mode that this lists
		for _, span := range t.Past(p) {
			if !span.Since(turn) {
				continue
			}
			leftOut := !has && span.Kind == mtree.Symlink && s.had.NoLinks || s.everLimited(&span.Version) && s.mayShowBefore(p, &is, has)
			if span.Denied || span.Unlisted || leftOut || s.shows(&is, has, &span) {
				ok = true
				break
			}
			was = span.Version.String()
			if has && is.kind == mtree.Dir && span.Kind == mtree.Dir && is.complete {
				later, mode = later || filetime.SameStored(is.mtime, span.MTime), mode || is.mode == span.Mode
				ok = later && mode
			}
		}
		if !ok && has && (s.had.NoDelete || s.everHid(t, path) || is.kind == mtree.Dir && len(s.had.Filters) > 0) {
			ok = true // an entry that stays
		}
		if !ok && s.site.Parts != nil && t.HadNames(p) && !s.config.HardLinks {
			ok = true // a part does not tell what was written by another name: a whole listing will
		}
		if !ok {
			return "/" + p + " is " + is.String(has) + ", the source had " + was + " since"
		}
	}
	return ""
}

// isLoose reports whether somebody changed the copy at path, in it or in the directory it
// is in: a full walk finds that.
func (s *sim) isLoose(path string) bool {
	for loose := range s.loose {
		up := mtree.ParentPath(loose)
		if loose == path || up == path || up == mtree.ParentPath(path) || strings.HasPrefix(path, loose+"/") {
			return true
		}
	}
	return false
}

// everHid reports whether the source ever left something out in a directory: then what is
// gone there may stay.
func (s *sim) everHid(t *sourcetest.Tree, path string) bool {
	for _, p := range t.Paths() {
		if p != "" && mtree.ParentPath(p) == path {
			for _, span := range t.Past(p) {
				if span.Unlisted {
					return true
				}
			}
		}
	}
	return false
}

// shows reports whether an entry of the copy is that version.
func (s *sim) shows(is *simEntry, has bool, v *sourcetest.Span) bool {
	switch {
	case !has || v.Kind == mtree.Other:
		return !has && v.Kind == mtree.Other
	case is.kind != v.Kind:
		return false
	case v.Kind == mtree.Symlink:
		return is.text == v.Text
	case v.Kind == mtree.Dir:
		return is.complete && is.mode == v.Mode && filetime.SameStored(is.mtime, v.MTime)
	}
	return is.mode == v.Mode && filetime.SameStored(is.mtime, v.MTime) && is.text == v.Text
}

func (c *simEntry) String(has bool) string {
	if !has {
		return "missing"
	}
	v := sourcetest.Version{Kind: c.kind, Mode: c.mode, MTime: c.mtime, Text: c.text}
	return v.String()
}

// checkDeletions: nothing went that the source has had all the time.
func (s *sim) checkDeletions(b simBefore, now map[string]simEntry) {
	follows := b.tree == s.tree() && b.id == b.tree.ID
	if s.cache.from > 0 && s.otherClock(b) {
		return
	}
	for _, path := range sortedKeys(b.copy) {
		was := b.copy[path]
		is, has := now[path]
		if has && is.kind == was.kind || s.loose[path] || was.kind == mtree.Symlink && s.config.NoLinks {
			continue
		}
		if s.excluded(path) {
			s.wrong("/%s went, which is excluded", path)
		}
		if !follows {
			// What the source has as another kind takes its place, as another version does.
			if !has && b.id != "" && b.id != s.tree().ID && !s.config.Adopt && b.tree == s.tree() {
				s.wrong("/%s went: the source is another tree", path)
			}
			continue
		}
		for _, span := range b.tree.Past(path) {
			if span.End < 0 && span.Begin <= b.turn && span.Kind == was.kind {
				s.wrong("/%s went, which the source has had all the time", path)
			}
		}
	}
}

// otherClock reports whether the pass could not tell a listing of the past from a clock that
// is another one.
func (s *sim) otherClock(b simBefore) bool {
	return s.stepped || s.site.Nameless || b.epoch != s.tree().Epoch || slices.ContainsFunc(slices.Collect(maps.Values(b.copy)), func(is simEntry) bool {
		doubts, begun := replica.DoubtsOf(records.Record{Stamp: is.stamp})
		return is.kind == mtree.Dir && begun && doubts&replica.DoubtClock != 0
	})
}

// checkHeld: what was held stays, unless something happened.
func (s *sim) checkHeld(b simBefore, now map[string]simEntry) {
	if !s.calm {
		return
	}
	for i := range b.held.Entries {
		d := &b.held.Entries[i]
		_, had := b.copy[d.Path] // somebody may have moved it away while it cannot be seen that it is gone at the source
		if _, has := now[d.Path]; had && !has {
			s.wrong("/%s went, which was held: %s", d.Path, d.Why)
		}
	}
}

// settle lets everything come to rest, and checks that the copy follows.
func (s *sim) settle() {
	s.log("-- quiet")
	clear(s.at)
	s.fault, s.errno, s.cache, s.config.Sums = simFault{}, simFault{}, simFault{}, false // each start would compare sums
	if s.tree().State != wire.Watched {
		s.tree().Start(false)
		s.calm = false
	}
	s.tree().Publish()
	switch {
	case len(s.loose) > 0 || s.stripped || s.unlinked:
		<-time.After(200 * time.Hour) // a full walk is due
	case s.setBack:
		<-time.After(2 * time.Hour) // until then deletions may wait for the source's clock
	default:
		<-time.After(11 * time.Minute)
	}
	s.quiet(false)
	if s.err != nil {
		return
	}
	s.log("-- healed")
	s.site.Nameless = false
	s.config.NoDelete, s.config.NoLinks, s.config.Filters, s.config.MaxDelete = false, false, nil, "100%"
	s.config.MinSize, s.config.MaxSize, s.config.MaxAge = 0, 0, 0
	if s.config.HardLinks {
		<-time.After(200 * time.Hour) // a name that came may be linked with the next full walk only
	}
	s.calm = false
	s.tree().ListAll()
	s.tree().Publish()
	s.quiet(true)
}

// quiet runs passes until the copy is complete: two, or more if something is held.
func (s *sim) quiet(healed bool) {
	adopt := s.config.Adopt
	s.config.Adopt = false
	s.pass(ending{})
	if id, _ := s.marker(); id != s.tree().ID {
		if s.config.Adopt = adopt || healed; !s.config.Adopt {
			return // it is refused
		}
		s.calm = false
		s.pass(ending{})
	}
	if s.differs(healed) != "" && s.err == nil {
		s.pass(ending{})
	}
	for range 2 {
		if _, held := s.marker(); len(held.Entries) == 0 || !healed {
			break
		}
		s.release()
		s.calm = false
		s.pass(ending{})
	}
	if s.err != nil {
		return
	}
	if _, held := s.marker(); len(held.Entries) > 0 || s.site.Nameless {
		return
	}
	if why := s.differs(healed); why != "" {
		if !healed && (s.config.NoDelete || len(s.config.Filters) > 0) {
			return // something stays where the source has something else
		}
		s.wrong("after two quiet passes: %s", why)
		return
	}
	if healed {
		s.checkSameLinks()
	}
	s.had, s.limits = s.config, []limits.Limits{s.config.limits()}
	s.idle()
}

// idle: a pass that finds nothing new asks once and writes nothing.
func (s *sim) idle() {
	before := s.read()
	s.pass(ending{})
	if len(s.site.Asked) != 1 {
		s.wrong("an idle pass asked for %q", s.site.Asked)
	}
	after := s.read()
	for _, path := range sortedKeys(before) {
		if after[path] != before[path] {
			s.wrong("an idle pass wrote /%s", path)
		}
	}
}

// differs says how the copy differs from the source, "" if it does not. If the source is
// not healed, what it hides now or ever hid may differ.
func (s *sim) differs(healed bool) string {
	t, now := s.tree(), s.read()
	paths := map[string]bool{}
	for _, p := range append(t.Paths(), sortedKeys(now)...) {
		paths[p] = true
	}
	for _, p := range sortedKeys(paths) {
		past := t.Past(p)
		is, has := now[p]
		v := past[len(past)-1]
		if s.excluded(p) || hidden(t, p) {
			continue
		}
		want := v.Kind != mtree.Other && !(s.config.NoLinks && v.Kind == mtree.Symlink)
		if !want && has && s.mayStay(t, p, is.kind, healed) {
			continue
		}
		if s.config.limits().Refuse(int64(len(v.Text)), v.MTime, t.Now()) && v.Kind == mtree.File && s.mayShowBefore(p, &is, has) {
			continue
		}
		if want != has || want && !s.shows(&is, has, &v) || want && v.Kind == mtree.Dir && !is.complete {
			return "/" + p + " is " + is.String(has) + ", the source has " + v.Version.String()
		}
	}
	return ""
}

// hidden reports whether the source does not list path, or may not read it or something
// above it.
func hidden(t *sourcetest.Tree, path string) bool {
	for {
		past := t.Past(path)
		if v := past[len(past)-1]; v.Denied || v.Unlisted {
			return true
		}
		if path == "" {
			return false
		}
		path = mtree.ParentPath(path)
	}
}

// mayStay reports whether an entry that the source no longer has may be in the copy.
func (s *sim) mayStay(t *sourcetest.Tree, path string, kind mtree.Kind, healed bool) bool {
	if s.config.NoDelete || len(s.config.Filters) > 0 && kind == mtree.Dir {
		return true
	}
	for up := path; up != "" && !healed; up = mtree.ParentPath(up) {
		if s.everHid(t, mtree.ParentPath(up)) {
			return true
		}
	}
	return false
}

// release carries out what is held, while no mirror runs.
func (s *sim) release() {
	s.out.Reset()
	clear(s.theirs)
	err := Release(context.Background(), s.config)
	s.log("= %s %v", strings.TrimSpace(s.out.String()), err)
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
