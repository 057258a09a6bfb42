package sources

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// eye reads a copy all the while.
type eye struct {
	root string
	stop chan struct{}
	done sync.WaitGroup

	numbers map[string]int // by path: the highest that was read
	stamp   mtree.Stamp    // of the root, the highest with which it was complete
	reads   int
	wrong   string // the first thing that must not be
}

// watchCopy begins to read the copy at root.
func watchCopy(root string) *eye {
	e := &eye{root: root, stop: make(chan struct{}), numbers: map[string]int{}, stamp: mtree.MinStamp}
	e.done.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for e.wrong == "" {
			e.look()
			select {
			case <-e.stop:
				return
			case <-tick.C:
			}
		}
	})
	return e
}

// end stops reading, and returns what must not be; "" if there was nothing.
func (e *eye) end() string {
	close(e.stop)
	e.done.Wait()
	return e.wrong
}

// look reads the copy once.
func (e *eye) look() {
	e.reads++
	e.lookAtRoot()
	_ = filepath.WalkDir(e.root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil
		case d.IsDir() && d.Name() == mtree.MarkerName:
			return fs.SkipDir
		case d.Type().IsRegular() && !strings.HasSuffix(path, ".new"): // the writer has written those in part
			e.lookAtFile(path)
		}
		return nil
	})
}

// lookAtFile: the number in a file is never lower than it was.
func (e *eye) lookAtFile(path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if was := e.numbers[path]; err != nil || n < was {
		e.wrong = fmt.Sprintf("%s holds %q, and held %d before", path, text, was)
	}
	e.numbers[path] = n
}

// lookAtRoot: the stamp with which the root is complete is never lower than it was.
func (e *eye) lookAtRoot() {
	var buf [512]byte
	n, err := unix.Getxattr(e.root, "user.tidemark", buf[:])
	if err != nil {
		return
	}
	text, _, _ := strings.Cut(string(buf[:n]), " ")
	stamp, err := mtree.ParseStamp(text)
	if err != nil || stamp.Before(mtree.Unix(1, 0)) { // it is not complete
		return
	}
	if stamp.Before(e.stamp) {
		e.wrong = fmt.Sprintf("the copy has the stamp %s, and had %s before", stamp, e.stamp)
	}
	e.stamp = stamp
}
