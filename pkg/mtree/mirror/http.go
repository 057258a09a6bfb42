package mirror

import "errors"

func openHTTP(c *Config) (source, error) { return nil, errors.New("none") }
