package credentials

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"tidemark/pkg/mtree/exit"
)

// Client is the options by which mirror presents itself to a server. Load reads its
// files; after that Now may be called.
type Client struct {
	CA        string // file of CAs to trust instead of the system's
	Cert, Key string // files; both or none
	TokenFile string
	Netrc     bool     // login and password of the server's host are in ~/.netrc, or the file that NETRC names
	Headers   []string // "NAME: VALUE"
	some      bool     // of several servers not each needs a login in the netrc file

	config        *Kept[*tls.Config] // nil: no option was given
	authorization *Kept[string]      // nil: none is sent
}

// Load reads the files, for requests to source. The TLS configuration is nil if no option asks for one.
// Errors carry exit.Usage.
func (c *Client) Load(log *slog.Logger, source string) (config *tls.Config, authorization string, err error) {
	switch {
	case c.TokenFile != "" && c.Netrc:
		return nil, "", exit.With(exit.Usage, errors.New("--token-file and --netrc both say who asks"), "give one of them")
	case c.TokenFile != "":
		c.authorization, err = Keep(log, c.readToken, c.TokenFile)
	case c.Netrc:
		c.authorization, err = keepLogin(log, source, c.some)
	}
	if err != nil {
		return nil, "", err
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, "", exit.With(exit.Usage, errors.New("--cert and --key go together"), "give both")
	}
	if c.CA != "" || c.Cert != "" {
		if c.config, err = Keep(log, c.readTLS, c.CA, c.Cert, c.Key); err != nil {
			return nil, "", err
		}
	}
	config, authorization = c.Now()
	return config, authorization, nil
}

// Each returns a Client for each of several sources. The token and the headers of c are for the first that
// is a server, and for those at the same scheme, host and port, or socket: they may be secret. The others
// get no more than a login by Netrc, which names its host. The certificate is for all: it is no secret.
func (c *Client) Each(sources []string) []*Client {
	first := ""
	list := make([]*Client, len(sources))
	for i, source := range sources {
		at := originOf(source)
		first = cmp.Or(first, at)
		one := &Client{CA: c.CA, Cert: c.Cert, Key: c.Key, Netrc: c.Netrc, some: len(sources) > 1}
		if at == first { // guard (always): TestSecretsGoToOneHost
			one.TokenFile, one.Headers = c.TokenFile, c.Headers
		}
		list[i] = one
	}
	return list
}

// originOf returns scheme, host and port of a source, or its socket; "" if it is a directory.
func originOf(source string) string {
	if rest, ok := strings.CutPrefix(source, "unix:/"); ok {
		socket, _, _ := strings.Cut(rest, ":")
		return "unix:/" + socket
	}
	u, err := url.Parse(source)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// Now returns what the files hold now, or what they held when they could be used last.
// The configuration is another pointer only after a change. Several goroutines may call
// it at once.
func (c *Client) Now() (config *tls.Config, authorization string) {
	if c.config != nil {
		config = c.config.Get()
	}
	if c.authorization != nil {
		authorization = c.authorization.Get()
	}
	return config, authorization
}

// Reread reads the files again, at SIGHUP.
func (c *Client) Reread() []Reread { return append(c.config.Reread(), c.authorization.Reread()...) }

// Header returns Headers as they are sent. Errors carry exit.Usage.
func (c *Client) Header() (http.Header, error) {
	h := http.Header{}
	for _, line := range c.Headers {
		name, value, ok := strings.Cut(line, ":")
		name, value = http.CanonicalHeaderKey(name), strings.TrimSpace(value)
		switch { // a value may be secret, and is not shown
		case !ok || !headerName.MatchString(name) || headerControl.MatchString(value):
			return nil, exit.With(exit.Usage, errors.New("--header: no line of an HTTP header"), "want NAME:VALUE")
		case slices.Contains(ownHeaders, name) || strings.HasPrefix(name, "If-"):
			return nil, exit.With(exit.Usage, fmt.Errorf("--header %s: mirror sets it itself", name), "leave it out")
		case name == "Authorization" && (c.TokenFile != "" || c.Netrc):
			return nil, exit.With(exit.Usage, errors.New("--header Authorization beside --token-file or --netrc"), "give one of them")
		}
		h.Add(name, value)
	}
	return h, nil
}

// What the name of a header consists of, and what no value has (RFC 9110, 5.1 and 5.5).
var (
	headerName    = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")
	headerControl = regexp.MustCompile(`[\x00-\x08\x0a-\x1f\x7f]`)
)

// ownHeaders are those without which an answer would be another one than was asked for.
var ownHeaders = []string{
	"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Range", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

// readToken reads the first token of the file.
func (c *Client) readToken() (string, error) {
	tokens, err := ReadTokens(c.TokenFile)
	if err != nil {
		return "", err
	}
	return "Bearer " + tokens[0], nil
}

// readTLS reads CAs, certificate and key.
func (c *Client) readTLS() (config *tls.Config, err error) {
	config = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		if config.RootCAs, err = ReadCAs(c.CA); err != nil {
			return nil, err
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, exit.With(exit.Usage, err, "check --cert and --key")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// ReadCAs reads a file of PEM certificates.
func ReadCAs(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(text) {
		err = fmt.Errorf("%q holds no PEM certificate", file)
	}
	return pool, exit.With(exit.Usage, err, "name a file of PEM certificates")
}
