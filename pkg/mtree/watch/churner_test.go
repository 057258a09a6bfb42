package watch_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// churner changes a tree at random, while others do the same. An operation may fail because
// something is no longer there: that does not matter.
type churner struct {
	root, outside string
	rand          *rand.Rand
	id, made      int
	log           *os.File // written to, and never closed while the churner lives
	traced        bool     // do nothing that leaves no trace for an audit
}

func newChurner(root, outside string, seed uint64, id int) *churner {
	c := &churner{root: root, outside: outside, rand: rand.New(rand.NewPCG(seed, uint64(id))), id: id}
	var fs unix.Statfs_t
	_, err := os.Stat(filepath.Join(outside, unheardMark))
	c.traced = err == nil && unix.Statfs(root, &fs) == nil && fs.Type == unix.XFS_SUPER_MAGIC
	return c
}

// unheardMark is a file outside of the tree. It says that not everything will be heard, so
// audits must find it. On xfs an exchange within one directory leaves no trace on what was
// exchanged: a known hole, see package watch.
const unheardMark = "unheard"

// dir is one of the 40 directories that all churners share.
func (c *churner) dir() string {
	path := c.root
	for range c.rand.IntN(4) {
		path = filepath.Join(path, string(rune('a'+c.rand.IntN(3))))
	}
	return path
}

// sub returns one of them below the root.
func (c *churner) sub() string {
	for {
		if path := c.dir(); path != c.root {
			return path
		}
	}
}

func (c *churner) file() string {
	return filepath.Join(c.dir(), string(rune('f'+c.rand.IntN(4))))
}

// own returns a name that no other churner uses.
func (c *churner) own(dir string) string {
	c.made++
	return filepath.Join(dir, fmt.Sprintf("own%d-%d", c.id, c.made))
}

func (c *churner) out() string { return filepath.Join(c.outside, fmt.Sprint("out", c.id)) }

func (c *churner) past() time.Time {
	return time.Unix(1_000_000_000+c.rand.Int64N(3), 0)
}

func (c *churner) text() []byte { return fmt.Appendf(nil, "%d", c.rand.IntN(100)) }

func (c *churner) step() {
	n := c.rand.IntN(churnWeight)
	for i := range churnOps {
		if n -= churnOps[i].weight; n < 0 {
			churnOps[i].do(c)
			return
		}
	}
}

var churnWeight = func() (sum int) {
	for i := range churnOps {
		sum += churnOps[i].weight
	}
	return sum
}()

