package records

import (
	"errors"
	"io/fs"
	"sync"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// LogReader reads the log of a copy that somebody else keeps, and reads it again only
// after it changed. The zero value is ready; it may be used by several goroutines at
// once.
type LogReader struct {
	mu   sync.Mutex
	log  *Log
	info disk.Info // of the file, when it was read
}

// Read returns the log of the copy at root (marker in stateDir if that is not ""), nil if
// there is none: then the directories have extended attributes. Cost: two openat and a
// statx; after a change the whole log.
func (r *LogReader) Read(root *disk.Dir, stateDir string) (*Log, error) {
	m, err := state.OpenMarker(root, stateDir)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	info, err := m.Dir().Stat(LogName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.log != nil && info == r.info {
		return r.log, nil
	}
	log, err := ReadLog(m)
	if err != nil {
		return nil, err
	}
	_ = log.Close() // the records stay in memory
	r.log, r.info = log, info
	return log, nil
}
