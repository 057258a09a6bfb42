package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// cache keeps results of earlier runs, a line each, in a file outside of the tree.
type cache struct {
	mu   sync.Mutex
	file *os.File
	have map[string]string
}

// openCache reads the cache of this user.
func openCache() (*cache, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, "tidemark-mutants")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "results"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	c := &cache{file: file, have: map[string]string{}}
	for scan := bufio.NewScanner(file); scan.Scan(); {
		if key, value, ok := strings.Cut(scan.Text(), "\t"); ok {
			c.have[key] = value
		}
	}
	return c, nil
}

func (c *cache) get(key string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	value, ok := c.have[key]
	return value, ok
}

func (c *cache) put(key, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.have[key] = value
	_, _ = fmt.Fprintf(c.file, "%s\t%s\n", key, value)
}

// keyOf makes a key of texts.
func keyOf(texts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\x00")))
	return hex.EncodeToString(sum[:12])
}
