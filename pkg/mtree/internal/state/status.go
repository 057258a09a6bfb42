package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/wire"
)

// Status is the file .tidemark/status.json, written by the holder of the lock. Times
// that are nil, and texts that are "", are not known.
//
// Some JSON names differ from the Go names: apart, chain and source_e here, linkless among
// the counters, and e in Tree. They are a disk format that older versions also read, so
// they stay.
type Status struct {
	State             wire.State       `json:"state"`
	Checkpoint        *mtree.Stamp     `json:"checkpoint,omitempty"` // source clock: everything before is published, or mirrored
	Floor             *mtree.Stamp     `json:"floor,omitempty"`      // highest stamp published; watch only
	Audit             *mtree.Stamp     `json:"audit,omitempty"`      // start of the last complete audit; watch only
	Boot              string           `json:"boot,omitempty"`       // boot id at the time of writing
	Mounted           string           `json:"mounted,omitempty"`    // machine.Stay of the root at that time; watch only
	Clean             bool             `json:"clean"`                // written by an orderly stop
	PID               int              `json:"pid,omitempty"`
	Updated           *mtree.Stamp     `json:"updated,omitempty"`      // when this was written, local clock
	Up                time.Duration    `json:"up,omitempty"`           // nanoseconds since boot at that time, asleep or not; watch only
	Root              *mtree.Stamp     `json:"root,omitempty"`         // the root's stamp
	Backend           string           `json:"backend,omitempty"`      // watch only
	CrossMounts       *bool            `json:"cross_mounts,omitempty"` // watch hears beyond mounts; watch only
	Counters          map[string]int64 `json:"counters,omitempty"`
	Error             string           `json:"error,omitempty"`    // the last one, without paths
	Stamps            int              `json:"stamps,omitempty"`   // lines of .tidemark/stamps; watch only
	Unread            int              `json:"unread,omitempty"`   // lines of .tidemark/unread
	Exceptions        int64            `json:"apart,omitempty"`    // changes whenever one of these gets or loses a directory
	Upstreams         string           `json:"chain,omitempty"`    // wire.FormatUpstreams of a copy's source
	SourceFingerprint string           `json:"source_e,omitempty"` // of a copy: Tree.Fingerprint when it was last complete

	// Of a copy: what its source said of itself, when the last pass began.
	SourceState  wire.State `json:"source_state,omitempty"`
	SourceUnread int        `json:"source_unread,omitempty"` // directories that its watch may not read

	// Of a copy: the run of the source's watch that it listed last, and in that run the highest
	// time that it listed which may be a stamp, the highest that cannot be anything else, and the
	// highest of a root with everything below it; and when the source read that root.
	SourceRun   string       `json:"source_run,omitempty"`
	SourceTop   *mtree.Stamp `json:"source_top,omitempty"`
	SourceSure  *mtree.Stamp `json:"source_sure,omitempty"`
	SourceWhole *mtree.Stamp `json:"source_whole,omitempty"`
	SourceRead  *mtree.Stamp `json:"source_read,omitempty"`

	Deletions *Deletions `json:"deletions,omitempty"` // copy only

	Entries *Entries `json:"entries,omitempty"` // how much the tree has; nil: nobody counted
	Pass    *Pass    `json:"pass,omitempty"`    // of a copy: the pass that runs, if it takes long

	SourceEntries *wire.Entries `json:"source_entries,omitempty"` // of a copy: what its source had, when the last pass began
	Filled        *wire.Entries `json:"filled,omitempty"`         // of a copy that was never complete: what its complete directories have

	// Of a copy, by its own clock: up to when it is known to be what its source
	// published, when this was written; and since when the source does not answer.
	Confirmed *mtree.Stamp `json:"confirmed,omitempty"`
	Away      *mtree.Stamp `json:"away,omitempty"`

	// Walked says that a copy was completed by a full walk of a source whose stamps do not
	// prune. The copy has the same stamps, which so do not prune either.
	Walked bool `json:"walked,omitempty"`
}

// Entries is how much a tree has, and when that was counted.
type Entries struct {
	wire.Entries
	At *mtree.Stamp `json:"at,omitempty"` // when the audit, or the walk, began; nil: the source did not say
}

