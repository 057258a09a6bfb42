package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"tidemark/pkg/mtree/exit"
)

// Client is the options by which mirror presents itself to a server. Load reads its
// files; after that Now may be called.
type Client struct {
	CA        string // file of CAs to trust instead of the system's
	Cert, Key string // files; both or none
	TokenFile string

	config *kept[*tls.Config] // nil: no option was given
	token  *kept[string]      // nil: no token is sent
}

// Load reads the files. The TLS configuration is nil if no option asks for one. Errors
// carry exit.Usage.
func (c *Client) Load(log *slog.Logger) (config *tls.Config, token string, err error) {
	if c.TokenFile != "" {
		if c.token, err = keep(log, c.readToken, c.TokenFile); err != nil {
			return nil, "", err
		}
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, "", exit.With(exit.Usage, errors.New("--cert and --key go together"), "give both")
	}
	if c.CA != "" || c.Cert != "" {
		if c.config, err = keep(log, c.readTLS, c.CA, c.Cert, c.Key); err != nil {
			return nil, "", err
		}
	}
	config, token = c.Now()
	return config, token, nil
}

// Now returns what the files hold now, or what they held when they could be used last.
// The configuration is another pointer only after a change. Several goroutines may call
// it at once.
func (c *Client) Now() (config *tls.Config, token string) {
	if c.config != nil {
		config = c.config.get()
	}
	if c.token != nil {
		token = c.token.get()
	}
	return config, token
}

// readToken reads the first token of the file.
func (c *Client) readToken() (string, error) {
	tokens, err := ReadTokens(c.TokenFile)
	if err != nil {
		return "", err
	}
	return tokens[0], nil
}

// readTLS reads CAs, certificate and key.
func (c *Client) readTLS() (config *tls.Config, err error) {
	config = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		if config.RootCAs, err = readCAs(c.CA); err != nil {
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

// readCAs reads a file of PEM certificates.
func readCAs(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(text) {
		err = fmt.Errorf("%q holds no PEM certificate", file)
	}
	return pool, exit.With(exit.Usage, err, "name a file of PEM certificates")
}
