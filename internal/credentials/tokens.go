package credentials

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

	"tidemark/internal/logbook"
	"tidemark/pkg/mtree/exit"
)

// How a token file that changes is read.
const (
	// A file that was written to less than this ago may still be written to: its last
	// line may be half a token.
	tokensSettle = 2 * time.Second

	// A file that is missing, or holds no token, counts for this long as one that is
	// being replaced. After that somebody has taken the tokens away.
	tokensGrace = 5 * time.Second

	maxTokenFile = 16 << 20 // bytes
)

var errNoToken = errors.New("it has no token")

// TokenFile is the file of the tokens that serve accepts. When somebody asks, at most
// every LookEvery, it looks at the file again. Several goroutines may use it at once.
type TokenFile struct {
	file string
	log  *slog.Logger

	mu     sync.Mutex // guards what follows
	good   []string   // the tokens when the file was last whole
	now    []string   // the tokens that are accepted
	seen   fileState  // at the last look
	whole  bool       // now has all that the file held then
	fixed  bool       // it is a pipe or the like: it is read once only
	looked time.Time
	lost   time.Time // the last look before the file was found missing or empty; zero: it is neither
	said   string    // the error that was logged; "": none since the last success
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

// Tokens returns the tokens that are accepted now: those in the file. While somebody may
// still write to the file, they are those of its tokens that it held before. If the file
// went away or lost all tokens, they stay as they were for tokensGrace after the last look
// at which it had some, and then there are none. A file that exists and cannot be read changes nothing. After a
// change the slice is another one.
func (t *TokenFile) Tokens() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fixed || time.Since(t.looked) < LookEvery {
		return t.now
	}
	last := t.looked
	t.looked = time.Now()
	if info, err := os.Stat(t.file); err != nil || !t.whole || !t.lost.IsZero() || stateOf(info) != t.seen {
		_ = t.look(last, false)
	}
	return t.now
}

// Reread looks at the file at once, and takes it for whole: who sends SIGHUP has written it.
func (t *TokenFile) Reread() []Reread {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := Reread{Files: t.file, Err: errPipe}
	if !t.fixed {
		before, last := t.now, t.looked
		t.looked = time.Now()
		out.Err = t.look(last, true)
		out.Changed = !slices.Equal(before, t.now)
	}
	return []Reread{out}
}

// look reads the file, after the look at last, and sets now. With finished nobody writes to it any more. The
// error was logged.
func (t *TokenFile) look(last time.Time, finished bool) error {
	state, tokens, err := readTokenFile(t.file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNoToken):
		t.missing(err, last)
		return err
	case err != nil:
		t.say("the token file cannot be read: the tokens of before stand", err, "make it a file that this user may read")
		return err
	}
	t.said, t.lost = "", time.Time{}
	age := t.looked.Sub(state.mtime)
	t.whole = finished || state == t.seen || age > tokensSettle
	t.seen = state
	if t.whole {
		if !slices.Equal(t.good, tokens) || len(t.now) == 0 {
			t.log.Info("the token file was read anew", "file", t.file, "tokens", len(tokens), t.stands(fmt.Sprint(state)))
		}
		t.good, t.now = tokens, tokens
		return nil
	}
	t.now = slices.DeleteFunc(slices.Clone(t.good), func(token string) bool { return !slices.Contains(tokens, token) })
	return nil
}

// missing notes that the file does not exist, or has no token. It may be so since the look
// at last: nobody may have asked for hours.
func (t *TokenFile) missing(err error, last time.Time) {
	if t.lost.IsZero() {
		t.lost = last // guard (last -> t.looked): TestTokenFileRemovedWhileNobodyAsks
	}
	switch {
	case t.looked.Sub(t.lost) < tokensGrace:
		t.say("the token file is missing or empty: is it being replaced? In a moment nobody is let in", err, putBack)
	case t.now != nil:
		t.now = nil
		t.log.Error("the token file is missing or empty: nobody is let in until it holds tokens", "file", t.file,
			"remedy", putBack, t.stands("empty"))
	}
}

// putBack is what to do about a token file that is missing or empty.
const putBack = "put it back, with a token on a line of its own; to let everybody in, restart without --token-file"

// say logs an error that was not logged already.
func (t *TokenFile) say(what string, err error, remedy string) {
	if text := err.Error(); text != t.said {
		t.said = text
		t.log.Warn(what, "file", t.file, "error", err, "remedy", remedy, t.stands(text))
	}
}

// stands says of a line of the log that it tells of the token file, and how that stands.
func (t *TokenFile) stands(state string) slog.Attr { return logbook.About("tokens "+t.file, state) }

// readTokenFile reads a file of bearer tokens and returns which file that was. It does
// not wait for a file that became a FIFO.
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

// scanTokens reads tokens, one a line; it skips empty lines and lines that begin with
// #.
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