// String returns it for people: "3 files, 2 directories, 5120 bytes, counted at STAMP".
func (e *Entries) String() string {
	text := fmt.Sprintf("%d files, %d directories, %d bytes", e.Files, e.Directories, e.Bytes)
	if e.At != nil {
		text += ", counted at " + e.At.String()
	}
	return text
}

// Pass is how far a pass of mirror had come when it was written.
type Pass struct {
	Began    mtree.Stamp  `json:"began"`             // by the local clock
	Permill  int64        `json:"permill"`           // done of it, in thousandths; below 0: not known
	About    bool         `json:"about,omitempty"`   // Permill, Left and Total are estimates
	Left     int64        `json:"left"`              // seconds until its end; below 0: not known
	Rate     int64        `json:"rate,omitempty"`    // bytes a second that arrive
	Listed   int64        `json:"listed,omitempty"`  // directories
	Fetched  int64        `json:"fetched,omitempty"` // files that arrived
	Bytes    int64        `json:"bytes,omitempty"`   // that arrived
	Finished wire.Entries `json:"finished"`          // of Total
	Total    wire.Entries `json:"total"`             // with Permill
}

// Deletions is what a mirror remembers of its copy for --max-delete.
type Deletions struct {
	Base int64 `json:"base,omitempty"` // entries of the copy at the end of the last full walk; 0: not counted

	// Recent has pairs of a minute (Unix) and the number of entries deleted in it, for
	// the last ten minutes; the oldest first.
	Recent [][2]int64 `json:"recent,omitempty"`

	Shut   bool `json:"shut,omitempty"`   // there is a hold: until it ends Base and Recent stay
	Unsure bool `json:"unsure,omitempty"` // a pass is under way, or was killed: the count of entries lacks what it made and deleted
}

// Readers use a status for StatusAge before they read it again. StatusLag is longer: a
// status that was written StatusLag ago is known to every reader.
const (
	StatusAge = 200 * time.Millisecond
	StatusLag = 300 * time.Millisecond
)

const (
	statusName = "status.json"
	statusSize = 4096 // bytes; the file always has this length, with blanks at its end
)

// statusPage is what the file holds. A number that is new with each write is at both
// ends, so that a reader recognizes a text that is half old, half new. A reader that
// meets two writes may see the same number at both ends and something newer in between:
// hence the sum.
type statusPage struct {
	Begin int64  `json:"begin,omitempty"`
	Sum   uint32 `json:"sum,omitempty"` // CRC-32 of the text without this field; 0: an older version wrote it, without a sum
	Status
	End int64 `json:"end,omitempty"`
}

// StatusFile is status.json, opened by the holder of the lock.
type StatusFile struct{ f sys.File }

// CreateStatus opens status.json for writing, and makes it if it is missing. A file that
// is too long is cut.
func (m *Marker) CreateStatus() (*StatusFile, error) {
	f, err := m.OpenOwn(statusName, true)
	if err != nil {
		return nil, err
	}
	info, err := disk.StatFile(f)
	if info.Size > statusSize {
		err = f.Truncate(statusSize)
	}
	err = errors.Join(err, f.Chmod(0o644))
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &StatusFile{f}, nil
}

// Write replaces the status with one pwrite of 4 KiB: ReadStatus sees the old or the
// new one, and no block is allocated after the first time. It is not durable, see Sync.
// If it would be too long, Pass is left out, then Counters and Error.
func (s *StatusFile) Write(status Status) error {
	text, err := statusText(status)
	if err != nil {
		return err
	}
	if len(text) >= statusSize && status.Pass != nil { // guard: TestWhatALongStatusLoses
		status.Pass = nil
		if text, err = statusText(status); err != nil {
			return err
		}
	}
	if len(text) >= statusSize {
		status.Error, status.Counters = "", nil
		if text, err = statusText(status); err != nil {
			return err
		}
	}
	if len(text) >= statusSize {
		return fmt.Errorf("%s: status too long", s.f.Name())
	}
	page := bytes.Repeat([]byte{' '}, statusSize)
	copy(page, text)
	page[statusSize-1] = '\n'
	_, err = s.f.WriteAt(page, 0)
	return err
}

