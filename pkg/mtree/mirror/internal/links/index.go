package links

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
)

// Index is what is known of the names that are links. Several goroutines may use it. After an error of
// its file it forgets everything, and says so in the log.
type Index struct {
	log  *slog.Logger
	seed maphash.Seed

	mu     sys.Mutex
	file   *log
	begun  int64 // ctimes of lines before this place are not compared
	names  table // by path
	files  table // by Same: the line of the newest name
	behind map[behind]bool
	unsure map[string]bool // directories of names that could not be looked at, since Behind was called
	left   map[string]bool // paths of names that are no links, or of other files, since Left was called
	dead   bool            // the file cannot be written: nothing is noted

	joining [64]sys.Mutex // by Same: see Lock
}

// behind is a file of the copy whose names may be those of another file by now.
type behind struct{ same, node uint64 }

const (
	mostBehind = 100_000   // files; the others wait for a full walk
	mostIdle   = 256 << 20 // bytes of the file, if it has few names
	mostNames  = 1 << 16   // names of one file that Behind looks at
)

// Open opens the index of a copy, and makes it if it is missing. root tells the copy's root from others;
// an index of another one is emptied. If most lines are out of date, the file is written anew, if that can be.
// Cost: the file is read.
func Open(m *state.Marker, root string, log *slog.Logger) (*Index, error) {
	x, lines, err := open(m, Name, head(root), log)
	if err != nil {
		return nil, err
	}
	if lines > 2*x.names.n+10_000 {
		next, err := x.rewrite(m)
		if err != nil { // guard: TestAnIndexThatCannotBeWrittenAnew
			log.Warn("the index of hard links cannot be written anew: it stays as it is", "error", err,
				"remedy", "make room on the file system of DEST: the next start tries again")
			return x, nil
		}
		x.Close()
		x = next
	}
	return x, nil
}

// IsNew reports whether nothing was known of the copy when the index was opened.
func (x *Index) IsNew() bool { return x.file.anew }

// head is the first line of an index.
func head(root string) string { return fmt.Sprintf("#links 1 %s\n", mtree.EscapeName(root)) }

func open(m *state.Marker, name, head string, log *slog.Logger) (x *Index, lines int, err error) {
	x = &Index{log: log, seed: maphash.MakeSeed(), behind: map[behind]bool{}, left: map[string]bool{}, unsure: map[string]bool{}}
	if x.file, err = openLog(m, name, head); err != nil {
		return nil, 0, err
	}
	if lines, err = x.file.load(x.index); err != nil {
		x.Close()
		return nil, 0, err
	}
	return x, lines, nil
}

// rewrite replaces the file by one with the present names.
func (x *Index) rewrite(m *state.Marker) (*Index, error) {
	const temp = "." + Name + ".new"
	if err := m.Remove(temp); err != nil {
		return nil, err
	}
	next, err := x.writeTo(m, temp)
	if err != nil {
		_ = m.Remove(temp)
	}
	return next, err
}

// writeTo writes the file anew under another name, which then replaces it.
func (x *Index) writeTo(m *state.Marker, temp string) (*Index, error) {
	next, _, err := open(m, temp, x.file.head, x.log)
	if err != nil {
		return nil, err
	}
	if err = x.noteIn(next); err == nil {
		err = next.file.file.Sync() // or a power cut may leave neither of the two
	}
	if err == nil {
		err = m.Dir().Rename(temp, m.Dir(), Name)
	}
	if err != nil {
		next.Close()
		return nil, err
	}
	next.file.anew = false
	return next, nil
}

// noteIn writes the names into another index, as their files are now.
func (x *Index) noteIn(next *Index) error {
	for place := int64(len(x.file.head)); place < x.file.size; {
		text, err := x.file.text(place)
		if err != nil {
			return err
		}
		if f, _, _ := parseLine(text); x.isNewest(f.Path, place) {
			if whole := x.newest(f.Same); whole.at != 0 {
				whole.Path = f.Path
				next.note(&whole.File)
			}
		}
		if place += int64(len(text)) + 1; len(next.file.pending) > mostKept {
			if err := next.file.write(); err != nil {
				return err
			}
		}
	}
	return next.file.write()
}

// Close closes the file. What was not committed is lost.
func (x *Index) Close() {
	if x != nil {
		_ = x.file.file.Close()
	}
}

// Lock lets nobody else link to the names of a file, until unlock is called.
func (x *Index) Lock(same uint64) (unlock func()) {
	mu := &x.joining[same%uint64(len(x.joining))]
	mu.Lock()
	return mu.Unlock
}

// Find returns what is known of the file with this Same: its newest name.
func (x *Index) Find(same uint64) (File, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	is := x.newest(same)
	return is.File, is.at != 0
}