// churnOps are every way in which a tree is changed. A file with two names is written
// through neither name: only audits promise to find such a write.
var churnOps = []struct {
	name   string
	weight int
	do     func(c *churner)
}{
	{"mkdir -p", 3, func(c *churner) { _ = os.MkdirAll(c.dir(), 0o755) }},
	{"create or write", 4, func(c *churner) { _ = os.WriteFile(c.file(), c.text(), 0o644) }},
	{"append", 1, func(c *churner) { c.change(c.file(), os.O_APPEND, func(f *os.File) { _, _ = f.WriteString("more") }) }},
	{"write in place", 1, func(c *churner) { c.change(c.file(), 0, func(f *os.File) { _, _ = f.WriteAt(c.text(), 0) }) }},
	{"truncate", 1, func(c *churner) { _ = os.Truncate(c.file(), c.rand.Int64N(3)) }},
	{"fallocate", 1, func(c *churner) {
		c.change(c.file(), 0, func(f *os.File) { _ = unix.Fallocate(int(f.Fd()), 0, 0, 5) })
	}},
	{"cp -p", 1, func(c *churner) { copyPreserving(c.file(), c.file()) }},
	{"touch -d", 1, func(c *churner) { t := c.past(); _ = os.Chtimes(c.file(), t, t) }},
	{"touch -m -d", 1, func(c *churner) { _ = os.Chtimes(c.file(), time.Time{}, c.past()) }},
	{"touch -r", 1, func(c *churner) { touchLike(c.file(), c.file()) }},
	{"date ahead", 1, func(c *churner) { _ = os.Chtimes(c.file(), time.Time{}, time.Now().Add(time.Hour)) }},
	{"directory dated back", 1, func(c *churner) { _ = os.Chtimes(c.dir(), time.Time{}, c.past()) }},
	{"directory's mtime set back", 1, func(c *churner) { c.behindItsBack() }},
	{"rename a file, or over one", 2, func(c *churner) { _ = os.Rename(c.file(), c.file()) }},
	{"save by rename", 2, func(c *churner) { c.save() }},
	{"rename a directory", 2, func(c *churner) { _ = unix.Rename(c.sub(), c.sub()) }},
	{"exchange", 1, func(c *churner) { c.exchange(c.sub(), c.sub()) }},
	{"exchange files", 1, func(c *churner) { c.exchange(c.file(), c.file()) }},
	{"directory over its next", 1, func(c *churner) { c.deploy() }},
	{"move out", 1, func(c *churner) { _ = os.Rename(c.sub(), c.out()) }},
	{"move in", 1, func(c *churner) { _ = os.Rename(c.out(), c.sub()) }},
	{"link", 1, func(c *churner) { c.link() }},
	{"symlink, or a type swap", 1, func(c *churner) { f := c.file(); _ = os.Remove(f); _ = os.Symlink(string(c.text()), f) }},
	{"file becomes directory", 1, func(c *churner) { f := c.file(); _ = os.Remove(f); _ = os.MkdirAll(f+"/sub", 0o755) }},
	{"directory becomes file", 1, func(c *churner) { f := c.file(); _ = os.RemoveAll(f); _ = os.WriteFile(f, c.text(), 0o644) }},
	{"chmod", 1, func(c *churner) { _ = os.Chmod(c.file(), fs.FileMode(0o600+c.rand.IntN(2)*0o44)) }},
	{"chmod of a directory", 1, func(c *churner) { _ = os.Chmod(c.sub(), fs.FileMode(0o700+c.rand.IntN(2)*0o55)) }},
	{"unlink", 1, func(c *churner) { _ = os.Remove(c.file()) }},
	{"rm -r", 1, func(c *churner) {
		if c.rand.IntN(3) == 0 {
			_ = os.RemoveAll(c.sub())
		}
	}},
	{"a log kept open", 2, func(c *churner) { c.keepLog() }},
	{"tar x", 1, func(c *churner) { c.untar() }},
}

func (c *churner) change(path string, flag int, do func(*os.File)) {
	if f, err := os.OpenFile(path, os.O_WRONLY|flag|unix.O_NONBLOCK, 0); err == nil {
		do(f)
		_ = f.Close()
	}
}

// copyPreserving is cp -p.
func copyPreserving(from, to string) {
	text, err := os.ReadFile(from)
	if err == nil && from != to && os.WriteFile(to, text, 0o644) == nil {
		touchLike(from, to)
	}
}

func touchLike(from, to string) {
	if info, err := os.Lstat(from); err == nil {
		_ = os.Chtimes(to, info.ModTime(), info.ModTime())
		_ = os.Chmod(to, info.Mode().Perm())
	}
}

