package disk

import (
	"errors"
	"fmt"
	"sync"
)

// ErrReplaced says that the path of a root names another directory than the
// one that was opened: after mv, rm, a mount over it, or an unmount.
var ErrReplaced = errors.New("another directory than at the start")

// Standing returns nil if path still names the directory d, ErrReplaced if it
// names another one, and else why it names none. Cost: openat, two statx.
func (d *Dir) Standing(path string) error {
	there, err := OpenRoot(path)
	if err != nil {
		return err
	}
	defer there.Close()
	was, err := d.Self()
	if err != nil {
		return err
	}
	now, err := there.Self()
	if err == nil && now.Node != was.Node {
		err = fmt.Errorf("%q: %w", path, ErrReplaced)
	}
	return err
}

// LogReader reads the record log of a copy that somebody else keeps, and reads
// it again only after it changed. The zero value is ready; it may be used by
// several goroutines at once.
type LogReader struct {
	mu   sync.Mutex
	log  *RecordLog
	info Info // of its file, when it was read
}

// Read returns the records of the copy at root (marker in stateDir if not ""),
// nil where there is no log: directories there have extended attributes. Cost:
// two openat and a statx; after a change the whole log.
func (r *LogReader) Read(root *Dir, stateDir string) (*RecordLog, error) {
	m, err := OpenMarker(root, stateDir)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	info, err := m.dir.Stat(recordLogName)
	if isNotExist(err) {
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
	log, err := m.ReadRecordLog()
	if err != nil {
		return nil, err
	}
	_ = log.Close() // it was read; what was read stays
	r.log, r.info = log, info
	return log, nil
}
