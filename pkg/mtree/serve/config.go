package serve

import (
	"log/slog"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
)

// Config says what is published and how. Only Root is needed.
type Config struct {
	Root        string   // the tree; symlinks in it are followed once, in New
	StateDir    string   // where watch or mirror keep their state; "": Root/.tidemark
	Hidden      bool     // publish dotfiles too
	Owner       bool     // publish owner=UID:GID
	Tar         bool     // answer GET ?tar with whole subtrees
	CrossMounts bool     // publish directories on other file systems too
	Exclude     []string // globs of what is not published, see package glob
	CacheBytes  int64    // bound of the listing cache, bytes; 0: 64 MiB, below 0: none
	MaxWaiters  int      // requests that may wait for a change at once; 0: 16384, below 0: an error
	Tokens      []string // each request needs one of them, as bearer token or Basic password; none: open to all
	Version     string   // of this program, for ?status; "": "dev"
	Log         *slog.Logger

	// TokensNow returns the tokens that are valid now, in place of Tokens; if it returns
	// none, no request is allowed. It is called for each request, by several goroutines at
	// once. nil: Tokens are valid.
	TokensNow func() []string

	Now   func() mtree.Stamp // the clock; nil: the real one
	Stats *Stats             // counts what happens; nil: private ones
}

const (
	defaultCache   = 64 << 20 // bytes; --cache 64M
	defaultWaiters = 16 << 10
)

// withDefaults returns c with every zero value replaced by its default.
func (c Config) withDefaults() Config {
	if c.CacheBytes == 0 {
		c.CacheBytes = defaultCache
	}
	if c.MaxWaiters == 0 {
		c.MaxWaiters = defaultWaiters
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = machine.Now
	}
	if c.Stats == nil {
		c.Stats = &Stats{}
	}
	return c
}
