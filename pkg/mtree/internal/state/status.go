package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/wire"
)

// Status is the file .tidemark/status.json, written by the lock's holder.
type Status struct {
	State             wire.State       `json:"state"`
	Checkpoint        *mtree.Stamp     `json:"checkpoint,omitempty"` // source clock: everything before is published, or mirrored
	Floor             *mtree.Stamp     `json:"floor,omitempty"`      // highest stamp published; watch only
	Audit             *mtree.Stamp     `json:"audit,omitempty"`      // start of the last complete audit; watch only
	Boot              string           `json:"boot,omitempty"`       // boot id at the time of writing
	Clean             bool             `json:"clean"`                // written by an orderly stop
	PID               int              `json:"pid,omitempty"`
	Updated           *mtree.Stamp     `json:"updated,omitempty"`      // local clock
	Up                time.Duration    `json:"up,omitempty"`           // nanoseconds since boot, asleep or not, when that was read; watch only
	Root              *mtree.Stamp     `json:"root,omitempty"`         // the root's stamp
	Backend           string           `json:"backend,omitempty"`      // watch only
	CrossMounts       *bool            `json:"cross_mounts,omitempty"` // how far watch hears; nil: not told
	Counters          map[string]int64 `json:"counters,omitempty"`
	Error             string           `json:"error,omitempty"`    // the last one, without paths
	Stamps            int              `json:"stamps,omitempty"`   // lines of .tidemark/stamps; watch only
	Unread            int              `json:"unread,omitempty"`   // of .tidemark/unread; watch only
	Apart             int64            `json:"apart,omitempty"`    // another one whenever a directory is new in one of these, or gone from it
	Upstreams         string           `json:"chain,omitempty"`    // wire.FormatUpstreams: how the source of a copy came about
	SourceFingerprint string           `json:"source_e,omitempty"` // of a copy: Tree.Fingerprint when it was complete last

	// Of a copy: which run of the source's watch it listed last, and the highest
	// stamp it listed in it.
	SourceRun string       `json:"source_run,omitempty"`
	SourceTop *mtree.Stamp `json:"source_top,omitempty"`

	Deletions *Deletions `json:"deletions,omitempty"` // copy only

	// Of a copy, by its own clock: until when it is known to be what its source
	// published, as of this writing, and since when the source gives no answer.
	Confirmed *mtree.Stamp `json:"confirmed,omitempty"`
	Away      *mtree.Stamp `json:"away,omitempty"`

	// Walked says that a copy was completed by a full walk of a source whose
	// stamps do not prune. Those of the copy are the same, so they do not either.
	Walked bool `json:"walked,omitempty"`
}

// Deletions is what a mirror remembers of its copy for --max-delete.
type Deletions struct {
	Base int64 `json:"base,omitempty"` // entries of the copy at the end of the last full walk, 0: not counted

	// Recent has how many entries were deleted in which minute (Unix), those of
	// the last ten; the oldest first.
	Recent [][2]int64 `json:"recent,omitempty"`

	Shut   bool `json:"shut,omitempty"`   // a hold stands: until it ends neither of the two moves
	Unsure bool `json:"unsure,omitempty"` // a pass is under way, or was killed: nobody counted what it made
}

// StatusLag is longer than any reader goes by what it has read of the status, which
// is StatusAge.
const (
	StatusLag = 300 * time.Millisecond
	StatusAge = 200 * time.Millisecond
)

const (
	statusName = "status.json"
	statusSize = 4096 // bytes; the file always has this length, blanks at its end
)

// statusPage is what the file holds: a number that is new with each write stands
// at both ends, so that a reader knows a text that is half old, half new. One that
// reads while two writes follow each other may see the old one at both ends, and
// something new between: hence the sum.
type statusPage struct {
	Begin int64  `json:"begin,omitempty"`
	Sum   uint32 `json:"sum,omitempty"` // CRC-32 of the text without this field; 0: none, an older version wrote it
	Status
	End int64 `json:"end,omitempty"`
}

// StatusFile is status.json opened by the lock's holder.
type StatusFile struct{ f *os.File }

// CreateStatus opens status.json for writing. It is no longer than it should be
// from then on.
func (m *Marker) CreateStatus() (*StatusFile, error) {
	fd, err := openOwn(m.dir, statusName, true)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), m.dir.Path()+"/"+statusName)
	err = f.Chmod(0o644)
	if info, statErr := disk.StatFD(fd); statErr == nil && info.Size > statusSize {
		err = errors.Join(err, f.Truncate(statusSize))
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &StatusFile{f}, nil
}

// Write replaces the status by one pwrite of a fixed length: ReadStatus sees the
// old or the new one, and no block is allocated after the first time. It is
// not made durable.
func (s *StatusFile) Write(status Status) error {
	text, err := statusText(status)
	if err != nil {
		return err
	}
	if len(text) >= statusSize {
		status.Error, status.Counters = "", nil
		if text, err = statusText(status); err != nil || len(text) >= statusSize {
			return fmt.Errorf("%s: status too long", s.f.Name())
		}
	}
	page := bytes.Repeat([]byte{' '}, statusSize)
	copy(page, text)
	page[statusSize-1] = '\n'
	_, err = s.f.WriteAt(page, 0)
	return err
}

// StillIn reports whether the file still has its name in m.
func (s *StatusFile) StillIn(m *Marker) bool {
	own, err1 := disk.StatFile(s.f)
	there, err2 := m.dir.Stat(statusName)
	return err1 == nil && err2 == nil && own.Node == there.Node
}

