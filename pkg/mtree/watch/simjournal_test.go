package watch_test

import (
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// simJournal is what a reader by parts asks of a journal.
type simJournal interface {
	// read reads what is new. false: the journal proves nothing now.
	read(p *simkernel.Process, root *disk.Dir, tree journal.Tree) bool

	told(path string, s mtree.Stamp) journal.Told
	dirs(s mtree.Stamp) (dirs []string, ok bool)
}

// followed is the journal as serve reads it.
type followed struct {
	follower journal.Follower
	view     journal.View
}

func (f *followed) read(_ *simkernel.Process, root *disk.Dir, tree journal.Tree) bool {
	m, err := state.OpenMarker(root, "")
	if err != nil {
		return false
	}
	defer func() { _ = m.Close() }()
	f.view, err = f.follower.Read(m, tree)
	return err == nil
}

func (f *followed) told(path string, s mtree.Stamp) journal.Told { return f.view.Told(path, s) }
func (f *followed) dirs(s mtree.Stamp) ([]string, bool)          { return f.view.Dirs("", s) }

// plain is the journal as its format is written down: both files are read from the beginning
// each time, and nothing is remembered. It makes the mistakes that are planted.
type plain struct {
	planted planted
	batches []journal.Batch
	top     mtree.Stamp // the root's stamp now, for planted.after
}

// plainFile is what one file of a journal says.
type plainFile struct {
	head    string
	head5   [5]string // TREE, EPOCH, BOOT, RUN, NUMBER
	batches []journal.Batch
	locked  bool
	number  int64 // of the last batch that was written, by the lock
}

func (j *plain) read(p *simkernel.Process, root *disk.Dir, tree journal.Tree) bool {
	j.batches = nil
	var files [2]plainFile
	for i := range files {
		files[i].read(p, root, i)
	}
	for i := range files { // the heads again
		var again plainFile
		if again.read(p, root, i); again.head != files[i].head {
			return false
		}
	}
	text, err := p.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return false
	}
	boot := strings.TrimSpace(string(text))
	locked, number, run := false, int64(0), ""
	for _, f := range files {
		if f.locked {
			locked, number, run = true, f.number, f.head5[3]
		}
	}
	if j.planted.ignoresLock {
		locked = true
		run = cmpRun(files)
	}
	if !locked || run == "" {
		return false
	}
	for _, f := range files {
		if f.head5[3] == run && f.head5[0] == tree.ID && f.head5[1] == fmt.Sprint(tree.Epoch) && f.head5[2] == boot {
			j.batches = append(j.batches, f.batches...)
		}
	}
	slices.SortFunc(j.batches, func(a, b journal.Batch) int { return int(a.Number) - int(b.Number) })
	j.plant()
	for i := len(j.batches) - 1; i > 0; i-- {
		if j.batches[i-1].Number+1 != j.batches[i].Number && !j.planted.ignoresGaps {
			j.batches = j.batches[i:]
			break
		}
	}
	if n := len(j.batches); n == 0 || int64(j.batches[n-1].Number) < number && !j.planted.ignoresLock && !j.planted.after && !j.planted.ignoresGaps {
		return n == 0 && number == 0
	}
	return true
}

// cmpRun returns the run of the file with the higher number.
func cmpRun(files [2]plainFile) string {
	at := func(f plainFile) int { n, _ := strconv.Atoi(f.head5[4]); return n }
	if at(files[1]) > at(files[0]) {
		return files[1].head5[3]
	}
	return files[0].head5[3]
}

// read reads a file: all of its text, then its lock.
func (f *plainFile) read(p *simkernel.Process, root *disk.Dir, i int) {
	fd, err := p.Openat(root.FD(), fmt.Sprintf("%s/journal.%d", mtree.MarkerName, i), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = p.Close(fd) }()
	text, err := p.Pread(fd, math.MaxInt32, 0)
	if err != nil {
		return
	}
	l, err := p.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, unix.Flock_t{Type: unix.F_WRLCK})
	f.locked, f.number = err == nil && l.Type == unix.F_WRLCK, l.Start
	head, rest, ok := strings.Cut(string(text), "\n")
	fields := strings.Split(head, "\t")
	if !ok || len(fields) != 6 || fields[0] != "#journal 1" {
		return
	}
	f.head = head
	copy(f.head5[:], fields[1:])
	for rest != "" {
		b, after, ok := plainBatch(rest)
		if !ok {
			break // a batch that is cut off is none
		}
		f.batches, rest = append(f.batches, b), after
	}
}

