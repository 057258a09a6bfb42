package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// Contents that are looked for.
const (
	canary = "CANARY: nobody may change or read this" // of files that lie outside
	poison = "POISON"                                 // stands in what no copy may hold
)

// box is a directory with a copy, and canaries around it.
type box struct {
	t       testing.TB
	top     string            // holds all
	copy    string            // the destination
	outside map[string]string // what is beside it
	notify  int               // inotify on all that is beside it
}

// newBox makes the canaries, and no copy yet.
func newBox(t testing.TB) *box {
	top := temporary(t)
	b := &box{t: t, top: top, copy: filepath.Join(top, "box/copy")}
	for _, dir := range []string{"box/outside/sub", "box/copy2"} {
		require.NoError(t, os.MkdirAll(filepath.Join(top, dir), 0o755))
	}
	for _, file := range []string{"canary", "box/canary", "box/outside/f", "box/outside/changes", "box/outside/sub/stays", "box/copy2/changes"} {
		require.NoError(t, os.WriteFile(filepath.Join(top, file), []byte(canary), 0o644))
	}
	b.outside = b.beside()
	b.listen()
	return b
}

// temporary is a directory in memory that is removed after the test.
func temporary(t testing.TB) string {
	t.Helper()
	where := "/dev/shm"
	if info, err := os.Stat(where); err != nil || !info.IsDir() {
		where = ""
	}
	dir, err := os.MkdirTemp(where, "hostile-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// beside describes everything in the box but the copy.
func (b *box) beside() map[string]string {
	all := map[string]string{}
	require.NoError(b.t, filepath.WalkDir(b.top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == b.copy {
			return fs.SkipDir
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		all[path] = fmt.Sprint(info.Mode(), stat.Nlink, stat.Uid, stat.Gid)
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			all[path] += fmt.Sprint(stat.Mtim, stat.Ctim, string(text))
			return err
		}
		if path != filepath.Dir(b.copy) { // its time moves when the copy is made
			all[path] += fmt.Sprint(stat.Mtim)
		}
		all[path] = strings.Replace(all[path], " 4 ", " 5 ", 1) // links of a parent: with the copy or without
		return nil
	}))
	return all
}

// listen begins to hear what is done beside the copy.
func (b *box) listen() {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil { // other tests lower the limits; all is compared all the same
		b.t.Logf("nobody listens: %v", err)
		b.notify = -1
		return
	}
	b.t.Cleanup(func() { _ = unix.Close(fd) })
	const changes = unix.IN_ATTRIB | unix.IN_MODIFY | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	for path := range b.outside {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			if _, err := unix.InotifyAddWatch(fd, path, changes); err != nil {
				b.t.Logf("nobody listens at %s: %v", path, err) // it is compared all the same
			}
		}
	}
	b.notify = fd
}

// heard is what was done beside the copy.
func (b *box) heard() (events []string) {
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(b.notify, buf)
		if err != nil || n <= 0 {
			return events
		}
		for at := 0; at < n; {
			mask := binary.NativeEndian.Uint32(buf[at+4:])
			length := int(binary.NativeEndian.Uint32(buf[at+12:]))
			name := string(bytes.TrimRight(buf[at+16:at+16+length], "\x00"))
			at += 16 + length
			if name != filepath.Base(b.copy) && name != "" {
				events = append(events, fmt.Sprintf("%#x of %q", mask, name))
			}
		}
	}
}

// result is how a program ran.
type result struct {
	code    int
	text    string // stdout and stderr
	took    time.Duration
	peak    int64 // bytes of memory
	timeout bool
}

// run runs a program to its end, or for at most that long.
func run(t testing.TB, most time.Duration, args ...string) result {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "GOTRACEBACK=single")
	begun := time.Now()
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var r result
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(most)
	for {
		select {
		case <-tick.C:
			r.peak = max(r.peak, peakOf(cmd.Process.Pid))
			continue
		case <-late:
			r.timeout = true
			_ = cmd.Process.Signal(syscall.SIGQUIT)
			<-ended
		case <-ended:
		}
		r.code, r.text, r.took = cmd.ProcessState.ExitCode(), out.String(), time.Since(begun)
		return r
	}
}

// peakOf is the most memory that a process had so far, in bytes; 0 if it has gone.
func peakOf(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64)
	return n << 10
}

