package credentials

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"tidemark/pkg/mtree/exit"
)

// keepLogin keeps what the netrc file says for the host of source, as the value of an Authorization.
// With some it may be nothing: others are asked, too.
func keepLogin(log *slog.Logger, source string, some bool) (*Kept[string], error) {
	file, err := netrcFile()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(source)
	if err != nil || u.Hostname() == "" {
		if some {
			return nil, nil
		}
		return nil, exit.With(exit.Usage, errors.New("--netrc: SOURCE is no URL with a host"), "give SOURCE as http(s)://host[:port]/dir/")
	}
	return Keep(log, func() (string, error) {
		login, err := readLogin(file, u.Hostname())
		if some && errors.Is(err, errNoLogin) {
			return "", nil
		}
		return login, err
	}, file)
}

// netrcFile returns the path of the file, as curl and others find it.
func netrcFile() (string, error) {
	home := os.Getenv("HOME")
	file := cmp.Or(os.Getenv("NETRC"), filepath.Join(home, ".netrc"))
	if file == ".netrc" {
		return "", exit.With(exit.Usage, errors.New("--netrc: neither NETRC nor HOME is set"), "set NETRC=FILE in the environment")
	}
	return file, nil
}

// mostNetrc is the most of a netrc file that is read, in bytes.
const mostNetrc = 1 << 20

// readLogin reads login and password of a host from a netrc file; of "default" if it does not name the
// host; errNoLogin if that is missing, too.
func readLogin(file, host string) (string, error) {
	text, err := readNetrc(file)
	if err != nil {
		return "", exit.With(exit.Usage, fmt.Errorf("--netrc: %w", err), "NETRC names another file")
	}
	logins, err := parseNetrc(text)
	if err != nil {
		return "", exit.With(exit.Usage, fmt.Errorf("--netrc: %q: %w", file, err), "want machine HOST login NAME password WORD")
	}
	for _, is := range []func(*netrcLogin) bool{
		func(l *netrcLogin) bool { return !l.others && strings.EqualFold(l.host, host) },
		func(l *netrcLogin) bool { return l.others },
	} {
		for i := range logins {
			l := &logins[i]
			if !is(l) {
				continue
			}
			if !l.complete {
				return "", exit.With(exit.Usage, fmt.Errorf("--netrc: %q has no password for %q", file, host), "add: password WORD")
			}
			return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.name+":"+l.password)), nil
		}
	}
	return "", exit.With(exit.Usage, fmt.Errorf("--netrc: %q has %w for %q", file, errNoLogin, host), "add: machine "+host+" login NAME password WORD")
}

var errNoLogin = errors.New("no login")

// readNetrc returns what is in the file.
func readNetrc(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostNetrc+1))
	if err == nil && len(text) > mostNetrc {
		err = fmt.Errorf("%q is too long", file)
	}
	return string(text), err
}

// netrcLogin is what a netrc file says of one host.
type netrcLogin struct {
	host           string
	others         bool // it is "default": for hosts that are not named
	name, password string
	complete       bool // it has a password
}

// parseNetrc reads a netrc file as curl does: words, some of them in quotes, comments from "#" to the end
// of the line, macros that are passed over. Its errors show nothing of the file.
func parseNetrc(text string) (logins []netrcLogin, err error) {
	words := netrcWords(text)
	for {
		word, ok, err := words.next()
		if err != nil || !ok {
			return logins, err
		}
		switch word {
		case "default":
			logins = append(logins, netrcLogin{others: true})
			continue
		case "machine", "login", "password", "account", "macdef":
		default:
			continue
		}
		value, ok, err := words.next()
		if err != nil {
			return nil, err
		}
		if !ok { // it is being written, for example
			return nil, fmt.Errorf("it ends after %q", word)
		}
		var last *netrcLogin
		if len(logins) > 0 {
			last = &logins[len(logins)-1]
		}
		switch {
		case word == "machine":
			logins = append(logins, netrcLogin{host: value})
		case word == "macdef":
			words.skipMacro()
		case word == "login" && last != nil:
			last.name = value
		case word == "password" && last != nil:
			last.password, last.complete = value, true
		}
	}
}

// netrcWords is the rest of a netrc file.
type netrcWords string

// next takes the next word; ok is false at the end.
func (w *netrcWords) next() (word string, ok bool, err error) {
	rest := strings.TrimLeftFunc(string(*w), unicode.IsSpace)
	for strings.HasPrefix(rest, "#") {
		_, rest, _ = strings.Cut(rest, "\n")
		rest = strings.TrimLeftFunc(rest, unicode.IsSpace)
	}
	if strings.HasPrefix(rest, `"`) {
		return w.quoted(rest[1:])
	}
	end := strings.IndexFunc(rest, unicode.IsSpace)
	if end < 0 {
		end = len(rest)
	}
	*w = netrcWords(rest[end:])
	return rest[:end], end > 0, nil
}

// quoted takes a word up to its closing quote.
func (w *netrcWords) quoted(rest string) (string, bool, error) {
	var word []byte
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		if c == '"' {
			*w = netrcWords(rest[i+1:])
			return string(word), true, nil
		}
		if c == '\\' && i+1 < len(rest) {
			i++
			if c = rest[i]; strings.IndexByte("nrt", c) >= 0 {
				c = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t'}[c]
			}
		}
		word = append(word, c)
	}
	return "", false, errors.New("a quote is not closed")
}

// skipMacro passes over the body of a macro, which ends with an empty line.
func (w *netrcWords) skipMacro() {
	end := emptyLine.FindStringIndex(string(*w))
	if end == nil {
		*w = ""
		return
	}
	*w = (*w)[end[1]:]
}

var emptyLine = regexp.MustCompile(`\n\r?\n`)
