package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tidemark/pkg/mtree/exit"
)

// How a token file that changes is read.
const (
	// A file that was written to so lately may be written to still: the last line that
	// is there may be half a token.
	tokensSettle = 2 * time.Second

	// A file that is missing, or holds no token, is being replaced for so long. After
	// that somebody took the tokens away.
	tokensGrace = 5 * time.Second

	maxTokenFile = 16 << 20 // bytes
)

var (
	errSpecial = errors.New("no regular file any more")
	errNoToken = errors.New("no token is in it")
)

// TokenFile is the file of the tokens that serve accepts, looked at again when
// somebody asks, at most every lookEvery. It may be used by several goroutines at
// once.
type TokenFile struct {
	file string
	log  *slog.Logger

	mu     sync.Mutex // guards what follows
	good   []string   // what the file held when it was whole last
	now    []string   // what is accepted
	seen   fileState  // when it was looked at last
	whole  bool       // now is what it held then
	fixed  bool       // it is a pipe, or the like: read once
	looked time.Time
	lost   time.Time // since when it is missing or empty; zero: it is not
	said   string    // what was wrong, until it is right
}

// OpenTokens reads the file for the first time.
func OpenTokens(file string, log *slog.Logger) (*TokenFile, error) {
	tokens, err := ReadTokens(file)
	if err != nil {
		return nil, err
	}
	t := &TokenFile{file: file, log: log, good: tokens, now: tokens, whole: true, looked: time.Now()}
	if info, err := os.Stat(file); err == nil {
		t.seen, t.fixed = stateOf(info), !info.Mode().IsRegular()
	}
	return t, nil
}

// Tokens returns what is accepted now: what the file holds; while it may still be
// written to, what of that it held before, too; for tokensGrace after it went away or
// lost all tokens what was accepted before, and then nothing. A file that is there
// and cannot be read changes nothing. The slice is another one after a change.
func (t *TokenFile) Tokens() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fixed || time.Since(t.looked) < lookEvery {
		return t.now
	}
	t.looked = time.Now()
	t.look()
	return t.now
}

func (t *TokenFile) look() {
	if info, err := os.Stat(t.file); err == nil && t.whole && t.lost.IsZero() && stateOf(info) == t.seen {
		return
	}
	state, tokens, err := readTokenFile(t.file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNoToken):
		t.missing(err)
		return
	case err != nil:
		t.say("the token file cannot be read: the tokens of before stand", err)
		return
	}
	t.said, t.lost = "", time.Time{}
	age := t.looked.Sub(state.mtime)
	t.whole = state == t.seen || age > tokensSettle
	t.seen = state
	if t.whole {
		if !slices.Equal(t.good, tokens) || len(t.now) == 0 {
			t.log.Info("the token file was read anew", "file", t.file, "tokens", len(tokens))
		}
		t.good, t.now = tokens, tokens
		return
	}
	t.now = slices.DeleteFunc(slices.Clone(t.good), func(token string) bool { return !slices.Contains(tokens, token) })
}

// missing notes that the file is not there, or holds nothing.
func (t *TokenFile) missing(err error) {
	if t.lost.IsZero() {
		t.lost = t.looked
		t.say("the token file is missing or empty: is it being replaced? In a moment nobody is let in", err)
		return
	}
	if t.looked.Sub(t.lost) >= tokensGrace && t.now != nil {
		t.now = nil
		t.log.Error("the token file is missing or empty: nobody is let in until it holds tokens", "file", t.file)
	}
}

func (t *TokenFile) say(what string, err error) {
	if text := err.Error(); text != t.said {
		t.said = text
		t.log.Warn(what, "file", t.file, "error", err)
	}
}

// readTokenFile reads a file of bearer tokens and says which file that was, without
// waiting for one that became a FIFO.
func readTokenFile(file string) (state fileState, tokens []string, err error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return state, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return state, nil, err
	case !info.Mode().IsRegular():
		return state, nil, errSpecial
	case info.Size() > maxTokenFile:
		return state, nil, fmt.Errorf("%q holds more than %d bytes", file, maxTokenFile)
	}
	tokens, err = scanTokens(f)
	return stateOf(info), tokens, err
}

// scanTokens reads tokens, one a line; empty lines and those that begin with # are
// skipped.
func scanTokens(f *os.File) (tokens []string, err error) {
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
			tokens = append(tokens, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return nil, fmt.Errorf("%q: %w", f.Name(), errNoToken)
	}
	return tokens, nil
}

// ReadTokens reads a file of bearer tokens, which may be a pipe.
func ReadTokens(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, exit.With(exit.Usage, err, "check --token-file")
	}
	defer f.Close()
	tokens, err := scanTokens(f)
	return tokens, exit.With(exit.Usage, err, "check --token-file")
}
