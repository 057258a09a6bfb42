package power

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	churnDirs  = 6
	churnFiles = 7 // names in each
)

// churner changes a tree at random. Some changes are flushed to disk, most are not.
type churner struct {
	root  string
	rand  *rand.Rand
	n     int  // changes so far
	aside bool // every file is written aside: none is ever half old, half new
}

// dir returns the path of one of the directories: half of them are below others.
func (c *churner) dir() string {
	d := c.rand.IntN(churnDirs)
	if d%2 == 0 {
		return filepath.Join(c.root, fmt.Sprint("d", d))
	}
	return filepath.Join(c.root, fmt.Sprint("d", d-1), fmt.Sprint("e", d))
}

func (c *churner) file() string {
	return filepath.Join(c.dir(), fmt.Sprint("f", c.rand.IntN(churnFiles)))
}

// fill makes all directories and files.
func (c *churner) fill() error {
	for range 4 * churnDirs * churnFiles {
		if err := c.replace(c.file()); err != nil {
			return err
		}
	}
	return nil
}

// write writes a file: all of it with os.O_TRUNC, else in place.
func (c *churner) write(path string, how int) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|how, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	c.n++
	_, err = f.WriteString(strings.Repeat(fmt.Sprintf("%08d", c.n), 1+c.rand.IntN(3)*700))
	if err == nil && c.rand.IntN(8) == 0 {
		err = f.Sync()
	}
	return err
}

// change makes one change. Errors are left to the caller: after a cut all fail.
func (c *churner) change() error {
	choice := c.rand.IntN(16)
	if c.aside && choice <= 7 {
		choice = 14
	}
	switch choice {
	case 0, 1, 2:
		return c.write(c.file(), os.O_TRUNC)
	case 3, 4, 5, 6:
		return c.write(c.file(), 0)
	case 7:
		return c.write(c.file(), os.O_APPEND)
	case 8:
		return ignoreMissing(os.Remove(c.file()))
	case 9:
		return ignoreMissing(os.Rename(c.file(), c.file()))
	case 10:
		return c.exchange(c.dir(), c.dir())
	case 11:
		return ignoreMissing(os.RemoveAll(c.dir()))
	case 12:
		at := time.Unix(1_600_000_000+int64(c.rand.IntN(1000)), 7)
		return ignoreMissing(os.Chtimes(c.file(), at, at))
	case 13:
		return ignoreMissing(os.Chmod(c.file(), os.FileMode(0o600+c.rand.IntN(0o100))))
	case 14:
		return c.replace(c.file())
	}
	return flush(c.root, c.rand.IntN(3) == 0)
}

// exchange renames a directory by way of a third name.
func (c *churner) exchange(a, b string) error {
	aside := filepath.Join(c.root, "aside")
	if a == b || strings.HasPrefix(a, b) || strings.HasPrefix(b, a) || os.Rename(a, aside) != nil {
		return nil
	}
	_ = os.Rename(b, a)
	_ = os.MkdirAll(filepath.Dir(b), 0o755)
	return ignoreMissing(os.Rename(aside, b))
}

// replace writes a file aside and renames it into its place, as editors do.
func (c *churner) replace(path string) error {
	err := c.write(path+"~", os.O_TRUNC)
	if err == nil {
		err = os.Rename(path+"~", path)
	}
	return err
}

// flush makes everything durable, or lets the journal be written by a flush of another
// file, so that metadata is on disk and the bytes it stands for need not be.
func flush(root string, all bool) error {
	f, err := os.OpenFile(filepath.Join(filepath.Dir(root), "another's"), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if all {
		return unix.Syncfs(int(f.Fd()))
	}
	if _, err = f.WriteString(time.Now().String()); err == nil {
		err = f.Sync()
	}
	return err
}

// flushStatus makes the checkpoint durable, as the kernel may do at any time.
func flushStatus(root string) error {
	f, err := os.OpenFile(filepath.Join(root, ".tidemark/status.json"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func ignoreMissing(err error) error {
	if os.IsNotExist(err) || os.IsExist(err) {
		return nil
	}
	if e, ok := err.(*os.LinkError); ok && (e.Err == syscall.ENOTEMPTY || e.Err == syscall.ENOTDIR || e.Err == syscall.EISDIR) {
		return nil
	}
	return err
}

// keep changes the tree until stop is called, which returns how many changes there were.
func (c *churner) keep(t *testing.T, pause time.Duration) (stop func() int) {
	t.Helper()
	ended := make(chan struct{})
	var once sync.Once
	var done sync.WaitGroup
	n := 0
	done.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(time.Duration(c.rand.Int64N(int64(pause)))):
			}
			_ = c.change()
			n++
		}
	})
	stop = func() int {
		once.Do(func() { close(ended) })
		done.Wait()
		return n
	}
	t.Cleanup(func() { stop() })
	return stop
}