// line is what a line says, where it begins, and where that of another name of the file does; at is 0
// if there is none.
type line struct {
	File
	at, before int64
}

// newest returns the newest line of a file.
func (x *Index) newest(same uint64) line {
	return x.lineOf(&x.files, x.hashFile(same), func(f *File) bool { return f.Same == same })
}

// lineOf returns the line of a table with this hash for which is says so.
func (x *Index) lineOf(t *table, hash uint64, is func(f *File) bool) (l line) {
	t.find(hash, func(at int64) bool {
		f, before, err := x.file.at(at)
		if err != nil || !is(&f) {
			return false
		}
		l = line{f, at, before}
		return true
	})
	return l
}

// isNewest reports whether the line of this name that begins at a place is its newest one.
func (x *Index) isNewest(path string, at int64) bool {
	_, found := x.names.find(x.hashName(path), isPlace(at))
	return found == at
}

func isPlace(place int64) func(at int64) bool { return func(at int64) bool { return at == place } }

// Names returns the file with this Same once for each of its names, the newest first, at most so many.
func (x *Index) Names(same uint64, most int) (files []File) {
	x.mu.Lock()
	defer x.mu.Unlock()
	is := x.newest(same)
	for l, n := is, 0; l.at != 0 && len(files) < most && n < mostNames; n++ {
		if l.Node == is.Node && x.isNewest(l.Path, l.at) {
			one := is.File
			one.Path = l.Path
			files = append(files, one)
		}
		l = x.other(&l)
	}
	return files
}

// other returns the line of another name of the same file, the next older one.
func (x *Index) other(l *line) (next line) {
	if l.before == 0 {
		return next
	}
	f, before, err := x.file.at(l.before)
	if err != nil {
		return next
	}
	return line{File: f, at: l.before, before: before}
}

// Of returns the file of which path is a name, as it is now: its newest name.
func (x *Index) Of(path string) (File, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f, _ := x.named(path)
	is := x.newest(f.Same) // no file is 0
	return is.File, is.at != 0
}

// named returns the newest line of a name; ok is false if it is no link, or no longer one.
func (x *Index) named(path string) (l line, ok bool) {
	l = x.lineOf(&x.names, x.hashName(path), func(f *File) bool { return f.Path == path })
	return l, l.Same != 0
}

// Begin begins a pass after the source was rolled back, or its clock set back: nothing that was noted so far is of
// a later version than what is listed from now on, though its ctime may be later.
func (x *Index) Begin() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.begun = x.file.end()
}

// KnowsLater reports whether a later version of the file that e lists is known, by its ctime at the source.
func (x *Index) KnowsLater(e *mtree.Entry) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	is := x.newest(e.Same)
	return x.isLater(&is, e.CTime)
}

// isLater reports whether a line is of a later version than that with this ctime.
func (x *Index) isLater(l *line, ctime mtree.Stamp) bool {
	if l.at < x.begun { // guard: TestACTimeThatWentBack
		return false
	}
	return l.at != 0 && ctime.Before(l.CTime) // guard (returns false): TestANameOfAnEarlierVersion
}

// Note notes a name of a file, as it is in the copy now. If the file of the copy is another one than
// before, or the name was one of another file, the other names are behind. If a later version is known,
// that stays, and the name is behind.
func (x *Index) Note(f File) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.note(&f)
}

func (x *Index) note(f *File) {
	if x.dead {
		return
	}
	// Lines that are out of date are only left out at the next start.
	if x.names.isFull() || x.files.isFull() || x.isIdle() {
		x.log.Info("more hard links than are remembered: those of before are forgotten")
		x.forget()
	}
	was, had := x.named(f.Path)
	is := x.newest(f.Same)
	known := is.at != 0
	if is.Node == f.Node { // another name was noted meanwhile
		f.CTime, f.Kept = mtree.Later(f.CTime, is.CTime), mtree.Later(f.Kept, is.Kept)
	}
	if was.Same == f.Same && is.sameBut(f) {
		return
	}
	if had && was.Same != f.Same {
		x.leave(&was.File)
	}
	if x.isLater(&is, f.CTime) {
		at := x.file.add(f, is.at)
		x.index(f, at)
		if place := x.file.add(&is.File, at); is.Path != f.Path {
			x.index(&is.File, place)
		} else {
			x.files.put(x.hashFile(is.Same), place, x.isFile(is.Same))
		}
		x.addBehind(behind{f.Same, f.Node})
		return
	}
	if known && is.Node != f.Node {
		x.addBehind(behind{f.Same, is.Node}) // guard: TestNamesThatAreBehind
	}
	x.indexAs(f, x.file.add(f, is.at), isPlace(was.at), isPlace(is.at))
}

