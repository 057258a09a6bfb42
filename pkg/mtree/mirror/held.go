package mirror

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
)

// Held deletions stand in the marker, so that people can look at them and
// release them:
//
//	#held REASON
//	ENTRIES KIND MTIME PATH
//
// one line for each, KIND f, d, l or o, PATH escaped as in a listing; each REASON
// stands above those that are held for it. A release is a copy of that file under
// another name: it allows exactly what it lists.
const (
	heldName    = "held"
	releaseName = "release"
)

// heldList is the file of held deletions. The zero value is an empty one.
type heldList struct {
	entries []deletion
	byPath  map[string]*deletion // made by index
}

const kindLetters = "ofdl" // by mtree.Kind

func (l *heldList) format() (out []byte) {
	why := ""
	for i := range l.entries {
		e := &l.entries[i]
		if e.why != why || i == 0 {
			why = e.why
			out = append(out, "#held "+why+"\n"...)
		}
		out = fmt.Appendf(out, "%d %c %s ", e.entries, kindLetters[e.kind], e.mtime)
		out = append(mtree.AppendEscaped(out, e.path), '\n')
	}
	return out
}

// total counts entries, those below held directories included.
func (l *heldList) total() int64 {
	return countDeletions(l.entries)
}

// why names the reasons, each once.
func (l *heldList) why() string {
	var all []string
	for i := range l.entries {
		if why := l.entries[i].why; !slices.Contains(all, why) {
			all = append(all, why)
		}
	}
	return strings.Join(all, "; ")
}

// index makes the list one that at and has can be asked of by several goroutines.
func (l *heldList) index() {
	l.byPath = make(map[string]*deletion, len(l.entries))
	for i := range l.entries {
		l.byPath[l.entries[i].path] = &l.entries[i]
	}
}

// at returns the deletion of the entry at path, nil if it is not held.
func (l *heldList) at(path string) *deletion {
	if l == nil {
		return nil
	}
	return l.byPath[path]
}

// has reports whether this very deletion is in the list, and for that reason if
// it would destroy another tree or copy.
func (l *heldList) has(d *deletion) bool {
	e := l.at(d.path)
	return e != nil && e.kind == d.kind && e.mtime == d.mtime && e.entries == d.entries && (d.why != whyTree || e.why == whyTree)
}

// readHeld reads such a file; a missing one is an empty list.
func readHeld(m *state.Marker, name string) (heldList, error) {
	var l heldList
	f, _, err := m.OpenFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	defer f.Close()
	reason := ""
	in := bufio.NewScanner(f)
	in.Buffer(nil, 64<<10)
	for in.Scan() {
		if why, ok := strings.CutPrefix(in.Text(), "#held "); ok {
			reason = why
			continue
		}
		e, err := parseHeld(in.Text())
		if err != nil {
			return heldList{}, fmt.Errorf("%s: %w", f.Name(), err)
		}
		e.why = reason
		l.entries = append(l.entries, e)
	}
	if err := in.Err(); err != nil {
		return heldList{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	l.index()
	return l, nil
}

func parseHeld(line string) (e deletion, err error) {
	fields := strings.Split(line, " ")
	if len(fields) != 4 || len(fields[1]) != 1 || strings.IndexByte(kindLetters, fields[1][0]) < 0 {
		return e, fmt.Errorf("not a held deletion: %.100q", line)
	}
	e.kind = mtree.Kind(strings.IndexByte(kindLetters, fields[1][0]))
	if e.entries, err = strconv.ParseInt(fields[0], 10, 64); err != nil {
		return e, err
	}
	if e.mtime, err = mtree.ParseStamp(fields[2]); err != nil {
		return e, err
	}
	if e.path, err = mtree.UnescapeName(fields[3]); err != nil {
		return e, err
	}
	return e, mtree.CheckPath(e.path)
}

// markReleased marks what waits and was released.
func (p *pass) markReleased(waiting []*node) {
	for _, n := range waiting {
		for i := range n.deletions {
			d := &n.deletions[i]
			d.released = p.release.has(d)
		}
	}
}

// carry keeps what was held before where nothing is known of the source now: no
// news is no reason to end a hold.
func (p *pass) carry(waiting []*node) {
	if len(p.was.entries) == 0 || len(p.unseen) == 0 {
		return
	}
	now := map[string]bool{}
	for _, n := range waiting {
		for i := range n.deletions {
			now[n.deletions[i].path] = true
		}
	}
	for _, e := range p.was.entries {
		n := p.unknown(e.path)
		if now[e.path] || n == nil {
			continue
		}
		for ; n != nil; n = n.parent {
			n.blocked = true // also above what serve may not read: the next pass looks again
		}
		p.hold(e)
		if !e.byItself() {
			p.carried += e.entries
		}
	}
}

// unknown returns the node at or above path of which nothing is known now; nil if
// there is none.
func (p *pass) unknown(path string) *node {
	for {
		if n := p.unseen[path]; n != nil || path == "" {
			return n
		}
		path = mtree.ParentPath(path)
	}
}

// storeHeld brings the file up to date, and writes only what is news. Then a
// release is answered: whoever waits for that looks at what is still held.
func (p *pass) storeHeld() error {
	err := p.writeHeld()
	if p.release != nil && err == nil {
		err = local(p.dest.marker.Remove(releaseName))
	}
	return err
}

func (p *pass) writeHeld() error {
	now := heldList{entries: p.holding}
	p.config.Stats.Held.Store(now.total())
	if len(now.entries) == 0 {
		if !p.wasUnread && len(p.was.entries) == 0 {
			return nil
		}
		return local(p.dest.marker.Remove(heldName))
	}
	p.config.Log.Warn("deletions held", "count", now.total(), "why", p.heldWhy,
		"remedy", "look at mirror --status DEST; mirror --release DEST carries them out")
	text := now.format()
	if !p.wasUnread && string(text) == string(p.was.format()) {
		return nil
	}
	return local(state.WriteFile(p.dest.marker.Dir(), heldName, text))
}

// recallHeld reads what was held and what was released before the pass.
func (p *pass) recallHeld() {
	if p.dest.marker == nil {
		return
	}
	var err error
	if p.was, err = readHeld(p.dest.marker, heldName); err != nil {
		p.wasUnread = true
		p.config.Log.Warn("held deletions are unreadable, writing them anew", "error", err)
	}
	p.gate.recall(&p.was, p.dest.status.Deletions == nil)
	if p.config.DryRun {
		return
	}
	list, err := readHeld(p.dest.marker, releaseName)
	switch {
	case err == nil && len(list.entries) > 0:
		p.release = &list
	case err != nil:
		// It releases nothing, and would be looked at again and again.
		p.config.Log.Warn("a release is unreadable: it is dropped", "error", errors.Join(err, p.dest.marker.Remove(releaseName)))
	}
}