// faults returns what must not be in the box. planted are the paths in the copy of links that
// the attack itself made.
func (b *box) faults(planted ...string) (faults []string) {
	if now := b.beside(); !maps.Equal(now, b.outside) {
		for path, was := range b.outside {
			if now[path] != was {
				faults = append(faults, fmt.Sprintf("outside of the copy, %s was %s and is %s", path, was, now[path]))
			}
		}
		for path := range now {
			if _, ok := b.outside[path]; !ok {
				faults = append(faults, "outside of the copy there is now "+path)
			}
		}
	}
	for _, event := range b.heard() {
		faults = append(faults, "outside of the copy: "+event)
	}
	return append(faults, inCopy(b.copy, planted)...)
}

// inCopy returns what must not be in a copy: devices, setuid bits, links that lead out,
// poison.
func inCopy(root string, planted []string) (faults []string) {
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it is not there
		}
		info, err := os.Lstat(path)
		if err != nil {
			return nil // it has gone
		}
		if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
			faults = append(faults, fmt.Sprintf("%q has the mode %v", path, info.Mode()))
		}
		switch kind := info.Mode().Type(); kind {
		case 0:
			text, err := os.ReadFile(path)
			if strings.HasPrefix(path, filepath.Join(root, ".tidemark/tmp/")) {
				return nil // the beginning of a file, which waits for its rest
			}
			if err == nil && (bytes.Contains(text, []byte(poison)) || bytes.Contains(text, []byte(canary))) {
				faults = append(faults, fmt.Sprintf("%q holds %.60q", path, text))
			}
		case fs.ModeDir:
		case fs.ModeSymlink:
			if slices.Contains(planted, strings.TrimPrefix(path, root+"/")) {
				return nil
			}
			if to, out := leadsOut(root, path); out {
				faults = append(faults, fmt.Sprintf("%q leads to %q, outside of the copy", path, to))
			}
		default:
			faults = append(faults, fmt.Sprintf("%q is %v", path, kind))
		}
		return nil
	})
	return faults
}

// leadsOut reports where a symlink leads, and whether that is outside of the root. The
// kernel says so where it leads to something.
func leadsOut(root, path string) (to string, out bool) {
	to, _ = os.Readlink(path)
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		rel, err := filepath.Rel(root, filepath.Join(filepath.Dir(path), to))
		return to, filepath.IsAbs(to) || err != nil || rel == ".." || strings.HasPrefix(rel, "../")
	}
	defer unix.Close(fd)
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	return real, err != nil || real != root && !strings.HasPrefix(real, root+"/")
}

// unclean returns what a program said and a terminal would obey.
func unclean(text string) (faults []string) {
	for line := range strings.Lines(text) {
		for rest := strings.TrimSuffix(line, "\n"); rest != ""; {
			r, size := utf8.DecodeRuneInString(rest)
			if r == utf8.RuneError && size == 1 || r < ' ' && r != '\t' || r >= 0x7f && r <= 0x9f {
				faults = append(faults, fmt.Sprintf("control bytes in what it said: %.300q", line))
				break
			}
			rest = rest[size:]
		}
	}
	if at := strings.Index(text, "panic: "); at >= 0 {
		faults = append(faults, "it panicked: "+text[at:min(len(text), at+3000)])
	}
	if at := strings.Index(text, "fatal error: "); at >= 0 {
		faults = append(faults, "it died: "+text[at:min(len(text), at+3000)])
	}
	return faults
}

// differences compares the copy with a tree: names, types, bytes, modes, times.
func (b *box) differences(want tree) (lines []string) {
	have := map[string]string{}
	_ = filepath.WalkDir(b.copy, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(b.copy, path)
		if err != nil {
			return err
		}
		if name == mtree.MarkerName {
			return fs.SkipDir
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		at := info.Sys().(*syscall.Stat_t).Mtim
		text := fmt.Sprintf("%v %d.%09d ", info.Mode(), at.Sec, at.Nsec)
		switch {
		case info.Mode().IsRegular():
			data, _ := os.ReadFile(path)
			text += string(data)
		case info.Mode()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(path)
			text += to
		}
		if name == "." {
			name = ""
		}
		have[name] = text
		return nil
	})
	for _, path := range append(want.paths(), "") {
		e := want[path]
		mode := fs.FileMode(e.Mode) | map[mtree.Kind]fs.FileMode{mtree.Dir: fs.ModeDir, mtree.Symlink: fs.ModeSymlink}[e.Kind]
		if text := fmt.Sprintf("%v %s %s", mode, e.MTime, e.data+e.Link); have[path] != text {
			lines = append(lines, fmt.Sprintf("%q: %.80q, want %.80q", path, have[path], text))
		}
		delete(have, path)
	}
	for path, text := range have {
		lines = append(lines, fmt.Sprintf("%q: %.80q, want nothing", path, text))
	}
	slices.Sort(lines)
	return lines
}
