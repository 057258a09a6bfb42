package world

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// TestModel compares the model with a directory in which nothing but the changes happens.
func TestModel(t *testing.T) {
	proof.Rounds(t, 2, func(t *testing.T, seed uint64) {
		top := t.TempDir()
		w := &World{top: top, src: filepath.Join(top, "tree"), model: newModel(), history: newHistory(), counted: map[string]int{}}
		w.site = site{root: w.src, aside: filepath.Join(top, "aside")}
		require.NoError(t, os.Mkdir(w.src, 0o755))
		require.NoError(t, os.Mkdir(w.site.aside, 0o755))
		require.NoError(t, w.plant())
		for _, s := range Draw(seed, 3) {
			c := changeOf(s.Name)
			if c == nil {
				continue
			}
			s.User = 0
			require.NoError(t, w.change(c, s))
			require.False(t, w.stale, "%s: it failed half way: %s", s, w.log[len(w.log)-1])
			have, err := scan(w.src)
			require.NoError(t, err)
			require.Empty(t, differences(w.model, have, false), s.String())
		}
	})
}

// The last of several changes that happened at once was half done, and the model was made anew
// from the disk while the others were done there and not in the model: it did them once more.
func TestTheModelIsMadeAnewWhenAllAreDone(t *testing.T) {
	w := &World{model: newModel(), history: newHistory(), src: t.TempDir(), counted: map[string]int{}}
	w.site = site{root: w.src, aside: t.TempDir()}
	require.NoError(t, w.plant())
	w.stale = true // as one that was half done leaves it
	require.NoError(t, w.step(Step{Name: "unlink", Args: []string{"s0/k0/f1"}}))
	require.True(t, w.stale, "one of them ended")
	require.NoError(t, w.together([]Step{
		{Name: "unlink", Args: []string{"s0/k0/f2"}, Beside: true},
		{Name: "unlink", Args: []string{"s1/k0/f2"}},
	}))
	require.False(t, w.stale)
}

// rm -r took seconds and failed half way. What it had removed was gone from the copy before the model
// was made anew: "deleted: the source always had it".
func TestWhatIsHalfRemovedMayBeLacked(t *testing.T) {
	w := &World{model: newModel(), history: newHistory(), src: t.TempDir(), counted: map[string]int{}}
	w.site = site{root: w.src, aside: t.TempDir()}
	require.NoError(t, w.plant())
	later := time.Now().Add(time.Hour)
	require.False(t, w.history.mayLack("s0/k0/f1", file, later))
	require.NoError(t, w.step(Step{Name: "remove", Args: []string{"s0/k0"}, User: 4321}))
	require.True(t, w.stale)
	require.True(t, w.history.mayLack("s0/k0/f1", file, later))
	require.NoError(t, w.readAnew())
	require.False(t, w.history.mayLack("s0/k0/f1", file, later), "it is there")
}

// A snapshot of when watch ran as an ordinary user was put back under a watch with few inotify
// watches, which is root of a user namespace, and nobody else's files are its own there. It
// could not write to .tidemark, and was taken for a finding.
func TestWhoOwnsWhatIsWrittenInANamespace(t *testing.T) {
	for want, p := range map[int]program{0: {user: user, limit: 20}, user: {user: user}} {
		require.Equal(t, want, p.runsAs())
	}
	require.Zero(t, (&program{user: user, queue: 5}).runsAs())
}

// TestStepsAreLines reads what was written.
func TestStepsAreLines(t *testing.T) {
	for seed := range uint64(5) {
		steps := Draw(seed, 3)
		read, err := ParseAll("# a comment\n\n" + Format(steps))
		require.NoError(t, err)
		require.Equal(t, Format(steps), Format(read))
		require.Equal(t, Format(steps), Format(Draw(seed, 3)), "a seed means one list of steps")
	}
}

// TestLeadsOut is the rule for symlinks that are not copied.
func TestLeadsOut(t *testing.T) {
	for target, out := range map[string]bool{"f": false, "../f": false, "../../f": true, "/etc/passwd": true, "s/../f": true, ".": false, "..": false} {
		require.Equal(t, out, leadsOut("d/l", target), target)
	}
}

// TestPlain keeps the errors apart after which the tree is as it was.
func TestPlain(t *testing.T) {
	require.True(t, plain(&fs.PathError{Op: "open", Err: fs.ErrPermission}))
	require.False(t, plain(errors.New("exit status 1")))
}

