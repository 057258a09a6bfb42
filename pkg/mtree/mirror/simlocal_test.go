package mirror

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tidemark/internal/proof"
	"tidemark/pkg/mtree"
)

// Others have the copy's disk, too: they may put a symlink in the place of a directory while
// a pass runs, or keep a tree of their own in the copy.

// simOutside is a directory beside the copy, which no mirror has a reason to touch.
const simOutside = "/outside"

// plantOutside makes what a mirror that follows symlinks would destroy.
func (s *sim) plantOutside() {
	_ = s.shell.Mkdir(simOutside, 0o755)
	for _, name := range []string{"d", "e"} {
		_ = s.shell.Mkdir(simOutside+"/"+name, 0o755)
	}
	for _, name := range []string{"f", "g", "d/h", "e/g"} {
		_ = s.shell.Write(simOutside+"/"+name, "not of the copy")
	}
	if fd, err := s.shell.Openat(unix.AT_FDCWD, simOutside, unix.O_RDONLY|unix.O_DIRECTORY, 0); err == nil {
		_ = s.shell.Syncfs(fd) // a power cut changes nothing there
		_ = s.shell.Close(fd)
	}
	s.outside = s.lookOutside()
}

// lookOutside returns everything beside the copy, with its times.
func (s *sim) lookOutside() string {
	var all []string
	var look func(path string)
	look = func(path string) {
		mtime, ctime, err := s.shell.Times(path)
		text, _ := s.shell.Read(path)
		all = append(all, fmt.Sprint(path, " ", mtime, ctime, err, text))
		for _, name := range s.shell.Names(path) {
			look(path + "/" + name)
		}
	}
	look(simOutside)
	return strings.Join(all, "\n")
}

// checkOutside: nothing beside the copy was touched.
func (s *sim) checkOutside() {
	if is := s.lookOutside(); is != s.outside {
		s.wrong("outside of the copy something was changed:\n%s\nit was:\n%s", is, s.outside)
	}
}

// localLink puts a symlink that leads out in the place of path.
func (s *sim) localLink(path string) {
	s.takeAway(path)
	_ = s.shell.Symlink(simOutside, simDest+"/"+path)
}

// localTree makes the directory at path the root of a tree that somebody else keeps.
func (s *sim) localTree(path string) {
	if at := s.read()[path]; at.kind != mtree.Dir {
		s.takeAway(path)
		_ = s.shell.Mkdir(simDest+"/"+path, 0o755)
	}
	own := path + "/own"
	_ = s.shell.Mkdir(simDest+"/"+path+"/"+mtree.MarkerName, 0o755)
	if s.shell.Write(simDest+"/"+own, "theirs") == nil {
		s.loose[own], s.own[own+"\x00theirs"], s.theirs[path], s.theirs[own] = true, true, true, true
	}
}

// localStrip takes the extended attributes from the directory at path, and moves the time of the
// one above it, as a backup without attributes does when it is put back.
func (s *sim) localStrip(path string) {
	fd, err := s.shell.Openat(unix.AT_FDCWD, simDest+"/"+path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return
	}
	_ = s.shell.Fremovexattr(fd, "user.tidemark")
	_ = s.shell.Close(fd)
	s.stripped = true
	aside := simDest + "/" + mtree.MarkerName + "-aside"
	_ = s.shell.Rename(simDest+"/"+path, aside, 0)
	_ = s.shell.Rename(aside, simDest+"/"+path, 0)
}

// takeAway removes what is at path. It is loose from then on, with all below.
func (s *sim) takeAway(path string) {
	for p := range s.read() {
		if p == path || strings.HasPrefix(p, path+"/") {
			s.loose[p] = true
			delete(s.theirs, p)
		}
	}
	_ = s.shell.Remove(simDest + "/" + path)
}

// checkTheirs: a tree of others in the copy stays, unless somebody released its deletion.
func (s *sim) checkTheirs(b simBefore, now map[string]simEntry) {
	for path := range s.theirs {
		_, had := b.copy[path]
		if _, has := now[path]; had && !has {
			s.wrong("/%s went: it belongs to a tree that somebody else keeps", path)
		}
	}
}

// simThirds are what others do to the copy, and simMeanwhile what the source did before.
var (
	simThirds    = []string{"local-link a", "local-link a/d", "local-link b/e", "local-tree b/e", "local-tree a/d", "local-tree a/new"}
	simMeanwhile = []string{
		"write a/f; write a/d/h; rm b/e", "rm a/d; write b/e/g", "rm a; rm b/e; write f", "swap a b", "rm a/f; write a; write b/f", "fill a/d 20; rm a/d/h; mv b/e a/e",
		"rm a; old a",
	}
)

// TestSimulatedThirdParties: others do something to the copy before each call of a pass, and
// before it. A round takes some calls.
func TestSimulatedThirdParties(t *testing.T) {
	begin := []string{"mkdir a", "write a/f", "write a/g", "mkdir a/d", "write a/d/h", "mkdir b", "write b/f", "mkdir b/e", "write b/e/g", "write f", "publish", "pass"}
	proof.Rounds(t, 1, func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 5))
		n := 0
		for _, third := range simThirds {
			for _, changes := range simMeanwhile {
				history := append(slices.Clone(begin), strings.Split(changes, "; ")...)
				simulateOnce(t, append(slices.Clone(history), third, "publish", "pass"))
				for range 3 {
					simulateOnce(t, append(slices.Clone(history), "publish", fmt.Sprintf("at %d %s", 1+r.IntN(simPassCalls), third), "pass"))
				}
				n += 4
			}
		}
		proof.Count("histories with others in the copy", n)
	})
}