// Displaced reports whether another file, or none, has its name in m by now.
func (s *StatusFile) Displaced(m *Marker) bool {
	own, err1 := disk.StatFile(s.f)
	there, err2 := m.dir.Stat(statusName)
	return err1 == nil && (errors.Is(err2, fs.ErrNotExist) || err2 == nil && own.Node != there.Node)
}

// statusText returns a status as it stands in the file.
func statusText(status Status) ([]byte, error) {
	number := time.Now().UnixNano()
	text, err := json.Marshal(statusPage{Begin: number, Status: status, End: number})
	if err != nil {
		return nil, err
	}
	at := bytes.IndexByte(text, ',') + 1 // behind begin
	return slices.Insert(text, at, sumField(crc32.ChecksumIEEE(text))...), nil
}

func sumField(sum uint32) []byte { return fmt.Appendf(nil, `"sum":%d,`, sum) }

// whole reports whether a text is one that was written at once.
func (p *statusPage) whole(text []byte) bool {
	return p.Begin == p.End && (p.Sum == 0 || crc32.ChecksumIEEE(bytes.Replace(text, sumField(p.Sum), nil, 1)) == p.Sum)
}

// Sync makes the status durable.
func (s *StatusFile) Sync() error { return s.f.Sync() }

// Close closes the file.
func (s *StatusFile) Close() error { return s.f.Close() }

// ReadStatus reads status.json. Without one the error is fs.ErrNotExist. A read
// that runs while the holder writes may see the beginning of the new text and
// the end of the old one: it is repeated.
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
	if len(text) == 0 { // made just now, and not written yet
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

// CheckpointHolds reports whether the checkpoint can be trusted: it was written
// in this boot, or by an orderly stop. After a power cut it may be on disk
// while stamps set before it are not.
func (s *Status) CheckpointHolds() bool {
	return s.Checkpoint != nil && (s.Clean || s.Boot != "" && s.Boot == machine.BootID())
}

// Published is what a tree says of itself to its readers.
type Published struct {
	State  wire.State
	Tree   Tree // ID is "" where watch never ran, also of a copy's source
	Status Status
	Bound  bool // the tree file was written for this root
}

// IsCopy reports whether a mirror keeps the tree's directories, and says of each
// whether it is complete. A copy of a copy's files is no such thing.
func (p *Published) IsCopy() bool { return p.Tree.Role == Copy && p.Bound }

// ReadPublished reads tree, lock and status of the tree at root (marker in stateDir
// if not ""). A tree without a marker is unwatched and no error. Cost: about 15
// system calls.
func ReadPublished(d *disk.Dir, stateDir string) (Published, error) {
	none := Published{State: wire.Unwatched}
	m, err := OpenMarker(d, stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	defer m.Close()
	return m.Published()
}

// Published is ReadPublished for an open marker.
func (m *Marker) Published() (Published, error) {
	p := Published{State: wire.Unwatched}
	tree, err := m.ReadTree()
	if errors.Is(err, ErrNoTree) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	p.Tree = tree
	if p.Status, err = m.ReadStatus(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	locked, err := m.Locked()
	if err != nil {
		return p, err
	}
	root, err := RootOf(m.root)
	if err != nil {
		return p, err
	}
	p.Bound = tree.BoundTo(root)
	p.State = publishedState(tree, p.Status, locked, p.Bound)
	if told, err := m.told(tree, locked); err == nil && told != 0 {
		at := mtree.Unix(told, 0)
		p.Status.Confirmed = &at
	}
	if tree.NoID {
		// The id was made up by the mirror: whoever recorded it would refuse the
		// tree once it has its own.
		p.Tree.ID, p.Tree.Epoch = "", 0
	}
	return p, nil
}

// Apart reports whether watch tells of directories apart from their times, or a mirror
// names those that its source did not give: see the type Apart. Where no stamps prune it tells nothing that holds. Watch writes the
// first line, and says here that there is one, StatusLag before it relies on that.
func (p *Published) Apart() bool {
	return p.State != wire.Unwatched && (p.Tree.Role == Source || p.IsCopy()) && p.Status.Stamps+p.Status.Unread > 0
}

// told returns what a running mirror tells by its beacon, 0 where there is none.
func (m *Marker) told(tree Tree, locked bool) (int64, error) {
	if tree.Role != Copy || !locked {
		return 0, nil
	}
	return m.Announced()
}

// Crosses reports whether a reader that goes beyond mounts may do so in this
// tree: where somebody keeps its stamps, only as far as that one hears. A mirror
// keeps none beyond mounts of its copy.
func (p *Published) Crosses() bool {
	if p.State == wire.Unwatched {
		return true
	}
	return p.Tree.Role == Source && p.Status.CrossMounts != nil && *p.Status.CrossMounts
}

func publishedState(tree Tree, status Status, locked, bound bool) wire.State {
	switch {
	case tree.Role == Copy && !bound:
		return wire.Unwatched // copied, restored or moved: nobody says what changed since
	case tree.Role == Copy && status.State != wire.Mirrored:
		return wire.Filling
	case tree.Role == Copy && status.Walked:
		return wire.Unwatched
	case tree.Role == Copy && locked:
		return wire.Mirrored
	case tree.Role == Copy:
		return wire.Stale
	case !bound || status.State == wire.Unwatched:
		return wire.Unwatched
	case locked && status.State != "":
		return status.State
	case locked:
		return wire.Unwatched
	case status.State == wire.Degraded: // what its last watcher could not vouch for nobody does
		return wire.Degraded
	case status.CheckpointHolds():
		return wire.Audited
	}
	return wire.Unwatched
}
