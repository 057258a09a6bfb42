package cli

import (
	"crypto/tls"
	"errors"

	"tidemark/pkg/mtree/exit"
)

// Client is how mirror presents itself to a server.
type Client struct {
	CA        string // file of CAs to trust instead of the system's
	Cert, Key string // files; both or none
	TokenFile string
}

// Load reads the files. The TLS configuration is nil where nothing was asked
// for.
func (c *Client) Load() (config *tls.Config, token string, err error) {
	if c.TokenFile != "" {
		tokens, err := ReadTokens(c.TokenFile)
		if err != nil {
			return nil, "", err
		}
		token = tokens[0]
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, "", exit.With(exit.Usage, errors.New("--cert and --key go together"), "give both")
	}
	if c.CA == "" && c.Cert == "" {
		return nil, token, nil
	}
	config = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		if config.RootCAs, err = readCAs(c.CA); err != nil {
			return nil, "", err
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, "", exit.With(exit.Usage, err, "check --cert and --key")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, token, nil
}
