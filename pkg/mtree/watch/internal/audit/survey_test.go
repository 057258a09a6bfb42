package audit

import (
	"context"
	"log/slog"
	"maps"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify/notifytest"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// survey is a tree in a machine in memory, at /tree, that an audit scans. Everything in it is
// published so far: only what changes from then on is found.
type survey struct {
	*faultkernel.Kernel
	Tree
	Scope
	t       *testing.T
	ear     *notifytest.Ear
	foreign atomic.Int64
	reads   int // of the clock

	// Of the last audit:
	report   Report
	findings map[string]Finding // by path; "." is the root
	order    []string           // of their paths
	sizes    []int              // how many were sent at once
}

// newSurvey makes a tree of files, and of directories, whose names end in a slash.
func newSurvey(t *testing.T, paths ...string) *survey {
	s := &survey{Kernel: faultkernel.New(t, 0), t: t}
	s.ear = notifytest.NewEar(t, s.Kernel)
	s.Make(t, "/tree/")
	for _, path := range paths {
		s.Make(t, "/tree/"+path)
	}
	root, err := disk.OpenRoot("/tree")
	require.NoError(t, err)
	log := slog.New(slog.DiscardHandler)
	s.Tree = Tree{
		Root: root, Source: s.ear, Exclude: &glob.List{}, Granule: 1, Now: s.now,
		OwnWrites: ownwrites.New(nil, nil, at(0)), Borders: health.NewBorders(log, new(atomic.Int64)),
		Health: health.NewMonitor(log, new(atomic.Int64), &s.foreign),
	}
	s.settle()
	return s
}

// settle lets everything so far be published, at times of long ago.
func (s *survey) settle() {
	s.Age(s.t, "/tree")
	s.Since, s.Before, s.Floor = machine.Now(), machine.Now(), machine.Now()
}

// now is the clock of a machine. It is read once for each directory.
func (s *survey) now() mtree.Stamp {
	if s.reads++; s.reads > 100_000 {
		panic("the scan does not end")
	}
	return machine.Now()
}

// run scans the tree and returns the paths of the findings, in order.
func (s *survey) run() string {
	s.t.Helper()
	s.scan()
	require.NoError(s.t, s.report.Err)
	require.Equal(s.t, int64(len(s.order)), s.report.Found)
	return strings.Join(s.order, " ")
}

// scan scans the tree. It leaves nothing open.
func (s *survey) scan() {
	s.t.Helper()
	s.Calls, s.ear.Names, s.order, s.sizes, s.findings = nil, nil, nil, nil, map[string]Finding{}
	open, findings := maps.Clone(s.Open), make(chan []Finding, 1000)
	s.Health.BeginAudit()
	s.report = Run(context.Background(), s.Tree, s.Scope, findings)
	close(findings)
	for some := range findings {
		s.sizes = append(s.sizes, len(some))
		for _, f := range some {
			if f.Path == "" {
				f.Path = "."
			}
			s.findings[f.Path], s.order = f, append(s.order, f.Path)
		}
	}
	require.Equal(s.t, open, s.Open)
}

// info is what a directory shows.
func (s *survey) info(path string) disk.Info {
	d, err := disk.OpenRoot("/tree/" + path)
	require.NoError(s.t, err)
	defer d.Close()
	return selfOf(s.t, d)
}

// change changes a directory, or a file, in a way that only its ctime shows.
func (s *survey) change(path string) {
	require.NoError(s.t, s.Shell.Chmod("/tree/"+path, 0o750))
}

// live lets another watch or mirror run in a directory.
func (s *survey) live(path string) {
	d, err := disk.OpenRoot("/tree/" + path)
	require.NoError(s.t, err)
	m, err := state.CreateMarker(d, "")
	require.NoError(s.t, err)
	_, err = m.Lock()
	require.NoError(s.t, err)
	require.NoError(s.t, d.Close())
	s.settle()
}

// isUnread reports whether a directory is one of those that cannot be read.
func (s *survey) isUnread(at string) bool {
	return s.Health.Exceptions.IsUnread(mtree.ParentPath(at), path.Base(at))
}

// times returns the mtime and ctime of something.
func (s *survey) times(path string) (mtime, ctime mtree.Stamp) {
	stx, err := s.Shell.Statx(unix.AT_FDCWD, "/tree/"+path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS)
	require.NoError(s.t, err)
	return mtree.Unix(stx.Mtime.Sec, int64(stx.Mtime.Nsec)), mtree.Unix(stx.Ctime.Sec, int64(stx.Ctime.Nsec))
}
