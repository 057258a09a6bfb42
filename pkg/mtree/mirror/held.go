package mirror

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// Held deletions stand in the marker, so that people can look at them and
// release them:
//
//	#held REASON
//	ENTRIES KIND MTIME PATH
//
// one line for each, KIND f, d, l or o, PATH escaped as in a listing. A release
// is a copy of that file under another name: it allows exactly what it lists.
const (
	heldName    = "held"
	releaseName = "release"
)

// heldEntry is one deletion that a guard refused.
type heldEntry struct {
	path string
	doomed
}

// heldList is the file of held deletions. The zero value is an empty one.
type heldList struct {
	why     string
	entries []heldEntry
	byPath  map[string]*heldEntry // made by has
}

const kindLetters = "ofdl" // by mtree.Kind

func (l *heldList) format() []byte {
	out := []byte("#held " + l.why + "\n")
	for i := range l.entries {
		e := &l.entries[i]
		out = fmt.Appendf(out, "%d %c %s ", e.entries, kindLetters[e.kind], e.mtime)
		out = append(mtree.AppendEscaped(out, e.path), '\n')
	}
	return out
}

// total counts entries, those below held directories included.
func (l *heldList) total() (n int64) {
	for i := range l.entries {
		n += l.entries[i].entries
	}
	return n
}

// has reports whether this very deletion is in the list.
func (l *heldList) has(dir string, d *doomed) bool {
	if l == nil {
		return false
	}
	if l.byPath == nil {
		l.byPath = make(map[string]*heldEntry, len(l.entries))
		for i := range l.entries {
			l.byPath[l.entries[i].path] = &l.entries[i]
		}
	}
	e := l.byPath[mtree.JoinPath(dir, d.name)]
	return e != nil && e.kind == d.kind && e.mtime == d.mtime && e.entries == d.entries
}

// readHeld reads such a file; a missing one is an empty list.
func readHeld(m *disk.Marker, name string) (heldList, error) {
	var l heldList
	f, _, err := m.Dir().OpenFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 64<<10)
	for in.Scan() {
		if why, ok := strings.CutPrefix(in.Text(), "#held "); ok {
			l.why = why
			continue
		}
		e, err := parseHeld(in.Text())
		if err != nil {
			return heldList{}, fmt.Errorf("%s: %w", f.Name(), err)
		}
		l.entries = append(l.entries, e)
	}
	return l, in.Err()
}

func parseHeld(line string) (e heldEntry, err error) {
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
	e.name = mtree.BaseName(e.path)
	return e, mtree.CheckPath(e.path)
}

// released counts the entries among what waits that were released.
func (p *pass) released(waiting []*node) (total int64) {
	for _, n := range waiting {
		for i := range n.doomed {
			if p.release.has(n.path, &n.doomed[i]) {
				total += n.doomed[i].entries
			}
		}
		for i := range n.swaps {
			if p.release.has(n.path, &n.swaps[i].doomed) {
				total += n.swaps[i].entries
			}
		}
	}
	return total
}

// storeHeld brings the file up to date, and writes only what is news. Then a
// release is answered: whoever waits for that looks at what is still held.
func (p *pass) storeHeld() error {
	err := p.writeHeld()
	if p.release != nil && err == nil {
		err = local(p.dest.marker.Dir().Unlink(releaseName))
	}
	return err
}

func (p *pass) writeHeld() error {
	now := heldList{why: p.heldWhy, entries: p.holding}
	p.config.Stats.Held.Store(now.total())
	old, err := readHeld(p.dest.marker, heldName)
	if err != nil {
		p.config.Log.Warn("held deletions are unreadable, writing them anew", "error", err)
	}
	if len(now.entries) == 0 {
		if err == nil && len(old.entries) == 0 {
			return nil
		}
		return local(p.dest.marker.Dir().Unlink(heldName))
	}
	p.config.Log.Warn("deletions held", "count", now.total(), "why", now.why,
		"remedy", "look at mirror --status DEST; mirror --release DEST carries them out")
	text := now.format()
	if err == nil && string(text) == string(old.format()) {
		return nil
	}
	return local(p.dest.marker.Dir().WriteSmall(heldName, text))
}
