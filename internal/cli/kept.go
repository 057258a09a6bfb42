package cli

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// lookEvery is the shortest time between two looks at a file that may have changed.
const lookEvery = time.Second

// kept is a value that was read from files. When somebody asks, at most every lookEvery,
// it looks whether one of them changed, and then reads them again. If they cannot be
// read or used, it keeps the old value and logs that once. Several goroutines may use it
// at once.
type kept[T any] struct {
	files []string
	read  func() (T, error)
	log   *slog.Logger

	mu     sync.Mutex // guards what follows
	value  T
	seen   []fileState // when value was read
	fixed  bool        // one of the files is a pipe or the like: they are read once only
	looked time.Time
	said   string // the error that was logged; "": none since the last success
}

// keep reads the files for the first time.
func keep[T any](log *slog.Logger, read func() (T, error), files ...string) (*kept[T], error) {
	k := &kept[T]{read: read, log: log, looked: time.Now()}
	for _, file := range files {
		if file != "" {
			k.files = append(k.files, file)
		}
	}
	var err error
	k.seen, k.fixed, _ = statesOf(k.files)
	k.value, err = read()
	return k, err
}

// get returns what the files hold, or what they held when they could be used last.
func (k *kept[T]) get() T {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fixed || time.Since(k.looked) < lookEvery {
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
			k.log.Warn("a file changed and cannot be used: what it held before stands", "error", err)
		}
		return k.value
	}
	k.value, k.seen, k.said = value, states, ""
	k.log.Info("read anew", "files", strings.Join(k.files, " "))
	return k.value
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