// tar writes a file as the blocks of its archive come: after the header of the directory and
// that of the file 9,216 bytes are left of the first 10 KiB. The eye knew multiples of 10 KiB
// only, and took the 60,416 bytes that a file had in the source for a torn one.
func TestWhatTarWritesByAndBy(t *testing.T) {
	m := newModel()
	data := content(19, 70013)
	require.NoError(t, m.makeDirs("d"))
	require.NoError(t, m.put("d/f", newFile(data)))
	h := newHistory()
	for name, at := range map[string]struct{ from, made, to string }{
		"tar": {"d", "t", "t/f"}, "clone": {"d", "c", "c/f"}, "copy": {"d/f", "p", "p"},
	} {
		c, args, next, to := changeOf(name), []string{at.from, at.made}, m.clone(), at.to
		require.NoError(t, c.model(next, args))
		h.grow(c.grows(m, args))
		h.coming(m, next, nil)
		for _, size := range []int{0, 9216, 60416, 65536, 70013} {
			require.True(t, h.everWas(to, newFile(data[:size]), 0), "%s: %d bytes", name, size)
		}
		require.False(t, h.everWas(to, newFile(data[:60415]), 0), "not in the midst of a block")
		require.False(t, h.everWas(to, newFile(content(18, 60416)), 0), "other bytes")
		require.False(t, h.everWas("d/f", newFile(data[:60416]), 0), "nobody wrote the original")
		h.coming(next, next, nil)
		require.False(t, h.everWas(to, newFile(data[:60416]), h.now()), "long after it was whole")
	}
}

// tar had put an empty file in the place of a symlink that leads out of where it extracts, and
// a copy of that was "torn".
func TestWhatTarKeepsThePlaceOf(t *testing.T) {
	m := newModel()
	require.NoError(t, m.makeDirs("d"))
	for name, target := range map[string]string{"out": "/etc/passwd", "up": "../f", "in": "f"} {
		require.NoError(t, m.put("d/"+name, newLink(target)))
	}
	tar := changeOf("tar")
	next, args, h := m.clone(), []string{"d", "t"}, newHistory()
	require.NoError(t, tar.model(next, args))
	h.coming(m, next, tar.moments(m, args))
	for name, empty := range map[string]bool{"out": true, "up": true, "in": false} {
		require.Equal(t, empty, h.everWas("t/"+name, newFile(nil), 0), name)
		require.True(t, h.everWas("t/"+name, next.find("t/"+name), 0), name)
	}
}

// A write(2) is not one step for those who read meanwhile: the kernel shows a page after the
// other, under one mtime. So a reader of the source has half of it, or a mixture.
func TestWhatAWriteShowsByAndBy(t *testing.T) {
	was, data := content(1, 70013), content(2, 70013)
	longer := append(content(1, 4090), content(2, 40)...)
	half := append(append([]byte{}, data[:8192]...), was[8192:]...)
	for _, c := range []struct {
		name        string
		was         []byte
		args        []string
		shown, torn []byte
	}{
		{"write", was, []string{"f", "2", "70013"}, data[:4096], data[:4097]},
		{"again", was, []string{"f", "2", "70013"}, data[:61440], half},
		{"append", longer[:4090], []string{"f", "2"}, longer[:4096], longer[:4100]},
		{"patch", was, []string{"f", "2"}, half, half[:8192]},
	} {
		m, h := newModel(), newHistory()
		require.NoError(t, m.put("f", newFile(c.was)))
		next := m.clone()
		require.NoError(t, changeOf(c.name).model(next, c.args))
		h.grow(changeOf(c.name).grows(m, c.args))
		h.coming(m, next, nil)
		require.True(t, h.everWas("f", next.find("f"), 0), c.name)
		require.True(t, h.everWas("f", newFile(c.shown), 0), c.name)
		require.False(t, h.everWas("f", newFile(c.torn), 0), c.name)
	}
}

// A FIFO had taken the place of a file more than ten seconds before a copy, on a disk that was
// read-only meanwhile, could hear of it: "deleted: the source always had it".
func TestAnotherKindMayBeLacked(t *testing.T) {
	before, after := newModel(), newModel()
	require.NoError(t, before.put("f", newFile([]byte("x"))))
	require.NoError(t, after.put("f", &node{kind: fifo}))
	h := newHistory()
	h.done(newModel(), before, nil)
	later := time.Now().Add(time.Hour)
	require.False(t, h.mayLack("f", file, later))
	h.done(before, after, nil)
	require.True(t, h.mayLack("f", file, later))
	require.False(t, h.mayLack("f", fifo, later))
}
