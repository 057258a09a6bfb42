package publish

import "hash/maphash"

// lately are the names that were written as the last batches tell. Something else may have got
// such a name after the events were taken, and before the plan looked at it: then what was
// written was not looked at, and may have other names. The event of that comes in the next
// batch. The zero lately is ready. Memory: 16 bytes a name, of 65,536 names at most.
type lately struct {
	names map[uint64]struct{} // hashes; another name with the same one costs a whole listing
	full  bool                // there were more names than are kept
}

const latelySize = 1 << 16

var latelySeed = maphash.MakeSeed()

func hashName(dir, name string) uint64 {
	return maphash.Comparable(latelySeed, [2]string{dir, name})
}

// add adds a name.
func (l *lately) add(dir, name string) {
	if len(l.names) == latelySize {
		l.full = true
		return
	}
	if l.names == nil {
		l.names = map[uint64]struct{}{}
	}
	l.names[hashName(dir, name)] = struct{}{}
}

// has reports whether a name was added, or may have been.
func (l *lately) has(dir, name string) bool {
	if l.names == nil {
		return false
	}
	_, ok := l.names[hashName(dir, name)]
	return ok || l.full
}

// join adds all names of another one.
func (l *lately) join(other lately) {
	l.full = l.full || other.full || len(l.names)+len(other.names) > latelySize
	if l.names == nil {
		l.names = other.names
		return
	}
	if !l.full {
		for key := range other.names {
			l.names[key] = struct{}{}
		}
	}
}