// plainBatch reads the batch with which text begins.
func plainBatch(text string) (b journal.Batch, rest string, ok bool) {
	end := strings.Index(text, "\n-")
	if text[0] != '+' || end < 0 || len(text) < end+2+8+1 || text[end+2+8] != '\n' {
		return b, "", false
	}
	body, rest := text[:end+1], text[end+2+8+1:]
	if text[end+2:end+2+8] != fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body))) {
		return b, "", false
	}
	for i, line := range strings.Split(strings.TrimSuffix(body, "\n"), "\n") {
		fields := strings.Split(line, "\t")
		if i == 0 {
			number, err := strconv.ParseUint(fields[0][1:], 10, 64)
			floor, err2 := mtree.ParseStamp(fields[1])
			if b.Number, b.Floor = number, floor; err != nil || err2 != nil {
				return b, "", false
			}
			continue
		}
		l, ok := plainLine(fields)
		if !ok {
			return b, "", false
		}
		b.Lines = append(b.Lines, l)
	}
	return b, rest, true
}

func plainLine(fields []string) (l journal.Line, ok bool) {
	if len(fields) < 3 || !strings.HasPrefix(fields[0], "./") || !strings.HasSuffix(fields[0], "/") {
		return l, false
	}
	path := strings.TrimSuffix(strings.TrimPrefix(fields[0], "./"), "/")
	var err, err2 error
	if l.Path, err = mtree.UnescapeName(path); err != nil && path != "" {
		return l, false
	}
	if l.Known = fields[1] != "-"; l.Known {
		l.From, err = mtree.ParseStamp(fields[1])
		l.To, err2 = mtree.ParseStamp(fields[2])
	}
	for _, name := range fields[3:] {
		switch name {
		case "**":
			l.Below, l.Unknown = true, true
		case "*":
			l.Unknown = true
		default:
			l.Names = append(l.Names, name) // with its slash
		}
	}
	return l, err == nil && err2 == nil
}

// since returns the batches that may have given a stamp above s: those whose successor began
// above it, and the last one.
func (j *plain) since(s mtree.Stamp) []journal.Batch {
	for i := len(j.batches) - 1; i > 0; i-- {
		if !j.batches[i].Floor.After(s) {
			return j.batches[i:]
		}
	}
	return j.batches
}

func (j *plain) told(path string, s mtree.Stamp) (t journal.Told) {
	names := map[string]bool{}
	for _, b := range j.since(s) {
		for _, l := range b.Lines {
			switch {
			case l.Path == path && l.Unknown:
				return journal.Told{Whole: true}
			case l.Below && (l.Path == "" || strings.HasPrefix(path, l.Path+"/")):
				return journal.Told{Whole: true, Below: true}
			case l.Path != path:
				continue
			}
			if l.Known {
				t.Spans = append(t.Spans, mtree.Span{From: l.From, To: l.To})
			}
			for _, name := range l.Names {
				names[strings.TrimSuffix(name, "/")] = true
			}
		}
	}
	for name := range names {
		t.Names = append(t.Names, name)
	}
	slices.Sort(t.Names)
	t.Whole = len(t.Names) > 0 && len(t.Spans) == 0
	return t
}

func (j *plain) dirs(s mtree.Stamp) (dirs []string, ok bool) {
	for _, b := range j.since(s) {
		for _, l := range b.Lines {
			dirs = append(dirs, l.Path)
		}
	}
	slices.SortFunc(dirs, mtree.TreeOrder)
	return slices.Compact(dirs), true
}