// StillIn reports whether the file still has its name in m. Cost: fstat, statx.
func (s *StatusFile) StillIn(m *Marker) bool {
	own, err1 := disk.StatFile(s.f)
	there, err2 := m.dir.Stat(statusName)
	return disk.IsUnsure(err1) || disk.IsUnsure(err2) || err1 == nil && own.Node == there.Node
}

// CTime returns the file's ctime: when it was written last, by the clock of its file system.
// Cost: fstat.
func (s *StatusFile) CTime() (mtree.Stamp, error) {
	info, err := disk.StatFile(s.f)
	return info.CTime, err
}

// Displaced reports whether the file's name in m is now that of another file, or of none.
// If the disk does not tell, it is false, and StillIn is true. Cost: fstat, statx.
func (s *StatusFile) Displaced(m *Marker) bool {
	own, err1 := disk.StatFile(s.f)
	there, err2 := m.dir.Stat(statusName)
	return err1 == nil && (errors.Is(err2, fs.ErrNotExist) || err2 == nil && own.Node != there.Node)
}

// statusText returns a status as text for the file, without the blanks.
func statusText(status Status) ([]byte, error) {
	number := time.Now().UnixNano()
	text, err := json.Marshal(statusPage{Begin: number, Status: status, End: number})
	if err != nil {
		return nil, err
	}
	at := bytes.IndexByte(text, ',') + 1 // after begin
	return slices.Insert(text, at, sumField(crc32.ChecksumIEEE(text))...), nil
}

func sumField(sum uint32) []byte { return fmt.Appendf(nil, `"sum":%d,`, sum) }

// whole reports whether the text of a page comes from a single write.
func (p *statusPage) whole(text []byte) bool {
	return p.Begin == p.End && (p.Sum == 0 || crc32.ChecksumIEEE(bytes.Replace(text, sumField(p.Sum), nil, 1)) == p.Sum)
}

// Sync makes the status durable, with fsync(2).
func (s *StatusFile) Sync() error { return s.f.Sync() }

// Close closes the file.
func (s *StatusFile) Close() error { return s.f.Close() }

// ReadStatus reads status.json. Without one the error is fs.ErrNotExist. A read while
// the holder writes may see the beginning of the new text and the end of the old one:
// it is repeated, for 50 ms at most. Cost: openat, statx, read.
func (m *Marker) ReadStatus() (Status, error) {
	const tries = 50
	for try := 1; ; try++ {
		status, err := m.readStatus()
		if !errors.Is(err, errTorn) || try == tries {
			return status, err
		}
		<-time.After(time.Millisecond) // the writer may have lost its processor
	}
}

var errTorn = errors.New("not one whole status")

func (m *Marker) readStatus() (Status, error) {
	var page statusPage
	text, err := ReadFile(m.dir, statusName)
	if err != nil {
		return page.Status, err
	}
	text = bytes.TrimRight(text, " \n\x00")
	if len(text) == 0 { // just made, and not written yet
		return page.Status, m.dir.PathError("read", statusName, unix.ENOENT)
	}
	if err := json.Unmarshal(text, &page); err != nil {
		return Status{}, fmt.Errorf("%s/%s: %w: %w", m.dir.Path(), statusName, errTorn, err)
	}
	if !page.whole(text) {
		return Status{}, fmt.Errorf("%s/%s: %w", m.dir.Path(), statusName, errTorn)
	}
	return page.Status, nil
}

// IsComplete reports whether a copy with this status was complete once.
func (s *Status) IsComplete() bool { return s.State == wire.Mirrored }

// CheckpointHolds reports whether the checkpoint can be relied on: it was written in
// this boot, or by an orderly stop. After a power cut the checkpoint may be on disk,
// but not the stamps that were set before it. The disk alone may lose its power, or be
// pulled out, and come back in the same boot: mounted is machine.Stay of the root now, ""
// if that is not known.
func (s *Status) CheckpointHolds(mounted string) bool {
	away := s.Mounted != "" && mounted != "" && s.Mounted != mounted
	return s.Checkpoint != nil && (s.Clean || s.Boot != "" && s.Boot == machine.BootID() && !away)
}
