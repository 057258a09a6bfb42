package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// An audit reads every directory, each armed before it is listed, and finds nothing in a tree
// that is published.
func TestNothingChanged(t *testing.T) {
	s := newSurvey(t, "a/b/", "a/f", "c/")
	s.ear.Arming = func(name string) error {
		require.NotContains(t, s.Calls, "list "+name)
		return nil
	}
	require.Equal(t, "", s.run())
	require.Empty(t, s.sizes)
	require.Equal(t, []string{"", "c", "a", "b"}, s.ear.Names)
	require.Equal(t, []int64{4, 1}, []int64{s.report.Directories, s.report.Files})
	require.True(t, s.Health.HearsAll())
}

// What an audit takes for a change: a file concerns its directory, a directory that may have
// arrived everything below it. Our own writes show that it did not, at their own place.
func TestWhatIsFound(t *testing.T) {
	for _, c := range []struct {
		what   string
		found  string
		change func(s *survey)
	}{
		{"a file", "a", func(s *survey) { s.change("a/f") }},
		{"a directory", "a a/b a/b/d", func(s *survey) { s.change("a") }},
		{"the root", ".", func(s *survey) { require.NoError(s.t, s.Shell.Chmod("/tree", 0o700)) }},
		{"our own write", "", func(s *survey) {
			s.change("a")
			s.OwnWrites.Put(s.info("a"), ownwrites.PlaceOf(s.info(""), "a", s.info("a")), ownwrites.Proven, false)
		}},
		{"our own write, at another place", "a a/b a/b/d", func(s *survey) {
			s.change("a")
			s.OwnWrites.Put(s.info("a"), ownwrites.PlaceOf(s.info(""), "b", s.info("a")), ownwrites.Proven, false)
		}},
		{"our own write in the root", "", func(s *survey) {
			require.NoError(s.t, s.Shell.Chmod("/tree", 0o700))
			s.OwnWrites.Put(s.info(""), 0, ownwrites.Proven, false)
		}},
		{"everything, in doubt", ". c a a/b a/b/d", func(s *survey) { s.All = true }},
		{"another watch has ended in it", "a/b a/b/d", func(s *survey) { s.Earlier = map[string]bool{"a/b": true} }},
		{"other watches have ended, too many to name", "c a a/b a/b/d", func(s *survey) { s.Earlier = map[string]bool{"": true} }},
		{"above the clock and the floor", "a", func(s *survey) {
			require.NoError(s.t, s.Shell.Touch("/tree/a", machine.Now().Add(time.Hour).Time(), true))
			s.Since = machine.Now()
		}},
	} {
		s := newSurvey(t, "a/b/d/", "a/f", "c/")
		c.change(s)
		require.Equal(t, c.found, s.run(), c.what)
		for at, f := range s.findings {
			came := strings.HasPrefix(at, "a") && strings.Contains(c.found, "a/b") && c.what != "everything, in doubt" ||
				strings.HasPrefix(c.what, "other watches")
			require.Equal(t, came, f.Came != mtree.MinStamp, "%s: %s: it may have arrived", c.what, at)
		}
	}
}

// A finding has the latest times of the changed entries that are not in the future, and, if
// the directory may have arrived, the latest ctime of those above it.
func TestTimesOfFindings(t *testing.T) {
	s := newSurvey(t, "a/b/", "a/e", "a/f", "a/g")
	require.NoError(t, s.Shell.Append("/tree/a/e", "more"))
	require.NoError(t, s.Shell.Append("/tree/a/f", "more"))
	require.NoError(t, s.Shell.Touch("/tree/a/g", machine.Now().Add(time.Hour).Time(), true))
	mtime, _ := s.times("a/f")
	_, ctime := s.times("a/g")
	require.Equal(t, "a", s.run())
	require.Equal(t, Finding{Path: "a", MTime: mtime, CTime: ctime, Came: mtree.MinStamp}, s.findings["a"])

	s = newSurvey(t, "a/b/", "c/")
	s.change("a/b")
	s.change("a")
	_, came := s.times("a")
	require.Equal(t, "a a/b", s.run())
	require.Equal(t, came, s.findings["a"].Came)
	require.Equal(t, came, s.findings["a/b"].Came, "it came with the one above it")
	require.Equal(t, mtree.MinStamp, s.findings["a/b"].CTime, "its own times are not those of an entry")
}

// The ctime of a directory is judged if it is not too young for later changes to leave the
// same.
func TestFindingsAreJudged(t *testing.T) {
	for later, judged := range map[time.Duration]bool{0: false, time.Hour: true} {
		for _, first := range []bool{false, true} {
			s := newSurvey(t, "a/f")
			s.change("a/f")
			s.First = first
			s.Now = func() mtree.Stamp { return machine.Now().Add(later) }
			s.scan()
			_, ctime := s.times("a")
			require.Equal(t, judged, s.findings["a"].Judged == ctime)
			require.Equal(t, judged, s.findings["a"].Judged != mtree.Stamp{})
		}
	}
}

// On the first run every directory gets the greatest mtime at or below it, those below come
// first. A time in the future does not count, but its ctime.
func TestFirstRun(t *testing.T) {
	s := newSurvey(t, "a/b/f", "a/g", "c/h")
	s.First = true
	for path, sec := range map[string]int64{"a/b/f": 3000, "a/b": 2000, "a": 4000, "c": 2500, "c/h": 1 << 33} {
		require.NoError(t, s.Shell.Touch("/tree/"+path, time.Unix(sec, 0), true))
	}
	s.Since, s.Before = machine.Now(), machine.Now()
	_, changed := s.times("c/h")
	require.Equal(t, "c a/b a .", s.run())
	for path, want := range map[string]Finding{
		"c": {Value: changed, Showed: at(2500)}, "a/b": {Value: at(3000), Showed: at(2000)},
		"a": {Value: at(4000), Showed: at(4000)}, ".": {Value: changed, Showed: at(1000)},
	} {
		want.Path, want.First = path, true
		require.Equal(t, want, s.findings[path])
	}
}

// An entry is compared with the published stamp of its directory: that is not what the
// directory shows if it refused its time. On the first run nothing is published yet.
func TestPublishedStampsCount(t *testing.T) {
	for _, c := range []struct {
		refused string
		first   bool
		found   string
	}{{"", false, "b a"}, {"b", false, "a"}, {"b", true, "c b a ."}} {
		s := newSurvey(t, "a/f", "b/f", "c/f")
		require.NoError(t, s.Shell.Touch("/tree/c", machine.Now().Time(), true))
		s.Since, s.Before = machine.Now(), at(0) // the audit before was long ago
		if c.refused != "" {
			s.Health.Refuse(c.refused, s.info(c.refused).Node, machine.Now(), unix.EPERM)
		}
		if s.First = c.first; c.first {
			s.Before = machine.Now()
		}
		require.Equal(t, c.found, s.run())
		if c.first {
			require.Equal(t, at(1000), s.findings["b"].Showed)
		}
	}
}
