package notify

import "golang.org/x/sys/unix"

// merger merges the events of one directory: each name once.
type merger struct {
	DirEvents
	index map[string]int // of names in Entries, from the moment there are some
}

// Up to searched names are compared one by one, which is faster than a map.
const searched = 8

// add adds an event of a name. It returns the Entry, until the next one is added.
func (m *merger) add(name []byte) *Entry {
	i := m.find(name)
	if i < 0 {
		i = len(m.Entries)
		m.Entries = append(m.Entries, Entry{Name: string(name)})
		if m.index != nil {
			m.index[m.Entries[i].Name] = i
		}
	}
	return &m.Entries[i]
}

// writes are the events of a file that was written, or whose attributes were set. For this
// package, fanotify has the same bits as inotify.
const writes = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB

// happened adds what happened to the entry: an event's mask.
func (e *Entry) happened(isDir bool, mask uint64) {
	e.File = e.File || !isDir
	made, moved := mask&unix.IN_CREATE != 0, mask&unix.IN_MOVED_TO != 0
	if made || moved {
		e.Replaced, e.Came = e.Replaced || e.Written, true
	}
	e.Written = e.Written || mask&writes != 0 && !isDir && !e.Came
	e.Arrived = e.Arrived || isDir && (made || moved)
	e.Renamed, e.Moved = e.Renamed || !isDir && moved, e.Moved || isDir && moved
}

// find returns the index of the name in Entries, -1 if it is not there.
func (m *merger) find(name []byte) int {
	if m.index == nil && len(m.Entries) < searched {
		for i := range m.Entries {
			if m.Entries[i].Name == string(name) {
				return i
			}
		}
		return -1
	}
	if m.index == nil {
		m.index = make(map[string]int, 4*searched)
		for i := range m.Entries {
			m.index[m.Entries[i].Name] = i
		}
	}
	if i, ok := m.index[string(name)]; ok {
		return i
	}
	return -1
}