func (c *churner) exchange(a, b string) {
	if c.traced && filepath.Dir(a) == filepath.Dir(b) {
		return
	}
	_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

// behindItsBack changes a directory and puts back the mtime that it had, as tar
// and rsync do.
func (c *churner) behindItsBack() {
	dir := c.dir()
	info, err := os.Stat(dir)
	if err != nil {
		return
	}
	_ = os.WriteFile(filepath.Join(dir, string(rune('f'+c.rand.IntN(4)))), c.text(), 0o644)
	_ = os.Chtimes(dir, time.Time{}, info.ModTime())
}

// save writes aside and renames into place, as editors do.
func (c *churner) save() {
	f := c.file()
	aside := c.own(filepath.Dir(f))
	if os.WriteFile(aside, c.text(), 0o644) == nil {
		_ = os.Rename(aside, f)
	}
}

// deploy fills a directory aside and moves it to the place of another.
func (c *churner) deploy() {
	dir, old := c.sub(), c.out()+"-old"
	next := c.own(filepath.Dir(dir))
	if os.MkdirAll(filepath.Join(next, "a/b"), 0o755) != nil {
		return
	}
	_ = os.WriteFile(filepath.Join(next, "a/f"), c.text(), 0o644)
	_ = os.Chtimes(filepath.Join(next, "a/f"), c.past(), c.past())
	_ = os.Rename(dir, old)
	_ = os.Rename(next, dir)
	_ = os.RemoveAll(old)
}

// link makes a file with two names, and another that lost its first name.
func (c *churner) link() {
	first := c.own(c.dir())
	if os.WriteFile(first, c.text(), 0o644) != nil {
		return
	}
	if c.rand.IntN(2) == 0 {
		_ = os.Link(first, c.own(c.dir()))
		return
	}
	_ = os.Link(first, c.file())
	_ = os.Remove(first)
}

// keepLog appends to a file that stays open for long, whatever happens to its name.
func (c *churner) keepLog() {
	if c.log == nil || c.rand.IntN(20) == 0 {
		if c.log != nil {
			_ = c.log.Close()
		}
		c.log, _ = os.OpenFile(filepath.Join(c.dir(), fmt.Sprint("log", c.id)), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	}
	if c.log != nil {
		_, _ = c.log.WriteString("line\n")
	}
}

// untar unpacks an archive of old files, by the program.
func (c *churner) untar() {
	archive := filepath.Join(c.outside, "archive.tar")
	if _, err := os.Stat(archive); err == nil {
		_ = exec.Command("tar", "-xf", archive, "-C", c.dir()).Run()
	}
}

// makeArchive makes what untar unpacks.
func makeArchive(t testing.TB, outside string) {
	t.Helper()
	dir := filepath.Join(outside, "packed")
	for i, path := range []string{"a/b/f", "a/f", "g"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755))
		write(t, filepath.Join(dir, path), path)
		past := time.Unix(1_000_000_000+int64(i), 0)
		must(t, os.Chtimes(filepath.Join(dir, path), past, past))
	}
	for _, path := range []string{"a/b", "a"} {
		must(t, os.Chtimes(filepath.Join(dir, path), time.Unix(1_000_000_000, 0), time.Unix(1_000_000_000, 0)))
	}
	out, err := exec.Command("tar", "-cf", filepath.Join(outside, "archive.tar"), "-C", dir, "a", "g").CombinedOutput()
	require.NoError(t, err, string(out))
}

// churning is a process that runs a churner, a number of steps at a time.
type churning struct {
	cmd     *exec.Cmd
	ask     io.WriteCloser
	replies *bufio.Reader
}

// churnEnv makes the test binary such a process: root, outside, seed, id.
const churnEnv = "WATCH_TEST_CHURN"

func startChurner(t testing.TB, root, outside string, seed uint64, id int) *churning {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), churnEnv+"="+strings.Join([]string{root, outside, fmt.Sprint(seed), fmt.Sprint(id)}, "\n"))
	cmd.Stderr = os.Stderr
	ask, err := cmd.StdinPipe()
	must(t, err)
	replies, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = ask.Close()
		_ = cmd.Wait()
	})
	return &churning{cmd, ask, bufio.NewReader(replies)}
}

// steps runs a number of steps and returns when they are done.
func (c *churning) steps(n int) error {
	if err := binary.Write(c.ask, binary.NativeEndian, uint32(n)); err != nil {
		return err
	}
	_, err := c.replies.ReadByte()
	return err
}

// runChurner is the body of that process, which ends with its stdin.
func runChurner(spec string) error {
	fields := strings.Split(spec, "\n")
	seed, err := strconv.ParseUint(fields[2], 10, 64)
	if err != nil {
		return err
	}
	id, err := strconv.Atoi(fields[3])
	if err != nil {
		return err
	}
	c := newChurner(fields[0], fields[1], seed, id)
	for {
		var n uint32
		if err := binary.Read(os.Stdin, binary.NativeEndian, &n); err != nil {
			return nil
		}
		for range n {
			c.step()
		}
		if _, err := os.Stdout.Write([]byte{1}); err != nil {
			return err
		}
	}
}
