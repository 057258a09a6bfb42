package power

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/internal/testtree"
)

// damages are what happens to the bytes of a file. A new one is a row.
var damages = []struct {
	name string
	do   func(r *rand.Rand, text []byte) []byte
}{
	{"a bit flipped", func(r *rand.Rand, text []byte) []byte {
		text[r.IntN(len(text))] ^= 1 << r.IntN(8)
		return text
	}},
	{"a byte changed", func(r *rand.Rand, text []byte) []byte {
		const likely = "0123456789abcdef \"{}:,.\n\t\x00"
		text[r.IntN(len(text))] = likely[r.IntN(len(likely))]
		return text
	}},
	{"cut short", func(r *rand.Rand, text []byte) []byte { return text[:r.IntN(len(text))] }},
	{"zeroed from somewhere", func(r *rand.Rand, text []byte) []byte {
		clear(text[r.IntN(len(text)):])
		return text
	}},
	{"empty", func(*rand.Rand, []byte) []byte { return nil }},
	{"another's end", func(r *rand.Rand, text []byte) []byte {
		at := r.IntN(len(text))
		return append(text[:at], text[r.IntN(len(text)):]...)
	}},
}

// damageState is a source and its copy, with all that is kept about them.
type damageState struct {
	*chain
	rand    *rand.Rand
	changes int
	last    string // what was damaged how
}

// TestDamagedState: a byte of a file in .tidemark is another one, or a part is missing or
// zero, at the source or in the copy. Meanwhile the tree has changed. Nothing is deleted
// that the source has, and when all say that all is well, all is equal. Otherwise the
// program says what is wrong; and without the damaged file everything becomes equal.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	each := 8 // damages in a round
	if proof.Budget(t) > 0 {
		each = 40
	}
	proof.Rounds(t, 3, func(t *testing.T, seed uint64) {
		dir, err := os.MkdirTemp("/dev/shm", "tidemark-power-")
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		s := &damageState{chain: newChain(t, filepath.Join(dir, "tree")), rand: rand.New(rand.NewPCG(seed, 3))}
		testtree.Make(t, s.source, "a/b/f = f", "a/g = g", "c/h = h", "c/i/j = j", "k = k", "l -> k")
		require.NoError(t, os.Mkdir(filepath.Join(s.source, "c/refuses"), 0o755))
		s.startWatch()
		s.startServe()
		s.must("mirror", "--once", s.url(), s.to)
		for n := range each {
			s.damageOnce(t, n)
		}
		proof.Count("files damaged", each)
	})
}

func (s *damageState) url() string { return "http://" + s.address + "/" }

// damageOnce damages one file while no watch runs, and sees to it that all is well again.
func (s *damageState) damageOnce(t *testing.T, n int) {
	if s.watch == nil {
		s.startWatch()
		s.run(s.inBoot("watch", "--sync", s.source)...)
	}
	if s.rand.IntN(2) == 0 {
		s.watch.Kill()
	} else {
		require.NoError(t, s.watch.Terminate(patience))
	}
	s.watch = nil
	s.must("mirror", "--once", s.url(), s.to)
	file := s.damage(t)
	s.change(t)
	s.try("mirror", "--once", s.url(), s.to) // serve reads what is damaged, and nobody has published the change
	s.try(s.inBoot("watch", "--once", s.source)...)
	watched := s.try(s.inBoot("watch", "--once", s.source)...)
	well := s.try("mirror", "--once", s.url(), s.to)
	if watched && well {
		s.same()
		return
	}
	require.NoError(t, os.RemoveAll(file))
	s.must(s.inBoot("watch", "--once", s.source)...)
	for !s.try("mirror", "--once", s.url(), s.to) {
		if s.holds() {
			s.run("mirror", "--release", s.to)
		}
		s.must("mirror", "--once", "--adopt", s.url(), s.to)
		s.must("mirror", "--once", s.url(), s.to)
	}
	s.same()
}

// damage damages a file of .tidemark, at either end.
func (s *damageState) damage(t *testing.T) string {
	end := []string{s.source, s.to}[s.rand.IntN(2)]
	names, err := filepath.Glob(filepath.Join(end, ".tidemark", "*"))
	require.NoError(t, err)
	names = slices.DeleteFunc(names, func(name string) bool {
		info, err := os.Stat(name)
		return err != nil || !info.Mode().IsRegular() || info.Size() == 0
	})
	require.NotEmpty(t, names)
	name := names[s.rand.IntN(len(names))]
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	how := damages[s.rand.IntN(len(damages))]
	damaged := how.do(s.rand, slices.Clone(text))
	require.NoError(t, os.WriteFile(name, damaged, 0o644))
	s.last = fmt.Sprintf("%s: %s: was %.1500q, is %.1500q", name, how.name, bytes.TrimRight(text, " \n"), bytes.TrimRight(damaged, " \n"))
	return name
}

// change changes the tree in ways that only an audit finds.
func (s *damageState) change(t *testing.T) {
	s.changes++
	dir := []string{"a/b/", "a/", "c/", "c/i/", ""}[s.rand.IntN(5)]
	testtree.Make(t, s.source, fmt.Sprintf("%sn%d = text %d @1600000000.5", dir, s.changes%5, s.changes))
	_ = os.Remove(filepath.Join(s.source, fmt.Sprintf("%sn%d", dir, (s.changes+2)%5)))
}

// must runs a command that must succeed.
func (s *damageState) must(args ...string) {
	s.t.Helper()
	require.True(s.t, s.try(args...), "%q fails after %s\n%s", args, s.last, s.told())
}

// try runs a command and reports whether it ended with 0. If it did not, it must have said
// why. Whatever it did, nothing is missing in the copy that the source has and the copy had.
func (s *damageState) try(args ...string) bool {
	s.t.Helper()
	had, err := testtree.Snapshot(s.to)
	require.True(s.t, err == nil || os.IsNotExist(err), err)
	keeps, err := testtree.Snapshot(s.source)
	require.NoError(s.t, err)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	text := fmt.Sprintf("\n%q: %v after %s\n", args, err, s.last)
	require.NoError(s.t, appendTo(filepath.Join(s.logs, "mirror.log"), text+string(out)))
	require.NotContains(s.t, string(out), "panic:")
	if err != nil {
		require.Regexp(s.t, `(?m)^tidemark-|level=(ERROR|WARN)`, string(out), text)
	}
	has, err2 := testtree.Snapshot(s.to)
	require.True(s.t, err2 == nil || os.IsNotExist(err2), err2)
	for name := range had {
		require.False(s.t, has[name] == "" && keeps[name] != "", "%q is gone from the copy, and the source has it\n%s", name, s.told())
	}
	return err == nil
}

func appendTo(name, text string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// same requires that the trees are equal.
func (s *damageState) same() {
	s.t.Helper()
	differences, err := testtree.Differences(s.source, s.to)
	require.NoError(s.t, err)
	require.Empty(s.t, differences, "source | copy after %s\n%s", s.last, s.told())
	require.False(s.t, strings.Contains(s.run("mirror", "--status", s.to), "\nheld because"), s.told())
}