// isIdle reports whether the file is large for the names that it has. So its places stay far below mostPlace.
func (x *Index) isIdle() bool {
	return x.file.size > max(mostIdle, 1024*int64(x.names.n)) // guard (returns false): TestAFileThatIsMostlyOutOfDate
}

// sameBut reports whether both are the same, but for their paths.
func (f *File) sameBut(other *File) bool {
	g := *other
	g.Path = f.Path
	return *f == g
}

// index makes a line the newest of its name, and of its file.
func (x *Index) index(f *File, at int64) { x.indexAs(f, at, x.isName(f.Path), x.isFile(f.Same)) }

// indexAs is index where it is known how the lines before are found.
func (x *Index) indexAs(f *File, at int64, isName, isFile func(at int64) bool) {
	if x.names.isFull() || x.files.isFull() {
		return // a file that somebody made: note forgets everything before
	}
	x.names.put(x.hashName(f.Path), at, isName)
	if f.Same != 0 {
		x.files.put(x.hashFile(f.Same), at, isFile)
	}
}

// Leave notes that a name is the only one of its file.
func (x *Index) Leave(path string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	was, had := x.named(path)
	if !had {
		return
	}
	x.leave(&was.File)
	gone := File{Path: path}
	x.index(&gone, x.file.add(&gone, 0))
}

// leave notes that a name left a file: what the others show may have changed, too.
func (x *Index) leave(name *File) {
	x.addBehind(behind{name.Same, x.newest(name.Same).Node}) // guard: TestNamesThatAreBehind
	if len(x.left) < mostBehind {
		x.left[name.Path] = true
	}
}

// Doubt notes that a name was made and not looked at: what file it is, is not known.
func (x *Index) Doubt(path string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.unsure) < mostBehind {
		x.unsure[mtree.ParentPath(path)] = true
	}
}

// Left returns the directories of names that left their files, and forgets it.
func (x *Index) Left() map[string]bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	dirs := map[string]bool{}
	for path := range x.left {
		dirs[mtree.ParentPath(path)] = true
	}
	clear(x.left)
	return dirs
}

func (x *Index) addBehind(b behind) {
	if len(x.behind) < mostBehind {
		x.behind[b] = true
	}
}

// Behind returns the directories of names that show what their files were before, and of those that are
// in doubt, and forgets it. is
// reports whether the copy has, at path, a file with this inode number. Cost: a line and a call for each
// name of a file that changed.
func (x *Index) Behind(is func(path string, node uint64) bool) map[string]bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	dirs := map[string]bool{}
	for b := range x.behind {
		for l, n := x.newest(b.same), 0; l.at != 0 && n < mostNames; n++ {
			if dir := mtree.ParentPath(l.Path); !dirs[dir] && x.isNewest(l.Path, l.at) && is(l.Path, b.node) {
				dirs[dir] = true
			}
			l = x.other(&l)
		}
	}
	maps.Copy(dirs, x.unsure)
	clear(x.behind)
	clear(x.unsure)
	return dirs
}

// Commit writes what was noted. The files must be on the disk. With flush it is on the disk, too, before
// Commit returns: what is stamped after that is not read again. System calls: pwrite, fsync.
func (x *Index) Commit(flush bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	wrote := len(x.file.pending) > 0
	err := x.file.write()
	if wrote && flush && err == nil {
		err = x.file.file.Sync() // TestPowerCut finds that it is missing, in one of three rounds
	}
	if err != nil {
		x.failed(err)
	}
}

// Forget forgets everything: what was noted may not be on the disk.
func (x *Index) Forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forget()
}

func (x *Index) forget() {
	x.names, x.files, x.begun = table{}, table{}, 0
	clear(x.behind)
	clear(x.unsure)
	clear(x.left)
	if err := x.file.empty(); err != nil && !x.dead {
		x.failed(err)
	}
}

func (x *Index) failed(err error) {
	x.log.Warn("the index of hard links cannot be written: it is forgotten", "error", err,
		"remedy", "make room on the file system of DEST, and start mirror again")
	x.dead = true // until the next start
	x.forget()
}

func (x *Index) hashName(path string) uint64 { return maphash.String(x.seed, path) }
func (x *Index) hashFile(same uint64) uint64 { return maphash.Comparable(x.seed, same) }

// isName returns whether a place has a line of this name.
func (x *Index) isName(path string) func(at int64) bool {
	return func(at int64) bool {
		f, _, err := x.file.at(at)
		return err == nil && f.Path == path
	}
}

// isFile returns whether a place has a line of this file.
func (x *Index) isFile(same uint64) func(at int64) bool {
	return func(at int64) bool {
		f, _, err := x.file.at(at)
		return err == nil && f.Same == same
	}
}
