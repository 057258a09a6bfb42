package credentials

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tidemark/internal/logbook"
)

// LookEvery is the shortest time between two looks at a file that may have changed.
const LookEvery = time.Second

// Kept is a value that was read from files. When somebody asks, at most every LookEvery,
// it looks whether one of them changed, and then reads them again. If they cannot be
// read or used, it keeps the old value and logs that once. Several goroutines may use it
// at once.
type Kept[T any] struct {
	files []string
	read  func() (T, error)
	log   *slog.Logger

	mu     sync.Mutex // guards what follows
	value  T
	seen   []fileState // when value was read
	sum    []byte      // of what the files held then; nil: not known
	fixed  bool        // one of the files is a pipe or the like: they are read once only
	looked time.Time
	said   string // the error that was logged; "": none since the last success
}

// Keep reads the files for the first time.
func Keep[T any](log *slog.Logger, read func() (T, error), files ...string) (*Kept[T], error) {
	k := &Kept[T]{read: read, log: log, looked: time.Now()}
	for _, file := range files {
		if file != "" {
			k.files = append(k.files, file)
		}
	}
	var err error
	k.seen, k.fixed, _ = statesOf(k.files)
	k.value, err = read()
	if !k.fixed {
		k.sum, _ = sumOf(k.files)
	}
	return k, err
}

// Rereader is something that was read from files, which SIGHUP reads again at once.
type Rereader interface{ Reread() []Reread }

// Reread is what came of reading files again. Where Err is set, what they held before stands.
type Reread struct {
	Files   string
	Changed bool
	Err     error
}

// errPipe says why a file is not read again.
var errPipe = errors.New("it is a pipe or the like, which is read once, at the start")

// Reread reads the files again, whatever their times say. What holds the same as before stays the same value.
func (k *Kept[T]) Reread() []Reread {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	out := Reread{Files: strings.Join(k.files, " ")}
	if out.Err = errPipe; !k.fixed {
		out.Changed, out.Err = k.readAgain()
	}
	if out.Err != nil {
		out.Err = fmt.Errorf("what it held before stands: %w", out.Err)
	}
	return []Reread{out}
}

// readAgain reads the files, unless they hold what they held, and reports whether the value is another one.
func (k *Kept[T]) readAgain() (changed bool, err error) {
	k.looked = time.Now()
	states, special, err := statesOf(k.files)
	if err == nil && special {
		err = errSpecial
	}
	if err != nil {
		return false, err
	}
	sum, err := sumOf(k.files)
	if err == nil && bytes.Equal(sum, k.sum) {
		k.seen, k.said = states, ""
		return false, nil
	}
	value, err := k.read()
	if err != nil {
		return false, err
	}
	k.value, k.seen, k.sum, k.said = value, states, sum, ""
	return true, nil
}

// sumOf returns a sum of what the files hold.
func sumOf(files []string) ([]byte, error) {
	h := sha256.New()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(h, "%d\n%s", len(text), text)
	}
	return h.Sum(nil), nil
}

// Get returns what the files hold, or what they held when they could be used last.
func (k *Kept[T]) Get() T {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fixed || time.Since(k.looked) < LookEvery {
		return k.value
	}
	k.looked = time.Now()
	states, special, err := statesOf(k.files)
	if err == nil && !special && slices.Equal(states, k.seen) {
		k.said = ""
		return k.value
	}
	var value T
	if err == nil && special {
		err = errSpecial
	}
	if err == nil {
		value, err = k.read()
	}
	if err != nil {
		if err.Error() != k.said {
			k.said = err.Error()
			k.log.Warn("a file changed and cannot be used: what it held before stands", "files", strings.Join(k.files, " "), "error", err,
				"remedy", "put the right file there: it is read again within a second", k.stands(err.Error()))
		}
		return k.value
	}
	k.value, k.seen, k.said = value, states, ""
	k.sum, _ = sumOf(k.files)
	k.log.Info("files were read anew", "files", strings.Join(k.files, " "), k.stands(fmt.Sprint(states)))
	return k.value
}

// stands says of a line of the log which files it tells of, and how they stand.
func (k *Kept[T]) stands(state string) slog.Attr {
	return logbook.About("file "+strings.Join(k.files, " "), state)
}

// errSpecial says that a file became a FIFO or the like.
var errSpecial = errors.New("no longer a regular file")

// fileState shows whether a file is another one than before, or was written to.
type fileState struct {
	dev, ino uint64
	size     int64
	mtime    time.Time
}

// stateOf returns what of info changes with the file.
func stateOf(info os.FileInfo) fileState {
	s := fileState{size: info.Size(), mtime: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.ino = sys.Dev, sys.Ino
	}
	return s
}

// statesOf looks at files; special says that one of them is not a regular file.
func statesOf(files []string) (states []fileState, special bool, err error) {
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return nil, false, err
		}
		special = special || !info.Mode().IsRegular()
		states = append(states, stateOf(info))
	}
	return states, special, nil
}
