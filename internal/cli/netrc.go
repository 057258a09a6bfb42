package cli

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	"github.com/jdx/go-netrc"

	"tidemark/pkg/mtree/exit"
)

// keepLogin keeps what the netrc file says for the host of source, as the value of an Authorization.
func keepLogin(log *slog.Logger, source string) (*kept[string], error) {
	file, err := netrcFile()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(source)
	if err != nil || u.Hostname() == "" {
		return nil, exit.With(exit.Usage, errors.New("--netrc: SOURCE is no URL with a host"), "give SOURCE as http(s)://host[:port]/dir/")
	}
	return keep(log, func() (string, error) { return readLogin(file, u.Hostname()) }, file)
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

// readLogin reads login and password of a host from a netrc file; of "default" if it does not name the
// host.
func readLogin(file, host string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", exit.With(exit.Usage, fmt.Errorf("--netrc: %w", err), "NETRC names another file")
	}
	known, err := netrc.ParseString(string(text))
	if err != nil {
		return "", exit.With(exit.Usage, fmt.Errorf("--netrc: %q: %w", file, err), "want machine HOST login NAME password WORD")
	}
	for _, is := range []func(*netrc.Machine) bool{
		func(m *netrc.Machine) bool { return !m.IsDefault && m.Name == host },
		func(m *netrc.Machine) bool { return m.IsDefault },
	} {
		for _, m := range known.Machines() {
			if is(m) {
				return "Basic " + base64.StdEncoding.EncodeToString([]byte(m.Get("login")+":"+m.Get("password"))), nil
			}
		}
	}
	return "", exit.With(exit.Usage, fmt.Errorf("--netrc: %q has no login for %q", file, host), "add: machine "+host+" login NAME password WORD")
}
