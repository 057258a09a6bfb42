package cli

import (
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// lookEvery is how often a file is looked at, at most, whether it changed.
const lookEvery = time.Second

// kept is what was read from files. It is read anew when one of them changed, which
// is looked at when somebody asks, at most every lookEvery. What cannot be read or
// used leaves what there was, and is said once. It may be used by several goroutines
// at once.
type kept[T any] struct {
	files []string
	read  func() (T, error)
	log   *slog.Logger

	mu     sync.Mutex // guards what follows
	value  T
	seen   []fileState // when value was read
	fixed  bool        // one of the files is a pipe, or the like: it is read once
	looked time.Time
	said   string // what was wrong, until it is right
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

// get returns what the files hold, or held when they could be used last.
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

// fileState tells whether a file is another one than before, or was written to.
type fileState struct {
	dev, ino uint64
	size     int64
	mtime    time.Time
}

func stateOf(info os.FileInfo) fileState {
	s := fileState{size: info.Size(), mtime: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.ino = sys.Dev, sys.Ino
	}
	return s
}

// statesOf looks at files; special says that one of them is no regular file.
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
